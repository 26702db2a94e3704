"""The suite that every store must pass: it takes a store at its word about what it can do, and catches broken ones."""

from textwrap import dedent

import pytest

import esbank.testing.conformance  # noqa: F401  # before the runs below, which otherwise import it anew

SUITE = """
import pytest
from esbank.backends.memory import MemoryEventStore
from esbank.errors import DuplicateEvent
from esbank.store import ANY_VERSION, AppendResult
from esbank.testing.conformance import EventStoreConformance


class Bare:
    "Can do what every store can do, and nothing else."

    def __init__(self):
        self.whole = MemoryEventStore()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


NAMES = "append append_many read read_all read_correlated subscribe wait count find version head streams close"
for name in NAMES.split():
    setattr(Bare, name, lambda self, *args, _name=name, **kwargs: getattr(self.whole, _name)(*args, **kwargs))
Bare.identity = property(lambda self: self.whole.identity)


{store}


class TestStore(EventStoreConformance):
    {flags}

    @pytest.fixture
    def store(self):
        with Store() as store:
            yield store
"""
BARE = "has_snapshots = has_views = has_transactions = can_be_copied = False"


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster


def run(pytester: pytest.Pytester, store: str, *, select: str, flags: str = BARE) -> pytest.RunResult:
    pytester.makepyfile(SUITE.replace("{store}", store).replace("{flags}", flags))
    return pytester.runpytest_inprocess("-k", select)


def test_a_store_is_not_asked_for_what_it_does_not_claim(pytester: pytest.Pytester) -> None:
    outcomes = run(pytester, "Store = Bare", select="snapshot or view or transaction").parseoutcomes()

    assert outcomes["skipped"] > 20
    assert "failed" not in outcomes


@pytest.mark.parametrize(
    ("flags", "store"), [("pass", "Store = Bare"), (BARE, "Store = MemoryEventStore")], ids=["too much", "too little"]
)
def test_a_store_that_claims_what_is_not_so_fails(pytester: pytest.Pytester, flags: str, store: str) -> None:
    run(pytester, store, select="if_it_says_so", flags=flags).assert_outcomes(failed=4)


BROKEN = {
    "tests a version for truth": (
        """
        class Store(Bare):
            def append(self, stream, events, *, expected_version):
                return self.whole.append(stream, events, expected_version=expected_version or ANY_VERSION)
        """,
        "wrong_version",
    ),
    "knows no repeats": (
        """
        class Store(Bare):
            def append(self, stream, events, *, expected_version):
                if any(self.whole.find(stream, event.event_id) for event in events):
                    raise DuplicateEvent(stream, events[0].event_id)
                return self.whole.append(stream, events, expected_version=expected_version)
        """,
        "very_same",
    ),
    "takes any known id for a repeat": (
        """
        class Store(Bare):
            def append(self, stream, events, *, expected_version):
                for event in events:
                    if found := self.whole.find(stream, getattr(event, "event_id", None)):
                        return AppendResult(stream, found.version, found.position, (found,))
                return self.whole.append(stream, events, expected_version=expected_version)
        """,
        "superset",
    ),
    "appends to one stream after the other": (
        """
        class Store(Bare):
            def append_many(self, appends, *, conditions=()):
                return tuple(self.whole.append_many([append], conditions=conditions)[0] for append in appends)
        """,
        "of_any_stream",
    ),
    "filters after the limit": (
        """
        class Store(Bare):
            def read_all(self, *, after=None, categories=None, types=None, limit=None):
                for event in self.whole.read_all(after=after, limit=limit):
                    if categories is None or event.stream.category in categories:
                        if types is None or event.type in types:
                            yield event
        """,
        "filtered",
    ),
    "skips what is at the edge of a page": (
        """
        class Store(Bare):
            def read_all(self, *, after=None, **rest):
                for number, event in enumerate(self.whole.read_all(after=after, **rest), 1):
                    if number % 1000:
                        yield event
        """,
        "long_log",
    ),
    "counts the event at the position as well": (
        """
        class Store(Bare):
            def count(self, *, after=None):
                return self.whole.count(after=after) + bool(after)
        """,
        "counted",
    ),
    "looks once instead of waiting": (
        """
        class Store(Bare):
            def wait(self, *, after, timeout):
                return self.whole.wait(after=after, timeout=0)
        """,
        "ends_the_wait",
    ),
    "wakes whoever waits for nothing": (
        """
        class Store(Bare):
            def wait(self, *, after, timeout):
                return self.whole.wait(after=after, timeout=timeout) or True
        """,
        "in_vain",
    ),
    "follows everything": (
        """
        class Store(Bare):
            def subscribe(self, *, after=None, categories=None, types=None):
                return self.whole.subscribe(after=after)
        """,
        "keeps_to_its_filters",
    ),
    "goes on after its end": (
        """
        class Store(Bare):
            def close(self):
                pass
        """,
        "closed_store",
    ),
}


def test_a_sound_store_passes(pytester: pytest.Pytester) -> None:
    outcomes = run(pytester, "Store = Bare", select=" or ".join(select for _, select in BROKEN.values()))

    assert set(outcomes.parseoutcomes()) <= {"passed", "deselected", "skipped"}


@pytest.mark.parametrize(("store", "select"), BROKEN.values(), ids=BROKEN)
def test_a_broken_store_fails(pytester: pytest.Pytester, store: str, select: str) -> None:
    assert run(pytester, dedent(store), select=select).parseoutcomes()["failed"] > 0


COMMITS_TOO_EARLY = """
import time
from contextlib import contextmanager
from esbank.store import PendingAppend, StreamAppend


class Transaction:
    def __init__(self, tx):
        self.tx = tx
        self.execute = tx.execute
        self.executemany = tx.executemany
        self.dialect = tx.dialect
        self.appends = []
        self.pending = []

    def append(self, stream, events, *, expected_version):
        self.appends.append(StreamAppend(stream, tuple(events), expected_version))
        self.pending.append(PendingAppend(stream, "a broken store"))
        return self.pending[-1]


class Store(MemoryEventStore):
    @contextmanager
    def transaction(self):
        with self.view_transaction() as tx:
            transaction = Transaction(tx)
            yield transaction
        if transaction.appends:
            time.sleep(0.001)
            for pending, result in zip(transaction.pending, self.append_many(transaction.appends)):
                pending.resolve(result)
"""
COMMITS_REPEATS = """
class Store(MemoryEventStore):
    def _append(self, connection, appends, metadata, conditions=()):
        first = self._find_repeat(appends)
        if first is not None and connection is not None:
            self._views.commit(connection)
            return first
        return super()._append(connection, appends, metadata, conditions)
"""
TRANSACTIONS = "has_queries_during_transactions = False"


def test_a_store_whose_transactions_are_sound_passes(pytester: pytest.Pytester) -> None:
    select = "undoes_everything or block_that_comes_again"
    outcomes = run(pytester, "Store = MemoryEventStore", select=select, flags=TRANSACTIONS).parseoutcomes()

    assert set(outcomes) == {"passed", "deselected"}


@pytest.mark.parametrize(
    ("store", "select"),
    [
        (COMMITS_TOO_EARLY, "a_wrong_version_undoes_everything"),
        (COMMITS_TOO_EARLY, "neither_a_row_without"),
        (COMMITS_REPEATS, "block_that_comes_again_changes or block_that_many_repeat"),
    ],
    ids=["commits rows before events", "shows rows before events", "commits the statements of a repeat"],
)
def test_a_store_whose_transactions_are_broken_fails(pytester: pytest.Pytester, store: str, select: str) -> None:
    outcomes = run(pytester, store, select=select, flags=TRANSACTIONS).parseoutcomes()

    assert "passed" not in outcomes
    assert outcomes["failed"] > 0


INLINE = """has_queries_during_transactions = False
    has_inline = True

    def open_inline(self, folder, *handlers):
        return Store(inline=handlers)
"""
TOO_LATE = """
class Store(MemoryEventStore):
    def __init__(self, *, inline=()):
        super().__init__()
        self.handlers = inline
        self.tell(())

    def append(self, stream, events, *, expected_version):
        result = super().append(stream, events, expected_version=expected_version)
        self.tell(result.events)
        return result

    def tell(self, events):
        with self.view_transaction() as tx:
            for handler in self.handlers:
                handler.on_append(tx, events)
"""


def test_a_store_need_not_change_anything_inline(pytester: pytest.Pytester) -> None:
    outcomes = run(pytester, "Store = Bare", select="handler").parseoutcomes()

    assert set(outcomes) == {"skipped", "deselected"}


def test_a_store_that_tells_its_inline_handlers_in_time_passes(pytester: pytest.Pytester) -> None:
    outcomes = run(
        pytester, "Store = MemoryEventStore", select="fails_undoes or not_handled", flags=INLINE
    ).parseoutcomes()

    assert set(outcomes) == {"passed", "deselected"}


def test_a_store_that_tells_its_inline_handlers_too_late_fails(pytester: pytest.Pytester) -> None:
    outcomes = run(pytester, TOO_LATE, select="fails_undoes or not_handled", flags=INLINE).parseoutcomes()

    assert "passed" not in outcomes
    assert outcomes["failed"] > 0
