"""The schema lock: a file beside the code that says how events are stored, to compare the code with.

A class of events can change so that what was stored years ago cannot be read any more, and no test with new events
notices. The lock does: it remembers every schema version of every event. Whoever changes a class incompatibly, without
raising its schema version and adding an upcaster, fails the check and is told what to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import frozen

from esbank.codec import EventRegistry, Fields, Schema, Upcaster, check_schema, describe_schema, misfits
from esbank.errors import DefinitionError

__all__ = ["SchemaChange", "Source", "compare_schemas", "registry_of", "write_schemas"]

Source: TypeAlias = "type | EventRegistry | Upcaster | Iterable[Source]"
"""What tells which events there are: classes, as a registry takes them, and upcasters; or one registry for all."""

_Locked: TypeAlias = dict[str, dict[int, Fields]]

_FORMAT: Final = 1
_ABOUT: Final = (
    "How events are stored, by name and schema version. Written by `python -m esbank schema write`; a field with a "
    "question mark may be missing in stored data."
)


@frozen(kw_only=True)
class SchemaChange:
    """A difference between the lock file and the code; if it `breaks`, stored events can no longer be read."""

    event: str
    schema_version: int
    breaks: bool
    problem: str
    differences: tuple[str, ...] = ()
    advice: str

    def __str__(self) -> str:
        lines = (f"{self.event}, schema version {self.schema_version}: {self.problem}", *self.differences, self.advice)
        return "\n    ".join(lines)


def registry_of(sources: Iterable[Source]) -> EventRegistry:
    """Make one registry of classes and upcasters, or take the one that is given."""
    found = list(_flatten(sources))
    registries = [source for source in found if isinstance(source, EventRegistry)]
    if not registries:
        classes = [source for source in found if isinstance(source, type)]
        return EventRegistry(*classes, upcasters=[source for source in found if isinstance(source, Upcaster)])
    if len(found) > 1:
        raise DefinitionError("one registry stands for all events: name either that, or classes and upcasters")
    return registries[0]


def _flatten(sources: Iterable[Source]) -> Iterator[type | EventRegistry | Upcaster]:
    for source in sources:
        if isinstance(source, (type, EventRegistry, Upcaster)):
            yield source
        elif isinstance(source, str) or not isinstance(source, Iterable):
            raise DefinitionError(f"events are told by their classes, by upcasters or by a registry, not by {source!r}")
        else:
            yield from _flatten(source)


def compare_schemas(file: str | os.PathLike[str], registry: EventRegistry) -> list[SchemaChange]:
    """Compare a lock file with the code; nothing is returned when they agree.

    Raises ``ValueError`` when the file cannot be a lock file, and ``OSError`` when it cannot be read.
    """
    return list(_compare(_read(Path(file)), registry))


def write_schemas(file: str | os.PathLike[str], registry: EventRegistry) -> list[SchemaChange]:
    """Write what is new into a lock file, or a new file; what it knows of older schema versions stays.

    Where the code can no longer read stored events, nothing is written, and what breaks them is returned. Raises as
    `compare_schemas` does.
    """
    path = Path(file)
    locked = _read(path) if path.exists() else {}
    breaking = [change for change in _compare(locked, registry) if change.breaks]
    if not breaking:
        for name, (version, fields) in _today(registry).items():
            locked.setdefault(name, {})[version] = fields
        _write(path, locked)
    return breaking


def _compare(locked: _Locked, registry: EventRegistry) -> Iterator[SchemaChange]:
    today = _today(registry)
    for name in sorted(locked.keys() | today.keys()):
        for version, fields in sorted(locked.get(name, {}).items()):
            if (version, fields) == today.get(name):
                continue
            if today.get(name, (0, {}))[0] == version:
                yield _changed(name, version, fields, today[name][1])
            elif registry.by_type(name, version) is None:
                yield _unreadable(name, version, registry.newest(name))
        if name in today and today[name][0] not in locked.get(name, {}):
            yield SchemaChange(
                event=name,
                schema_version=today[name][0],
                breaks=False,
                problem="the lock file does not have it",
                advice=_WRITE,
            )


def _changed(name: str, version: int, before: Fields, now: Fields) -> SchemaChange:
    problems = misfits(before, now)
    following = version + 1
    breaks = bool(problems)
    return SchemaChange(
        event=name,
        schema_version=version,
        breaks=breaks,
        problem="stored events can no longer be read" if breaks else "it has changed; stored events stay readable",
        differences=tuple(_differences(before, now, problems)),
        advice=f"Undo the change; or raise the schema version, @event(name={name!r}, schema_version={following}), and "
        f"add an upcaster, @upcaster({name!r}, from_version={version}, to_version={following}). If no such event was "
        "ever stored, remove its entry from the lock file instead, and write it again."
        if breaks
        else _WRITE,
    )


def _unreadable(name: str, version: int, newest: int | None) -> SchemaChange:
    if newest is None:
        problem = "the event is gone, and stored ones can no longer be read"
        advice = (
            f"Bring its class back; or give the class in its place the old name, @event(name={name!r}); or add an "
            f"upcaster to the new name, @upcaster({name!r}, from_version={version}, to=…, to_version=…)."
        )
    elif version > newest:
        problem = f"the code knows up to schema version {newest}, and stored events can no longer be read"
        advice = f"Raise the schema version again: @event(name={name!r}, schema_version={version})."
    else:
        problem = f"nothing turns stored events into schema version {newest}"
        advice = f"Add an upcaster: @upcaster({name!r}, from_version={version}, to_version={version + 1})."
    return SchemaChange(event=name, schema_version=version, breaks=True, problem=problem, advice=advice)


_WRITE: Final = "Write the lock file again, and commit it: python -m esbank schema write …"


def _differences(before: Fields, now: Fields, problems: Mapping[str, str]) -> Iterator[str]:
    """Show the fields that differ as lines to take away (-) and to add (+), with what breaks old data beside them."""
    for name in dict.fromkeys([*map(_bare, before), *map(_bare, now)]):
        old, new = _line(name, before), _line(name, now)
        if old == new:
            continue
        problem = f"    <- {problems[name]}" if name in problems else ""
        if old is not None:
            yield f"- {old}{'' if new else problem}"
        if new is not None:
            yield f"+ {new}{problem}"


def _line(name: str, fields: Fields) -> str | None:
    for field in (name, f"{name}?"):
        if field in fields:
            return f"{field}: {describe_schema(fields[field])}"
    return None


def _bare(field: str) -> str:
    return field.removesuffix("?")


def _today(registry: EventRegistry) -> dict[str, tuple[int, Fields]]:
    bindings = [binding for cls in registry.classes if (binding := registry.by_class(cls)) is not None]
    return {binding.name: (binding.schema_version, _fields(binding.form.schema)) for binding in bindings}


def _fields(schema: Schema) -> Fields:
    fields: Fields = schema["object"]
    return fields


def _read(path: Path) -> _Locked:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; write it: python -m esbank schema write {path} …") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); restore it from version control, and write it again") from error
    try:
        return _parse(content)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no lock file of this esbank ({error}); upgrade esbank, or restore the file"
        ) from error


def _parse(content: Any) -> _Locked:  # noqa: ANN401 - any JSON
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']!r}, known is {_FORMAT}")
    locked: _Locked = {
        name: {int(version): dict(fields.items()) for version, fields in versions.items()}
        for name, versions in content["events"].items()
    }
    for versions in locked.values():
        for fields in versions.values():
            check_schema({"object": fields})
    return locked


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice, as a merge of two branches may leave it: one of them would be forgotten."""
    keys = dict(pairs)
    if len(keys) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return keys


def _write(path: Path, locked: _Locked) -> None:
    events = {name: dict(sorted(versions.items())) for name, versions in sorted(locked.items())}
    text = json.dumps({"about": _ABOUT, "format": _FORMAT, "events": events}, indent=2, ensure_ascii=False)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: make the folder {path.parent} first")
    # Replaced in one step, so that nobody ever finds half a file.
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.write_text(f"{text}\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
