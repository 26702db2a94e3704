"""A projector that fails stays before the event: nothing of it is kept, nothing is skipped, nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import frozen

from esbank import (
    CheckpointError,
    DefinitionError,
    EventDecodingError,
    EventEnvelope,
    EventRegistry,
    NewerSchemaVersion,
    ProjectionError,
    ProjectionRunner,
    Projector,
    event,
    projects,
    upcaster,
)
from esbank.store import ANY_VERSION, NewEvent, StreamId, Transaction
from tests.basket import Added
from tests.doubles import KINDS, open_store
from tests.journal import PLACES, Journal, Place, Totals, add, fail_at, journal, numbered, open_place, totals

STREAM = StreamId("Basket", "b1")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


def run(place: Place, *projectors: Projector) -> None:
    ProjectionRunner(place.store, projectors, views=place.views).catch_up()


def test_a_failure_keeps_all_that_came_before_it_and_nothing_of_its_own(place: Place) -> None:
    add(place.store, *numbered(range(10)))

    with pytest.raises(ProjectionError):
        run(place, Journal(fail_at("sku 7")))

    assert journal(place.views) == numbered(range(7))


def test_a_failure_says_where_and_why(place: Place) -> None:
    add(place.store, "pen", key="b0")
    add(place.store, "pen", "ink")

    with pytest.raises(ProjectionError) as failed:
        run(place, Journal(fail_at("ink")))

    error = failed.value
    assert (error.projector, error.stream, error.version, error.type) == ("Journal", STREAM, 2, "BasketAdded")
    assert error.position == list(place.store.read(STREAM))[-1].position
    assert repr(error.__cause__) == "LookupError('ink')"
    assert "LookupError('ink')" in str(error)


def test_a_failing_projector_stays_where_it_is(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")

    for _ in range(3):
        with pytest.raises(ProjectionError) as failed:
            run(place, Journal(fail_at("ink")))
        assert failed.value.version == 2

    assert journal(place.views) == ["pen"]


@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1001, 1999, 2000, 2099])
def test_once_mended_it_goes_on_without_skipping_or_doubling(place: Place, number: int) -> None:
    add(place.store, *numbered(range(2100)))
    with pytest.raises(ProjectionError):
        run(place, Journal(fail_at(f"sku {number}")))
    assert journal(place.views) == numbered(range(number))

    add(place.store, "last")
    run(place, Journal())

    assert journal(place.views) == [*numbered(range(2100)), "last"]


def test_the_other_projectors_go_on_to_the_end(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")

    with pytest.raises(ProjectionError):
        run(place, Journal(fail_at("ink")), Totals())

    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1}


class SecondJournal(Journal):
    name = "SecondJournal"
    tables: ClassVar[Mapping[str, str]] = {"second": "(x TEXT)"}
    indexes: ClassVar[Mapping[str, str]] = {}


def test_of_several_failures_the_first_is_raised_and_names_the_others(place: Place) -> None:
    add(place.store, "pen")

    with pytest.raises(ProjectionError) as failed:
        run(place, Journal(fail_at("pen")), SecondJournal(), Totals())

    assert failed.value.projector == "Journal"
    (note,) = failed.value.__notes__
    assert "'SecondJournal'" in note
    assert totals(place.views) == {"pen": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_keeps_whole_pages_and_nothing_is_done_twice(place: Place, error: type[BaseException]) -> None:
    def interrupt(sku: str) -> None:
        if sku == "sku 1500":
            raise error

    add(place.store, *numbered(range(2000)))

    with pytest.raises(error):
        run(place, Journal(interrupt))
    assert journal(place.views) == numbered(range(1000))

    run(place, Journal())
    assert journal(place.views) == numbered(range(2000))


# Events that cannot be read.


@event(name="BasketAdded", schema_version=2)
@frozen
class AddedTwo:
    sku: str
    quantity: int
    colour: str


class NewJournal(Journal):
    """What the journal becomes when the code is brought up to date."""

    name = "Journal"

    @projects(AddedTwo)
    def _added_two(self, envelope: EventEnvelope[AddedTwo], tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO {journal} VALUES (:position, :sku)",
            {"position": envelope.position, "sku": f"{envelope.event.colour} {envelope.event.sku}"},
        )

    _added = None  # type: ignore[assignment]


def append(place: Place, data: str, *, schema_version: int = 1) -> None:
    event = NewEvent("BasketAdded", data, schema_version=schema_version)
    place.store.append(STREAM, [event], expected_version=ANY_VERSION)


def test_an_event_that_cannot_be_read_stops_a_projector_before_it(place: Place) -> None:
    add(place.store, "pen")
    append(place, '{"sku":7,"quantity":1}')
    add(place.store, "cup", key="b2")

    with pytest.raises(ProjectionError) as failed:
        run(place, Journal(), Totals())

    assert (failed.value.stream, failed.value.version) == (STREAM, 2)
    assert isinstance(failed.value.__cause__, EventDecodingError)
    assert journal(place.views) == ["pen"]


def test_an_event_of_newer_code_is_taken_once_the_code_is_newer(place: Place) -> None:
    add(place.store, "pen")
    append(place, '{"sku":"ink","quantity":1,"colour":"red"}', schema_version=2)
    with pytest.raises(ProjectionError) as failed:
        run(place, Journal())
    assert isinstance(failed.value.__cause__, NewerSchemaVersion)

    run(place, NewJournal())

    assert journal(place.views) == ["pen", "red ink"]


def test_an_event_that_nobody_takes_need_not_be_readable(place: Place) -> None:
    add(place.store, "pen")
    place.store.append(STREAM, [NewEvent("Unheard", "[1]")], expected_version=ANY_VERSION)
    place.store.append(STREAM, [NewEvent("BasketNoted", '"?"')], expected_version=ANY_VERSION)

    run(place, Journal())

    assert journal(place.views) == ["pen"]


# Tables that are in the way.


def test_a_table_that_somebody_else_made_is_neither_used_nor_dropped(place: Place) -> None:
    with place.views.view_transaction() as tx:
        tx.execute("CREATE TABLE journal (precious TEXT)")
        tx.execute("INSERT INTO journal VALUES ('mine')")
    add(place.store, "pen")
    runner = ProjectionRunner(place.store, [Journal(), Totals()], views=place.views)

    with pytest.raises(CheckpointError, match="already exists") as failed:
        runner.catch_up()
    assert failed.value.projector == "Journal"
    with pytest.raises(CheckpointError, match="already exists"):
        runner.rebuild("Journal")

    assert place.views.query("SELECT * FROM journal") == [("mine",)]
    assert totals(place.views) == {"pen": 1}


def test_a_table_that_looks_like_one_of_a_rebuild_is_not_dropped(place: Place) -> None:
    with place.views.view_transaction() as tx:
        tx.execute("CREATE TABLE journal__rebuild (precious TEXT)")
        tx.execute("INSERT INTO journal__rebuild VALUES ('mine')")
    runner = ProjectionRunner(place.store, [Journal()], views=place.views)
    runner.catch_up()

    with pytest.raises(CheckpointError, match="already exists"):
        runner.rebuild()

    assert place.views.query("SELECT * FROM journal__rebuild") == [("mine",)]


class WiderJournal(Journal):
    """The journal with another table, which somebody else has."""

    name = "Journal"
    tables: ClassVar[Mapping[str, str]] = {**Journal.tables, "customers": "(x TEXT)"}


def test_a_table_that_a_projector_came_to_declare_later_is_not_dropped(place: Place) -> None:
    run(place, Journal())
    with place.views.view_transaction() as tx:
        tx.execute("CREATE TABLE customers (precious TEXT)")
        tx.execute("INSERT INTO customers VALUES ('mine')")

    with pytest.raises(CheckpointError, match="already exists"):
        ProjectionRunner(place.store, [WiderJournal()], views=place.views).rebuild()

    assert place.views.query("SELECT * FROM customers") == [("mine",)]


def test_a_table_of_another_projector_is_not_dropped(place: Place) -> None:
    add(place.store, "pen")
    run(place, Journal())

    class Thief(Projector):
        tables: ClassVar[Mapping[str, str]] = {"journal": "(x TEXT)"}

        @projects(Added)
        def _ignored(self, envelope: EventEnvelope[Added], tx: Transaction) -> None: ...

    with pytest.raises(CheckpointError, match="already exists"):
        ProjectionRunner(place.store, [Thief()], views=place.views).rebuild()

    assert journal(place.views) == ["pen"]


def test_a_registry_that_lacks_an_event_is_refused(place: Place) -> None:
    with pytest.raises(DefinitionError, match="the registry lacks Added, which a projector takes; add it"):
        ProjectionRunner(place.store, [Journal()], views=place.views, registry=EventRegistry(AddedTwo))


@upcaster("BasketAdded", from_version=1, to_version=2)
def in_black(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "colour": "black"}


class PaintedJournal(NewJournal):
    """Brings what turns the old events into new ones."""

    name = "Journal"
    registry: ClassVar[EventRegistry | None] = EventRegistry(AddedTwo, upcasters=[in_black])


class Colours(Projector):
    """Takes the new events too, and names no registry."""

    tables: ClassVar[Mapping[str, str]] = {"colours": "(colour TEXT NOT NULL)"}

    @projects(AddedTwo)
    def _added(self, envelope: EventEnvelope[AddedTwo], tx: Transaction) -> None:
        tx.execute("INSERT INTO {colours} VALUES (:colour)", {"colour": envelope.event.colour})


class PaintedColours(Colours):
    """Names the same one."""

    name = "Colours"
    registry: ClassVar[EventRegistry | None] = PaintedJournal.registry


class OtherColours(Colours):
    """Names one of its own."""

    name = "Colours"
    registry: ClassVar[EventRegistry | None] = EventRegistry(AddedTwo)


@pytest.mark.parametrize("colours", [Colours(), PaintedColours()], ids=["one names it", "both name it"])
@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_the_registry_that_projectors_name_is_that_of_all_of_them(place: Place, colours: Projector, order: int) -> None:
    add(place.store, "pen")

    run(place, *[PaintedJournal(), colours][::order])

    assert journal(place.views) == ["black pen"]
    assert place.views.query("SELECT colour FROM colours") == [("black",)]


def test_several_registries_are_refused_unless_one_is_named_for_all(place: Place) -> None:
    add(place.store, "pen")
    projectors = [PaintedJournal(), OtherColours()]

    with pytest.raises(DefinitionError, match=r"the projectors name several registries; .*registry="):
        ProjectionRunner(place.store, projectors, views=place.views)

    ProjectionRunner(place.store, projectors, views=place.views, registry=PaintedJournal.registry).catch_up()
    assert journal(place.views) == ["black pen"]


# Inline.


@pytest.mark.parametrize("kind", KINDS)
def test_when_an_inline_projector_fails_it_is_said_that_the_append_was_undone(kind: str, tmp_path: Path) -> None:
    with open_store(kind, tmp_path, inline=[Journal(fail_at("ink"))]) as store:
        with pytest.raises(ProjectionError) as failed:
            add(store, "pen", "ink")

        assert store.head() is None
    (note,) = failed.value.__notes__
    assert "the append was undone" in note


def test_when_another_projector_fails_nothing_was_undone(place: Place) -> None:
    add(place.store, "pen")
    with pytest.raises(ProjectionError) as failed:
        run(place, Journal(fail_at("pen")))

    assert place.store.head() == 1
    assert not hasattr(failed.value, "__notes__")
