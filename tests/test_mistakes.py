"""The mistakes that people make first are refused with words that help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from attrs import define, frozen

from esbank import (
    Aggregate,
    DefinitionError,
    EventEnvelope,
    ProjectionError,
    ProjectionRunner,
    Projector,
    Repository,
    StorageError,
    UnappliedEvent,
    applies,
    handles,
    projects,
)
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import Transaction
from esbank.testing import Scenario


@frozen
class Park:
    plate: str


@frozen
class Parked:
    plate: str


@define
class Garage(Aggregate[Park, Parked]):
    category: ClassVar[str] = "Garage"
    cars: int = 0

    @handles(Park)
    def park(self, command: Park) -> Iterator[Parked]:
        yield Parked(command.plate)

    @applies(Parked)
    def _parked(self, _event: Parked) -> None:
        self.cars += 1


@pytest.fixture
def garages() -> Repository[Garage]:
    return Repository(MemoryEventStore(), Garage)


class Undecorated(Garage):
    category = "Undecorated"
    limit: int = 1


@pytest.mark.parametrize("make", [lambda cls: Repository(MemoryEventStore(), cls), Scenario])
def test_an_aggregate_without_define_would_lose_its_fields(make: Callable[[type[Garage]], object]) -> None:
    with pytest.raises(DefinitionError, match="Undecorated is no attrs class, so its fields would be lost"):
        make(Undecorated)


def test_a_scenario_wants_a_category_as_a_repository_does() -> None:
    @define
    class Nameless(Aggregate[Park, Parked]):
        pass

    with pytest.raises(DefinitionError, match="Nameless needs a category"):
        Scenario(Nameless)


def test_a_handler_that_returns_an_event_is_told_to_yield_it() -> None:
    @define
    class Returning(Garage):
        category: ClassVar[str] = "Returning"

        @handles(Park)
        def park(self, command: Park) -> Iterator[Parked]:
            return cast("Iterator[Parked]", Parked(command.plate))

    with pytest.raises(DefinitionError, match=r"Returning.park returned Parked\(plate='A'\) for Park: yield"):
        Repository(MemoryEventStore(), Returning).execute("1", Park("A"))


def test_a_list_of_events_is_to_be_yielded_one_by_one() -> None:
    @define
    class Listing(Garage):
        category: ClassVar[str] = "Listing"

        @handles(Park)
        def park(self, command: Park) -> Iterator[Parked]:
            yield cast("Parked", [Parked(command.plate)])

    with pytest.raises(UnappliedEvent, match="yields a list; yield one event after the other"):
        Repository(MemoryEventStore(), Listing).execute("1", Park("A"))


def test_a_scenario_names_the_applier_that_is_missing() -> None:
    @define
    class Deaf(Aggregate[Park, Parked]):
        category: ClassVar[str] = "Deaf"

        @handles(Park)
        def park(self, command: Park) -> Iterator[Parked]:
            yield Parked(command.plate)

    with pytest.raises(AssertionError, match=r"mark a method of it with @applies\(Parked\)"):
        Scenario(Deaf).when(Park("A")).then(Parked("A"))


@pytest.mark.parametrize("command", [Park, [Park("A")], (Park("A"),)])
def test_what_is_no_single_command_is_refused(garages: Repository[Garage], command: object) -> None:
    with pytest.raises(TypeError, match="a command is an object of its class, and several come one by one"):
        garages.execute("1", cast("Park", command))


def test_a_command_without_a_key_is_noticed(garages: Repository[Garage]) -> None:
    with pytest.raises(ValueError, match=r"there is no command after Park\(plate='A'\); write execute\(key, command\)"):
        garages.execute(cast("str", Park("A")))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Repository(cast("Any", "bank.db"), Garage), "made of a store and a class of aggregates"),
        (lambda: Repository(cast("Any", Garage), cast("Any", MemoryEventStore())), "made of a store and a class"),
        (lambda: Repository(MemoryEventStore(), cast("Any", Garage())), "a class of aggregates is needed"),
        (
            lambda: Repository(MemoryEventStore(), Garage, snapshots=cast("Any", 50)),
            r"such as EveryNEvents\(50\), not 50",
        ),
        (lambda: ProjectionRunner(MemoryEventStore(), [cast("Any", Cars)]), "objects of their classes"),
        (lambda: ProjectionRunner(MemoryEventStore(), [Idle()]), r"Idle takes no events: mark a method"),
        (lambda: SQLiteEventStore("bank.db", busy_timeout=-1), "busy_timeout is a number of seconds from 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(make: Callable[[], object], problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        make()


class Cars(Projector):
    tables: ClassVar[Mapping[str, str]] = {"cars": "(plate TEXT, price TEXT)"}

    @projects(Parked)
    def _parked(self, envelope: EventEnvelope[Parked], tx: Transaction) -> None:
        tx.execute("INSERT INTO {cars} (plate) VALUES (:plate)", {"plate": envelope.event.plate})


class Idle(Projector):
    pass


@pytest.mark.parametrize("categories", ["Garage", (Garage,)])
def test_categories_are_texts_in_a_tuple(categories: object) -> None:
    with pytest.raises(DefinitionError, match="categories are texts in a tuple"):
        type("Wrong", (Projector,), {"categories": categories})


@pytest.mark.parametrize(
    "sql", ["INSERT INTO cars VALUES ('A', '')", "delete\nfrom cars", 'UPDATE "cars" SET plate = 1']
)
def test_a_table_without_braces_is_refused_because_a_rebuild_would_miss_it(sql: str) -> None:
    class Bare(Cars):
        @projects(Parked)
        def _parked(self, envelope: EventEnvelope[Parked], tx: Transaction) -> None:  # noqa: ARG002
            tx.execute(sql)

    store = MemoryEventStore()
    Repository(store, Garage).execute("1", Park("A"))

    with pytest.raises(ProjectionError, match=r"write {cars} for its table, with the braces"):
        ProjectionRunner(store, [Bare()]).catch_up()


def test_a_view_that_is_read_too_early_says_what_makes_its_tables(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "garage.db") as store:
        with pytest.raises(StorageError, match=r"no such table: cars \(the tables of a view are made by its runner's"):
            store.query("SELECT * FROM cars")
        ProjectionRunner(store, [Cars()]).catch_up()
        assert store.query("SELECT * FROM cars") == []
