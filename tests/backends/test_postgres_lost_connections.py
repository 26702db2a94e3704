"""A connection that is lost in the middle of an append: success, an error, or an unknown outcome, but nothing wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest
from postgres_proxy import Proxy

from esbank.backends._postgres_connection import quoted
from esbank.backends.postgres import PostgresEventStore
from esbank.errors import ConcurrencyError, StorageError, StoreUnavailable, UnknownOutcome
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    AppendTransaction,
    ExpectedVersion,
    NewEvent,
    Snapshot,
    StoredEvent,
    StreamAppend,
    StreamId,
)
from esbank.testing.conformance._given import in_threads

ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")
MARKER = b"the one that is lost"
LOCK = "SELECT pg_advisory_xact_lock(1702060641, (%s || '.esbank_events')::regclass::oid::integer)"


def event(name: str = "Deposited") -> NewEvent:
    return NewEvent(name, "{}")


def marked() -> NewEvent:
    return NewEvent("Deposited", f'"{MARKER.decode()}"')


@pytest.fixture
def proxy(server_dsn: str) -> Iterator[Proxy]:
    with Proxy(server_dsn) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: Proxy, schema: str) -> Iterator[PostgresEventStore]:
    """Open a store whose connections can be lost."""
    with PostgresEventStore(proxy.dsn, schema=schema, lock_timeout=0.3, connect_timeout=2.0) as store:
        yield store


@pytest.fixture
def other(server_dsn: str, schema: str, store: PostgresEventStore) -> Iterator[PostgresEventStore]:
    """Open the same store with sound connections."""
    assert store.identity
    with PostgresEventStore(server_dsn, schema=schema) as other:
        yield other


Losing = Callable[..., None]


@pytest.fixture(params=["request", "answer"])
def lose(request: pytest.FixtureRequest, proxy: Proxy) -> Losing:
    """Lose requests, which then do nothing, or answers, which is after the commit."""
    losing: Losing = getattr(proxy, f"lose_{request.param}")
    return losing


@pytest.mark.parametrize("expected", [0, 3, ANY_VERSION, STREAM_EXISTS], ids=["0", "3", "any", "exists"])
@pytest.mark.parametrize("count", [1, 3], ids=["one", "three"])
def test_an_append_whose_connection_is_lost_is_made_once(
    proxy: Proxy, store: PostgresEventStore, lose: Losing, expected: ExpectedVersion, count: int
) -> None:
    before = 0 if expected == 0 else 3
    for _ in range(before):
        store.append(ACCOUNT, [event()], expected_version=ANY_VERSION)
    lose(MARKER)

    result = store.append(ACCOUNT, [marked() for _ in range(count)], expected_version=expected)

    assert proxy.lost == 1
    assert result.version == before + count
    assert tuple(store.read(ACCOUNT, after=before)) == result.events


def test_an_append_whose_answer_is_lost_is_recognised_though_the_stream_has_moved_on(
    proxy: Proxy, store: PostgresEventStore, other: PostgresEventStore
) -> None:
    proxy.lose_answer(MARKER, then=lambda: other.append(ACCOUNT, [event()], expected_version=1))

    result = store.append(ACCOUNT, [marked()], expected_version=0)

    assert result.version == 1
    assert store.version(ACCOUNT) == 2


def test_an_append_whose_request_is_lost_finds_that_somebody_else_was_faster(
    proxy: Proxy, store: PostgresEventStore, other: PostgresEventStore
) -> None:
    proxy.lose_request(MARKER, then=lambda: other.append(ACCOUNT, [event()], expected_version=0))

    with pytest.raises(ConcurrencyError) as raised:
        store.append(ACCOUNT, [marked()], expected_version=0)

    assert raised.value.actual == 1
    assert store.version(ACCOUNT) == 1


def test_a_connection_that_is_lost_again_and_again_is_an_unknown_outcome(
    store: PostgresEventStore, lose: Losing
) -> None:
    events = [marked(), marked()]
    lose(MARKER, times=2)

    with pytest.raises(UnknownOutcome, match="repeat the same append") as raised:
        store.append(ACCOUNT, events, expected_version=0)

    assert isinstance(raised.value.__cause__, psycopg.Error)
    result = store.append(ACCOUNT, events, expected_version=0)
    assert result.version == 2
    assert tuple(store.read(ACCOUNT)) == result.events


def test_an_append_whose_answer_is_lost_and_cannot_be_looked_for_is_an_unknown_outcome(
    server_dsn: str, schema: str, proxy: Proxy, store: PostgresEventStore
) -> None:
    """Whatever stands in the way the second time says nothing about the first."""
    store.append(OTHER, [event()], expected_version=0)
    events = [marked()]
    with psycopg.connect(server_dsn) as holder:
        proxy.lose_answer(MARKER, then=lambda: holder.execute(LOCK, (quoted(schema),)))

        with pytest.raises(UnknownOutcome, match="repeat the same append"):
            store.append(ACCOUNT, events, expected_version=0)

    assert store.version(ACCOUNT) == 1
    assert store.append(ACCOUNT, events, expected_version=0).version == 1


def test_an_append_whose_answer_is_lost_is_not_said_to_have_failed_when_there_is_no_connection_left(
    schema: str, proxy: Proxy
) -> None:
    with PostgresEventStore(proxy.dsn, schema=schema, connect_timeout=0.5, pool_size=2) as store, ExitStack() as taken:
        events = [marked()]
        proxy.lose_answer(
            MARKER,
            then=lambda: [taken.enter_context(store._database.connection()) for _ in range(2)],  # noqa: SLF001
        )

        with pytest.raises(UnknownOutcome):
            store.append(ACCOUNT, events, expected_version=0)

        taken.close()
        assert store.append(ACCOUNT, events, expected_version=0).version == 1


def test_a_group_whose_connection_is_lost_is_made_once(store: PostgresEventStore, lose: Losing) -> None:
    lose(MARKER, times=3)

    def append(stream: StreamId) -> int:
        events = [marked()]
        while True:
            try:
                return store.append(stream, events, expected_version=ANY_VERSION).version
            except UnknownOutcome:
                continue

    def work(number: int) -> list[int]:
        return [append(StreamId("Account", str(number))) for _ in range(10)]

    outcomes = in_threads([partial(work, number) for number in range(16)])

    assert outcomes == [list(range(1, 11))] * 16
    for number in range(16):
        versions = [stored.version for stored in store.read(StreamId("Account", str(number)))]
        assert versions == list(range(1, 11))


def test_several_streams_whose_connection_is_lost_are_appended_to_once(store: PostgresEventStore, lose: Losing) -> None:
    lose(MARKER)

    results = store.append_many([StreamAppend(stream, [marked()], NO_STREAM) for stream in (ACCOUNT, OTHER)])

    assert [result.version for result in results] == [1, 1]
    assert len(list(store.read_all())) == 2


# Transactions


def save(store: PostgresEventStore, events: Sequence[NewEvent]) -> int:
    with store.transaction() as tx:
        tx.execute("INSERT INTO numbers VALUES (1)")
        pending = tx.append(ACCOUNT, events, expected_version=0)
    return pending.result.version


@pytest.mark.parametrize("marker", [MARKER, b"COMMIT\0"], ids=["append", "commit"])
def test_a_transaction_whose_connection_is_lost_is_whole_or_not_at_all_and_can_be_repeated(
    store: PostgresEventStore, proxy: Proxy, lose: Losing, marker: bytes
) -> None:
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers (number integer)")
    events = [marked(), marked()]
    lose(marker)

    with pytest.raises(UnknownOutcome if marker == b"COMMIT\0" else StoreUnavailable):
        save(store, events)

    assert proxy.lost == 1
    ((rows,),) = store.query("SELECT count(*) FROM numbers")
    assert rows == (store.version(ACCOUNT) == 2)
    assert save(store, events) == 2
    assert store.query("SELECT count(*) FROM numbers") == [(1,)]
    assert store.version(ACCOUNT) == 2


def test_a_transaction_on_views_whose_commit_is_lost_is_an_unknown_outcome(
    store: PostgresEventStore, lose: Losing
) -> None:
    lose(b"COMMIT\0")

    with pytest.raises(UnknownOutcome), store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers (number integer)")

    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS numbers (number integer)")


def test_a_transaction_whose_connection_is_lost_before_it_begins_begins_with_another(
    store: PostgresEventStore, proxy: Proxy, lose: Losing
) -> None:
    lose(b"BEGIN")

    with store.view_transaction() as tx:
        assert tx.execute("SELECT 1") == [(1,)]

    assert proxy.lost == 1


class Count:
    """Counts events in a table."""

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent]) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS numbers (number integer)")
        for stored in events:
            tx.execute("INSERT INTO numbers VALUES (:number)", {"number": stored.position})


@pytest.mark.parametrize("marker", [MARKER, b"COMMIT\0"], ids=["append", "commit"])
def test_an_append_with_inline_handlers_whose_connection_is_lost_can_be_repeated(
    proxy: Proxy, schema: str, lose: Losing, marker: bytes
) -> None:
    with PostgresEventStore(proxy.dsn, schema=schema, inline=[Count()]) as store:
        events = [marked()]
        lose(marker)

        with pytest.raises(UnknownOutcome if marker == b"COMMIT\0" else StoreUnavailable):
            store.append(ACCOUNT, events, expected_version=0)

        assert store.append(ACCOUNT, events, expected_version=0).version == 1
        assert store.query("SELECT number FROM numbers") == [(1,)]


# Reads


def test_a_read_whose_connection_is_lost_is_done_again(store: PostgresEventStore, proxy: Proxy, lose: Losing) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}") for _ in range(3)], expected_version=0)
    lose(b"version > $3")

    assert [stored.version for stored in store.read(ACCOUNT)] == [1, 2, 3]
    lose(b"SELECT count(*)")
    assert store.query("SELECT count(*) FROM esbank_events") == [(3,)]

    assert proxy.lost == 2


def test_a_read_whose_connection_is_lost_again_and_again_says_so(store: PostgresEventStore, lose: Losing) -> None:
    lose(b"version > $3", times=10)

    with pytest.raises(StoreUnavailable, match="server cannot be reached now, or has ended the session"):
        list(store.read(ACCOUNT))


def test_a_snapshot_whose_connection_is_lost_is_saved(store: PostgresEventStore, lose: Losing) -> None:
    (stored,) = store.append(ACCOUNT, [event()], expected_version=0).events
    snapshot = Snapshot(ACCOUNT, 1, stored.event_id, store.identity, "schema", f'"{MARKER.decode()}"')
    lose(MARKER)

    store.save_snapshot(snapshot)

    assert store.load_snapshot(ACCOUNT) == snapshot


# Closing


def test_closing_the_store_waits_for_appends_under_way_but_not_for_ever(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    outcomes: list[object] = []
    with psycopg.connect(server_dsn) as holder:
        holder.execute(LOCK, (quoted(schema),))

        def close() -> None:
            while not store._appender._group.is_busy:  # noqa: SLF001  # there is no other way to know
                pass
            store.close()

        outcomes += in_threads([partial(store.append, ACCOUNT, [event()], expected_version=0), close])

    assert isinstance(outcomes[0], StorageError)
    assert outcomes[1] is None
