"""Files that were cut, changed or made up: schema locks, files of events, and heads that somebody has kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hostile_events import CODEC
from hostile_outcomes import refusal, refused
from hostile_values import ANYTHING, DEPTHS, FEW_OR_MANY, JSON, explore, json_values, texts
from hypothesis import strategies as st

from esbank import EsbankError, Metadata
from esbank._schema_lock import compare_schemas, write_schemas
from esbank.backends.jsonl import JsonlLog
from esbank.backends.memory import MemoryEventStore
from esbank.errors import StorageError
from esbank.testing import check_schema_lock
from esbank.transfer import copy_events
from esbank.verification import Head

REGISTRY: Final = CODEC.registry
KINDS: Final = ["list", "tuple", "set", "dict", "optional", "object", "enum", "hook", "of tomorrow"]
INNER: Final = ['"str"', "[1]", "1", "null", "{}", '{"a":1}', '["str"]', "[[]]", '{"list":"str"}', '"\\ud800"']
HEADER: Final = b'{"format":"esbank events","version":1,"store":"a"}\n'
LINE: Final[dict[str, Any]] = {
    "position": 1,
    "append": 1,
    "append_end": 1,
    "category": "Account",
    "key": "1",
    "version": 1,
    "event_id": "00000000-0000-0000-0000-000000000009",
    "type": "Opened",
    "schema_version": 1,
    "data": "{}",
    "metadata": "{}",
    "recorded_at": 1_700_000_000_000_000,
    "digest": None,
}


def lock(field: str) -> str:
    return f'{{"format":1,"events":{{"Everything":{{"2":{{"part":{field}}}}}}}}}'


LOCKS: Final = [
    *JSON,
    *(f"\ufeff{text}" for text in JSON[:4]),
    *(f'{{"format":{text},"events":{{}}}}' for text in JSON),
    *(f'{{"format":1,"events":{text}}}' for text in JSON),
    *(f'{{"format":1,"events":{{"Everything":{text}}}}}' for text in JSON),
    *(lock(text) for text in JSON),
    *(lock(f'{{"{kind}":{inner}}}') for kind in KINDS for inner in INNER),
    *(lock(f'{{"{kind}":' * depth + '"str"' + "}" * depth) for kind in KINDS for depth in DEPTHS),
    '{"format":1,"events":{"Everything":{"' + "1" * 5000 + '":{}}}}',
    '{"format":1,"events":{"Everything":{"-1":{}}}}',
    '{"format":1,"events":{"\\ud800":{"1":{"a":"str"}}}}',
    '{"format":1,"events":{"Everything":{"2":{"\\ud800":"str"}}}}',
]


def check_lock(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    for use in (compare_schemas, write_schemas):
        refusal(lambda: list(map(str, use(file, REGISTRY))), ValueError)  # noqa: B023 - called at once
    refusal(lambda: check_schema_lock(file, REGISTRY), ValueError, AssertionError)

    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_schema_lock_of_any_sort_is_compared_or_refused(tmp_path: Path) -> None:
    for text in LOCKS:
        check_lock(tmp_path / "schema.json", text)


@FEW_OR_MANY
def test_whatever_is_in_a_schema_lock_is_compared_or_refused(tmp_path: Path, examples: int) -> None:
    schemas = st.recursive(
        st.sampled_from(["str", "int", 1, None]) | texts,
        lambda inner: (
            st.dictionaries(st.sampled_from(KINDS), inner, min_size=1, max_size=2)
            | st.lists(inner, max_size=2)
            | st.dictionaries(texts, inner, max_size=2)
        ),
        max_leaves=6,
    )
    names = st.sampled_from(["part", "part?", "text?"]) | texts

    @explore(examples, fields=st.dictionaries(names, schemas, max_size=3))
    def _(fields: dict[str, object]) -> None:
        check_lock(tmp_path / "schema.json", json.dumps({"format": 1, "events": {"Everything": {"2": fields}}}))


def lines(text: bytes) -> list[bytes]:
    """Put a text where each value of a line is."""
    return [json.dumps({**LINE, key: "@"}).encode().replace(b'"@"', text) + b"\n" for key in LINE]


TEXTS: Final = [text.encode(errors="surrogatepass") for text in JSON] + [b'"\xff"', b"\xff", b'"\xed\xa0\x80"']
FILES: Final = [
    *TEXTS,
    *(text + b"\n" for text in TEXTS),
    *(HEADER + text + b"\n" for text in TEXTS),
    *(HEADER[:-2] + b',"more":' + text + b"}\n" for text in TEXTS),
    *(b'{"format":"esbank events","version":' + text + b',"store":"a"}\n' for text in TEXTS),
    *(b'{"format":"esbank events","version":1,"store":' + text + b"}\n" for text in TEXTS),
    *(HEADER + line for text in TEXTS if len(text) < 10_000 for line in lines(text)),
    *(HEADER + json.dumps({**LINE, key: text}).encode() + b"\n" for key in ("data", "metadata") for text in JSON),
    b"\xef\xbb\xbf" + HEADER,
]


def check_file(file: Path, text: bytes) -> None:
    file.write_bytes(text)

    def read() -> None:
        with JsonlLog(file) as log, MemoryEventStore(digests=False) as target:
            copy_events(log, target)
            assert all(isinstance(event.metadata, Metadata) for event in target.read_all())

    def go_on() -> None:
        with JsonlLog(file, copy_of="a"):
            pass

    refusal(read, EsbankError)
    refusal(go_on, EsbankError)


def test_a_file_of_events_of_any_sort_is_read_or_refused(tmp_path: Path) -> None:
    for text in FILES:
        check_file(tmp_path / "events.jsonl", text)


@FEW_OR_MANY
def test_whatever_is_in_a_file_of_events_is_read_or_refused(tmp_path: Path, examples: int) -> None:
    changes = st.dictionaries(st.sampled_from([*LINE]) | texts, json_values, max_size=3)

    @explore(examples, changes=changes, cut=st.integers(0, 400), put=st.binary(max_size=9))
    def _(changes: dict[str, object], cut: int, put: bytes) -> None:
        text = HEADER + json.dumps({**LINE, **changes}).encode() + b"\n"

        check_file(tmp_path / "events.jsonl", text)
        check_file(tmp_path / "events.jsonl", text[:cut] + put + text[cut:])


@pytest.mark.parametrize("identity", [1, True, b"a", [], "\ud800", "a\0b"], ids=repr)
def test_a_copy_of_what_has_no_identity_is_not_begun(tmp_path: Path, identity: object) -> None:
    with pytest.raises(ValueError, match="copy_of is the identity of a store"):
        JsonlLog(tmp_path / "events.jsonl", copy_of=identity)

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_begins_with_endless_brackets_is_no_file_of_events(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(HEADER[:-2] + b',"more":' + b"[" * 100_000)

    with pytest.raises(StorageError, match="line 1: this is no file of events"):
        JsonlLog(tmp_path / "events.jsonl")


def test_metadata_of_any_sort_are_read_or_refused() -> None:
    data = [*JSON, *(f'{{"actor":{text}}}' for text in JSON), *(f'{{"extra":{{"x":{text}}}}}' for text in JSON)]

    assert refused(lambda text: Metadata.from_json(Metadata.from_json(text).to_json()), [*data, *ANYTHING])


def test_what_is_no_head_is_refused() -> None:
    heads = [*ANYTHING, "9" * 5000 + ":" + "0" * 64, "1:" + "0" * 63 + "\n", "१:" + "0" * 64]

    assert refused(Head.parse, heads, ValueError) == heads
