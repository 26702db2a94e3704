"""Given events, then rows: a test that reads like the view that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeAlias, TypeVar, overload

from attrs import frozen

from esbank.aggregate import Aggregate
from esbank.backends.memory import MemoryEventStore
from esbank.codec import EventCodec, EventRegistry
from esbank.errors import ProjectionError
from esbank.events import EventEnvelope
from esbank.projection import ProjectionRunner, Projector
from esbank.store import (
    ANY_VERSION,
    NO_METADATA,
    Metadata,
    NewEvent,
    SqlValue,
    StreamId,
    Transaction,
    ViewStore,
    microseconds,
)
from esbank.testing._differences import list_difference
from esbank.testing._rows import Row, in_one_form, row_difference, select
from esbank.testing._storing import stored_and_read

__all__ = ["Row", "ViewScenario"]

E = TypeVar("E")
T = TypeVar("T")

_Project: TypeAlias = Callable[[EventEnvelope[Any], Transaction], None]
_MILLENNIUM: Final = datetime(2000, 1, 1, tzinfo=UTC)


class ViewScenario:
    """Tests one projector: given events, its tables have just these rows.

    ::

        ViewScenario(AccountDetails).given(BankAccount, "acc-001", opened).then(
            account_details=[{"account_id": "acc-001", "balance": "10.00"}]
        )

    `projector` makes the projector: its class, or a function without parameters. It is run for real, over events in
    memory; `views` opens an empty place for its tables, by default in memory too. Its side effects are left out.

    Besides what it is told to, it checks that every event can be stored and comes back the same, that a rebuild gives
    the same rows, and so does taking each event in a batch of its own, by a projector that has seen none of the others.
    So a view that depends on anything but its events is caught.
    """

    def __init__(
        self,
        projector: Callable[[], Projector],
        *,
        registry: EventRegistry | None = None,
        views: Callable[[], AbstractContextManager[ViewStore]] = MemoryEventStore,
    ) -> None:
        self._make = projector
        self._projector = projector()
        self._registry = registry or self._projector.registry
        self._views = views
        self._given: tuple[_Given, ...] = ()

    @overload
    def given(
        self, stream: StreamId, /, *events: object, metadata: Metadata = ..., recorded_at: datetime | None = ...
    ) -> Self: ...
    @overload
    def given(
        self,
        aggregate: type[Aggregate[Any, E]],
        key: str,
        /,
        *events: E,
        metadata: Metadata = ...,
        recorded_at: datetime | None = ...,
    ) -> Self: ...
    def given(
        self,
        stream: StreamId | type[Aggregate[Any, Any]],
        /,
        *events: Any,
        metadata: Metadata = NO_METADATA,
        recorded_at: datetime | None = None,
    ) -> Self:
        """Go on with what has happened in one stream, the oldest first; call it again for more.

        The stream is named by a ``StreamId``, or by a class of aggregates and a key. All of these events have
        `metadata`. They were recorded at `recorded_at`; by default with those before them, and the first ones when the
        year 2000 began, in UTC.
        """
        happened: Sequence[object] = events
        if not isinstance(stream, StreamId):
            given: object = stream
            if not isinstance(given, type) or not events:
                raise TypeError(f"say in which stream it has happened: given(SomeAggregate, key, …), not {given!r}")
            key, *happened = events
            stream = stream.stream(key)
        last = self._given[-1].recorded_at if self._given else recorded_at or _MILLENNIUM
        recorded_at = recorded_at or last
        if recorded_at < last:
            raise ValueError(f"give events in the order in which they were recorded: {recorded_at} is before {last}")
        more = copy(self)
        new = [_Given(stream, self._encode(event, metadata), recorded_at) for event in happened]
        more._given = (*self._given, *new)  # noqa: SLF001 - it is one of our own
        return more

    def then(self, **tables: Iterable[Row]) -> None:
        """Expect just these rows in a table of the view, in any order; a table that is not named does not matter.

        A row is a tuple of all its columns, or a dict of those that matter, the same ones in all rows of the table.
        Raises ``AssertionError`` that shows what was expected beside what there is.
        """
        declared = self._projector.tables
        unknown = [table for table in tables if table not in declared]
        if unknown:
            raise ValueError(f"{self._projector.name} has no table {unknown[0]!r}; it declares {', '.join(declared)}")
        expected = {table: in_one_form(table, rows) for table, rows in tables.items()}
        actual = self._run(lambda views: {table: select(views, table, rows) for table, rows in expected.items()})
        for table, rows in expected.items():
            if difference := row_difference(rows, actual[table]):
                raise AssertionError(f"the rows of {table} are not those expected (-), but (+):\n{difference}")

    def then_query(self, sql: str, rows: Iterable[tuple[SqlValue, ...]]) -> None:
        """Expect just these rows from a query, and in this order: that of its ``ORDER BY``. Raises as `then` does."""
        expected = list(rows)
        actual = self._run(lambda views: views.query(sql))
        if actual != expected:
            difference = list_difference(expected, actual)
            raise AssertionError(f"the query does not return the rows expected (-), but (+):\n{difference}")

    def _encode(self, event: object, metadata: Metadata) -> NewEvent:
        codec = EventCodec(self._registry or EventRegistry(type(self._projector), type(event)))
        return codec.encode(stored_and_read(codec, event), metadata=metadata)

    def _run(self, look: Callable[[ViewStore], T]) -> T:
        """Run the projector in every way that must come to the same; return what `look` sees then."""
        log = _Log()
        with self._views() as views:
            runner = self._runner(log, views, self._make().project)
            for given in self._given:
                log.record(given)
            _do(runner.catch_up)
            rows, seen = self._rows(views), look(views)
            _do(runner.rebuild)
            self._check_same(rows, views, "after a rebuild")
        log = _Log()
        with self._views() as views:
            runner = self._runner(log, views, lambda envelope, tx: self._make().project(envelope, tx))
            _do(runner.catch_up)
            for given in self._given:
                log.record(given)
                _do(runner.catch_up)
            self._check_same(rows, views, "when a new projector takes each event in a batch of its own")
        return seen

    def _runner(self, log: _Log, views: ViewStore, project: _Project) -> ProjectionRunner:
        registry = self._registry or EventRegistry(type(self._projector))
        return ProjectionRunner(log.store, [_view_alone(self._projector, project)], views=views, registry=registry)

    def _rows(self, views: ViewStore) -> dict[str, list[Row]]:
        return {table: select(views, table) for table in self._projector.tables}

    def _check_same(self, expected: Mapping[str, list[Row]], views: ViewStore, when: str) -> None:
        for table, actual in self._rows(views).items():
            if difference := row_difference(expected[table], actual):
                raise AssertionError(
                    f"{table} has other rows (+) {when} than when all events come at once (-).\n"
                    f"A view may depend on nothing but its events:\n{difference}"
                )


@frozen
class _Given:
    """An event that has happened, and when that was recorded."""

    stream: StreamId
    event: NewEvent
    recorded_at: datetime


class _Log:
    """Events in memory, each recorded when the scenario says so."""

    def __init__(self) -> None:
        self._now = _MILLENNIUM
        self.store = MemoryEventStore(clock=lambda: microseconds(self._now) * 1000)

    def record(self, given: _Given) -> None:
        self._now = given.recorded_at
        self.store.append(given.stream, [given.event], expected_version=ANY_VERSION)


def _view_alone(projector: Projector, take: _Project) -> Projector:
    """Make a projector of a view, of which `take` takes each event; what the other tells the world is not its own."""

    class View(Projector):
        name = projector.name
        version = projector.version
        categories = projector.categories
        tables = projector.tables
        indexes = projector.indexes

        @classmethod
        def event_classes(cls) -> tuple[type, ...]:
            return projector.event_classes()

        def project(self, envelope: EventEnvelope[Any], tx: Transaction) -> None:
            take(envelope, tx)

    return View()


def _do(work: Callable[[], None]) -> None:
    """Do something that takes events, and show why a method of the projector fails as if it were called here."""
    failure: BaseException | None = None
    try:
        work()
    except ProjectionError as error:
        failure = error.__cause__ or error
        failure.add_note(f"The projector took {error.stream} version {error.version} ({error.type}).")
    if failure is not None:
        raise failure
