"""``schema``: the lock file that says how events are stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import App, Parameter

from esbank._schema_lock import SchemaChange, compare_schemas, registry_of, write_schemas
from esbank.cli._targets import load_target
from esbank.cli._terminal import say
from esbank.codec import EventRegistry

__all__ = ["app"]

app: Final = App(name="schema", help="Keep a lock file that says how events are stored, and compare the code with it.")

LockFile: TypeAlias = Annotated[Path, Parameter(name="FILE", help="The lock file; commit it with the code.")]
Targets: TypeAlias = Annotated[
    str,
    Parameter(
        name="TARGET",
        help="What has the events, as module:name: an aggregate, an event class, a projector, upcasters (one, or a "
        "list of them), or an EventRegistry that has all.",
    ),
]


@app.command
def write(file: LockFile, /, *targets: Targets) -> int:
    """Write what is new into the lock file, unless stored events could no longer be read."""
    breaking = write_schemas(file, _registry(targets))
    _show(breaking)
    if breaking:
        say(f"{file} was not written.")
        return 1
    say(f"{file} agrees with the code.", style="green")
    return 0


@app.command
def check(file: LockFile, /, *targets: Targets) -> int:
    """Fail when the code and the lock file differ, and say what to do."""
    changes = compare_schemas(file, _registry(targets))
    _show(changes)
    if changes:
        return 1
    say(f"{file} agrees with the code.", style="green")
    return 0


def _registry(targets: Sequence[str]) -> EventRegistry:
    if not targets:
        raise ValueError("name what has the events, as in esbank.bank:BankAccount")
    return registry_of(map(load_target, targets))


def _show(changes: Sequence[SchemaChange]) -> None:
    styles = {"+": "green", "-": "red"}
    for change in changes:
        for line in str(change).splitlines():
            say(line, style=styles.get(line.strip()[:1], ""))
