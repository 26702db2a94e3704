"""Every entry of every store, with whatever can be thought of: taken, or refused with the store as it was."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import UUID

import pytest
from attrs import evolve
from hostile_outcomes import ACCOUNT, contents, refused
from hostile_values import ANYTHING, DEPTHS, SQL, TEXTS, anything, explore, nested
from msgspec.structs import replace

from esbank import Metadata
from esbank.store import (
    ANY_VERSION,
    NewEvent,
    Snapshot,
    StreamAppend,
    StreamCondition,
    StreamId,
)
from tests.doubles import KINDS, Store, open_store

Entry: TypeAlias = Callable[[Store, Any], object]

OTHER = StreamId("Other", "1")
SNAPSHOT = Snapshot(ACCOUNT, 1, UUID(int=1), "store", "schema", "{}")


def event(**given: Any) -> NewEvent:  # noqa: ANN401 - anything is the point
    return NewEvent("Opened", "{}", **given)


def append(store: Store, *events: NewEvent) -> object:
    return store.append(ACCOUNT, events, expected_version=ANY_VERSION)


def append_with(store: Store, **given: Any) -> object:  # noqa: ANN401 - same
    return append(store, event(metadata=Metadata(**given)))


def append_if(store: Store, condition: StreamCondition) -> object:
    return store.append_many([StreamAppend(ACCOUNT, [event()], ANY_VERSION)], conditions=[condition])


def keep(store: Store, snapshot: object) -> object:
    store.save_snapshot(snapshot)
    return store.load_snapshot(ACCOUNT)


def change(store: Store, sql: object, parameters: object = None) -> object:
    with store.view_transaction() as tx:
        return tx.execute(sql, parameters)


def change_many(store: Store, parameters: object) -> None:
    with store.view_transaction() as tx:
        tx.executemany("SELECT :value", parameters)


def append_in_transaction(
    store: Store, stream: object = ACCOUNT, events: object = None, expected: object = ANY_VERSION
) -> None:
    with store.transaction() as tx:
        tx.append(stream, [event()] if events is None else events, expected_version=expected)


def claim(store: Store, name: object) -> None:
    with store.claim(name):
        pass


def import_with(store: Store, **given: Any) -> object:  # noqa: ANN401 - same
    last = list(store.read_all())[-1]
    whole = replace(last, stream=StreamId("Imported", "1"), version=1, position=last.position + 1, digest=None)
    return store.import_events([[replace(whole, **given)]])


ENTRIES: Final[dict[str, Entry]] = {
    "append: the stream": lambda store, it: store.append(it, [event()], expected_version=ANY_VERSION),
    "append: the events": lambda store, it: store.append(ACCOUNT, it, expected_version=ANY_VERSION),
    "append: one of the events": append,
    "append: the expected version": lambda store, it: store.append(ACCOUNT, [event()], expected_version=it),
    "append_many: the appends": lambda store, it: store.append_many(it),
    "append_many: one of the appends": lambda store, it: store.append_many([it]),
    "append_many: a stream": lambda store, it: store.append_many([StreamAppend(it, [event()], ANY_VERSION)]),
    "append_many: events": lambda store, it: store.append_many([StreamAppend(OTHER, it, ANY_VERSION)]),
    "append_many: events that come once": lambda store, it: store.append_many(
        [StreamAppend(StreamId("Once", "1"), (event(metadata=Metadata(actor=str(it))) for _ in "1"), ANY_VERSION)]
    ),
    "append_many: the conditions": lambda store, it: store.append_many(
        [StreamAppend(ACCOUNT, [event()], ANY_VERSION)], conditions=it
    ),
    "append_many: one of the conditions": append_if,
    "append_many: the stream of a condition": lambda store, it: append_if(store, StreamCondition(it, 0)),
    "append_many: the version of a condition": lambda store, it: append_if(store, StreamCondition(OTHER, it)),
    "read: the stream": lambda store, it: deque(store.read(it)),
    "read: after": lambda store, it: deque(store.read(ACCOUNT, after=it)),
    "read: up_to": lambda store, it: deque(store.read(ACCOUNT, up_to=it)),
    "read: limit": lambda store, it: deque(store.read(ACCOUNT, limit=it)),
    "read_all: after": lambda store, it: deque(store.read_all(after=it)),
    "read_all: limit": lambda store, it: deque(store.read_all(limit=it)),
    "read_all: the categories": lambda store, it: deque(store.read_all(categories=it)),
    "read_all: one of the categories": lambda store, it: deque(store.read_all(categories=[it])),
    "read_all: the types": lambda store, it: deque(store.read_all(types=it)),
    "read_all: one of the types": lambda store, it: deque(store.read_all(types=[it])),
    "read_correlated": lambda store, it: deque(store.read_correlated(it)),
    "read_appends: after": lambda store, it: deque(store.read_appends(after=it)),
    "subscribe: after": lambda store, it: store.subscribe(after=it).close(),
    "subscribe: the categories": lambda store, it: store.subscribe(categories=it).close(),
    "subscribe: the types": lambda store, it: store.subscribe(types=it).close(),
    "find: the stream": lambda store, it: store.find(it, UUID(int=1)),
    "find: the id": lambda store, it: store.find(ACCOUNT, it),
    "version": lambda store, it: store.version(it),
    "count": lambda store, it: store.count(after=it),
    "streams": lambda store, it: deque(store.streams(it)),
    "wait: after": lambda store, it: store.wait(after=it, timeout=0),
    "wait: the timeout": lambda store, it: store.wait(after=0, timeout=it),
    "load_snapshot": lambda store, it: store.load_snapshot(it),
    "save_snapshot": keep,
    "save_snapshot: the stream": lambda store, it: keep(store, evolve(SNAPSHOT, stream=it)),
    "save_snapshot: the id": lambda store, it: keep(store, evolve(SNAPSHOT, event_id=it)),
    "save_snapshot: the version": lambda store, it: keep(store, evolve(SNAPSHOT, version=it)),
    "save_snapshot: the state": lambda store, it: keep(store, evolve(SNAPSHOT, state=it)),
    "query: the SQL": lambda store, it: store.query(it),
    "query: the parameters": lambda store, it: store.query("SELECT 1", it),
    "query: a value": lambda store, it: store.query("SELECT :value", {"value": it}),
    "view_transaction: the SQL": change,
    "view_transaction: a value": lambda store, it: change(store, "SELECT :value", {"value": it}),
    "view_transaction: several values": change_many,
    "transaction: the stream": lambda store, it: append_in_transaction(store, stream=it),
    "transaction: the events": lambda store, it: append_in_transaction(store, events=it),
    "transaction: the expected version": lambda store, it: append_in_transaction(store, expected=it),
    "claim": claim,
    "import_events": lambda store, it: store.import_events(it),
    "import_events: an append": lambda store, it: store.import_events([it]),
    "import_events: an event": lambda store, it: store.import_events([[it]]),
    "import_events: the stream": lambda store, it: import_with(store, stream=it),
    "import_events: the version": lambda store, it: import_with(store, version=it),
    "import_events: the position": lambda store, it: import_with(store, position=it),
    "import_events: the id": lambda store, it: import_with(store, _event_id=it),
    "import_events: the type": lambda store, it: import_with(store, type=it),
    "import_events: the schema version": lambda store, it: import_with(store, schema_version=it),
    "import_events: the data": lambda store, it: import_with(store, data=it),
    "import_events: the metadata": lambda store, it: import_with(store, _metadata=it),
    "import_events: the time": lambda store, it: import_with(store, _recorded_at=it),
    "import_events: the digest": lambda store, it: import_with(store, digest=it),
    "an event's type": lambda store, it: append(store, NewEvent(it, "{}")),
    "an event's data": lambda store, it: append(store, NewEvent("Opened", it)),
    "an event's id": lambda store, it: append(store, event(event_id=it)),
    "an event's schema version": lambda store, it: append(store, event(schema_version=it)),
    "an event's metadata": lambda store, it: append(store, event(metadata=it)),
    "the correlation id": lambda store, it: append_with(store, correlation_id=it),
    "the actor": lambda store, it: append_with(store, actor=it),
    "the time when it happened": lambda store, it: append_with(store, occurred_at=it),
    "whatever else is known": lambda store, it: append_with(store, extra=it),
    "a value of what else is known": lambda store, it: append_with(store, extra={"value": it}),
    "a key of what else is known": lambda store, it: append_with(store, extra={it: 1}),
    "a stream's category": lambda store, it: store.append(StreamId(it, "1"), [event()], expected_version=ANY_VERSION),
    "a stream's key": lambda store, it: store.append(StreamId("Key", it), [event()], expected_version=ANY_VERSION),
    "a stream's name": lambda store, it: store.append(StreamId.parse(it), [event()], expected_version=ANY_VERSION),
}


@contextmanager
def some_store(kind: str, folder: Path) -> Iterator[Store]:
    with open_store(kind, folder) as store:
        append(store, event(event_id=UUID(int=1), metadata=Metadata("c-1", extra={"ip": "::1"})), event())
        store.save_snapshot(SNAPSHOT)
        yield store


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "postgresql":
        request.getfixturevalue("server_dsn")
    return str(request.param)


@pytest.fixture(scope="module")
def shared(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with some_store(kind, tmp_path_factory.mktemp("shared")) as store:
        yield store


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[Store]:
    with some_store(kind, tmp_path) as store:
        yield store


def refused_by(store: Store, entry: Entry, values: Iterable[object]) -> list[object]:
    return refused(partial(entry, store), values)


entries = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())


@entries
def test_what_a_store_refuses_leaves_it_as_it_was(shared: Store, entry: Entry) -> None:
    before = contents(shared)
    bad = refused_by(shared, entry, ANYTHING)
    held = contents(shared)
    if len(bad) == len(ANYTHING):
        assert held == before

    assert len(refused_by(shared, entry, bad)) == len(bad)
    assert contents(shared) == held
    version = shared.version(ACCOUNT)
    append(shared, event())
    assert shared.version(ACCOUNT) == version + 1


@pytest.mark.soak
@entries
def test_whatever_else_a_store_refuses_leaves_it_as_it_was(store: Store, entry: Entry) -> None:
    held = contents(store)

    @explore(300, value=anything)
    def _(value: object) -> None:
        nonlocal held
        if refused_by(store, entry, [value]):
            assert contents(store) == held
        held = contents(store)


def test_names_are_taken_letter_by_letter(store: Store) -> None:
    bad = refused(lambda name: StreamId("Names", name), TEXTS)
    names = [name for name in TEXTS if name not in bad and type(name) is str]
    for name in names:
        new = NewEvent(name, "{}", metadata=Metadata(correlation_id=name))
        store.append(StreamId("Names", name), [new], expected_version=0)

    assert {*SQL, "é", "e\u0301", "\u202eabc"} <= set(names)
    assert [stream.key for stream in store.streams("Names")] == sorted(names)
    for name in names:
        stream = StreamId("Names", name)
        assert [stored.type for stored in store.read(stream)] == [name]
        assert [stored.stream for stored in store.read_all(types=[name])] == [stream]
        assert [stored.stream for stored in store.read_correlated(name)] == [stream]


@pytest.mark.parametrize("number", [10**5000, -(10**5000)], ids=["high", "low"])
def test_a_number_that_cannot_be_printed_is_refused_too(store: Store, number: int) -> None:
    for name in ("append: the expected version", "read: after", "read_all: limit", "count", "wait: after"):
        assert refused_by(store, ENTRIES[name], [number])


def test_a_wait_takes_a_number_of_seconds(store: Store) -> None:
    with pytest.raises(ValueError, match="a timeout is a number of seconds, not nan"):
        store.wait(after=store.head(), timeout=math.nan)


def test_what_is_nested_too_deeply_is_refused(store: Store) -> None:
    deep = [nested(depth) for depth in DEPTHS]

    bad = refused_by(store, ENTRIES["a value of what else is known"], deep)
    assert 0 < len(bad) < len(deep)
    assert all(stored.metadata.extra["value"] is not None for stored in store.read(ACCOUNT, after=2))
