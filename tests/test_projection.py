"""Views follow the log: each event takes effect once, in order, whatever the view is kept in."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define

from esbank import (
    DefinitionError,
    EventEnvelope,
    EventRegistry,
    ProjectionError,
    ProjectionRunner,
    Projector,
    Repository,
    StorageError,
    projects,
)
from esbank.store import Transaction
from tests.basket import Add, Added, Basket, CheckedOut, CheckOut, Filled, Note
from tests.doubles import KINDS, PlainStore, Store, WatchedStore, open_store
from tests.journal import (
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    as_written,
    indexes,
    journal,
    numbered,
    open_place,
    totals,
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


def run(place: Place, *projectors: Projector) -> ProjectionRunner:
    runner = ProjectionRunner(place.store, projectors, views=place.views)
    runner.catch_up()
    return runner


def test_catching_up_with_an_empty_store_makes_the_tables(place: Place) -> None:
    run(place, Journal(), Totals())

    assert journal(place.views) == []
    assert totals(place.views) == {}


def test_a_view_shows_what_has_happened_in_order(place: Place) -> None:
    add(place.store, "pen", "ink")
    add(place.store, "cup", key="b2")
    add(place.store, "pen")

    run(place, Journal(), Totals())

    assert journal(place.views) == ["pen", "ink", "cup", "pen"]
    assert totals(place.views) == {"pen": 2, "ink": 1, "cup": 1}


def test_catching_up_again_changes_nothing(place: Place) -> None:
    add(place.store, "pen")
    runner = run(place, Journal())

    runner.catch_up()
    run(place, Journal())

    assert journal(place.views) == ["pen"]


def test_a_view_goes_on_where_it_was_also_after_a_restart(place: Place) -> None:
    runner = run(place, Journal(), Totals())
    for number in range(6):
        add(place.store, f"sku {number}")
        if number % 2:
            runner.catch_up()
        else:
            run(place, Journal(), Totals())

    assert journal(place.views) == numbered(range(6))
    assert totals(place.views) == dict.fromkeys(numbered(range(6)), 1)


@pytest.mark.parametrize("count", [999, 1000, 1001, 2600])
def test_a_long_log_is_handled_to_its_end(place: Place, count: int) -> None:
    add(place.store, *numbered(range(count)))

    run(place, Journal())

    assert journal(place.views) == numbered(range(count))


def test_a_projector_that_comes_later_begins_at_the_first_event(place: Place) -> None:
    add(place.store, "pen")
    run(place, Journal())
    add(place.store, "ink")

    run(place, Journal(), Totals())

    assert journal(place.views) == ["pen", "ink"]
    assert totals(place.views) == {"pen": 1, "ink": 1}


def test_the_views_are_in_the_stores_own_database_unless_they_have_another(tmp_path: Path) -> None:
    with open_place("sqlite and sqlite", tmp_path) as place:
        assert ProjectionRunner(place.store, []).views is place.store
        assert ProjectionRunner(place.store, [], views=place.views).views is place.views


def test_a_runner_without_projectors_has_nothing_to_do(place: Place) -> None:
    add(place.store, "pen")

    run(place).rebuild()


# Which events.


def test_events_that_nobody_takes_are_passed_over_once(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(store, Basket)
    baskets.execute("b1", Add("pen"), *(Note("blue") for _ in range(50)), CheckOut())
    runner = ProjectionRunner(watched, [Journal()], views=store)
    runner.catch_up()
    assert watched.events_read == 52

    runner.catch_up()
    ProjectionRunner(watched, [Journal()], views=store).catch_up()

    assert watched.events_read == 52
    assert journal(store) == ["pen"]


@define
class Cart(Basket):
    """Other streams, with events of the same types."""

    category: ClassVar[str] = "Cart"


class CartJournal(Journal):
    categories: ClassVar[Collection[str] | None] = ("Cart",)


class BothJournal(Journal):
    categories: ClassVar[Collection[str] | None] = ("Cart", "Basket")


@pytest.mark.parametrize(
    ("projector", "expected"),
    [
        (Journal(), ["in a basket", "in a cart"]),
        (CartJournal(), ["in a cart"]),
        (BothJournal(), ["in a basket", "in a cart"]),
    ],
    ids=["all", "one", "both"],
)
def test_a_projector_follows_the_categories_that_it_names(
    store: Store, projector: Projector, expected: list[str]
) -> None:
    Repository(store, Basket).execute("1", Add("in a basket"))
    Repository(store, Cart).execute("1", Add("in a cart"))

    ProjectionRunner(store, [projector]).catch_up()

    assert journal(store) == expected


def test_an_envelope_tells_all_that_is_known(store: Store) -> None:
    seen: list[EventEnvelope[Any]] = []

    class Seeing(Projector):
        @projects(Added, CheckedOut)
        def _see(self, envelope: EventEnvelope[Added | CheckedOut], _: Transaction) -> None:
            seen.append(envelope)

    executed = Repository(store, Basket).execute("b1", Add("pen"), CheckOut())
    ProjectionRunner(store, [Seeing()]).catch_up()

    assert tuple(seen) == executed.envelopes


# Inheritance.


class NoisyJournal(Journal):
    """Writes in capitals, and takes one more event."""

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        self.write(tx, envelope.position, envelope.event.sku.upper())

    @projects(Filled)
    def _filled(self, envelope: EventEnvelope[Filled], tx: Transaction) -> None:
        for sku in envelope.event.skus:
            self.write(tx, envelope.position, sku)

    def write(self, tx: Transaction, position: int, sku: str) -> None:
        tx.execute("INSERT INTO {journal} VALUES (:position, :sku)", {"position": position, "sku": sku})


def test_a_subclass_overrides_and_adds_and_has_a_name_of_its_own(store: Store) -> None:
    add(store, "pen")

    ProjectionRunner(store, [NoisyJournal()]).catch_up()

    assert journal(store) == ["PEN"]
    assert (Journal.name, NoisyJournal.name) == ("Journal", "NoisyJournal")
    assert set(NoisyJournal.event_classes()) == {Added, Filled}
    assert set(Journal.event_classes()) == {Added}


# SQL.


class Scribe(Projector):
    """Two tables, and SQL of all kinds."""

    tables: ClassVar[Mapping[str, str]] = {
        "scribe_lines": "(sku TEXT NOT NULL, data TEXT NOT NULL DEFAULT '{}')",
        "scribe_letters": "(sku TEXT NOT NULL, letter TEXT NOT NULL, UNIQUE (sku, letter))",
    }

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        sku = envelope.event.sku
        tx.execute("""INSERT INTO {scribe_lines} VALUES (:sku, '{"a": {"b": 1}, "c": {}}')""", {"sku": sku})
        tx.execute("INSERT INTO {scribe_lines} (sku) VALUES ('constant')")
        tx.executemany(
            "INSERT INTO {scribe_letters} VALUES (:sku, :letter)",
            [{"sku": sku, "letter": letter} for letter in sku],
        )
        ((count,),) = tx.execute(
            "SELECT count(*) FROM {scribe_lines} AS l JOIN {scribe_letters} AS s USING (sku) WHERE l.sku = :sku",
            {"sku": sku},
        )
        assert count == len(sku)
        assert tx.dialect in {"sqlite", "postgresql"}


def test_table_names_in_braces_do_not_get_in_the_way_of_json(place: Place) -> None:
    add(place.store, "pen")

    run(place, Scribe()).rebuild()

    order = as_written(place.views)
    assert [
        (sku, json.loads(data))
        for sku, data in place.views.query(f"SELECT * FROM scribe_lines ORDER BY {order}")  # noqa: S608
    ] == [
        ("pen", {"a": {"b": 1}, "c": {}}),
        ("constant", {}),
    ]
    assert place.views.query(f"SELECT letter FROM scribe_letters ORDER BY {order}") == [("p",), ("e",), ("n",)]  # noqa: S608


class Stranger(Journal):
    """Writes into a table that it does not declare."""

    @projects(Added)
    def _added(self, _: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {totals} VALUES ('x', 1)")


def test_a_table_that_is_not_declared_is_an_error(place: Place) -> None:
    add(place.store, "pen")

    with pytest.raises(ProjectionError) as failed:
        run(place, Stranger())

    assert isinstance(failed.value.__cause__, DefinitionError)
    assert "Stranger has no table 'totals'; it declares journal" in str(failed.value.__cause__)


@pytest.mark.parametrize("statement", ["COMMIT", "  rollback", "SAVEPOINT x", "/* c */ COMMIT", "-- c\nCOMMIT"])
def test_a_handler_cannot_end_its_transaction(place: Place, statement: str) -> None:
    class Ending(Journal):
        @projects(Added)
        def _added(self, _: EventEnvelope[Added], tx: Transaction) -> None:
            tx.execute("INSERT INTO {journal} VALUES (1, 'x')")
            tx.execute(statement)

    add(place.store, "pen")

    with pytest.raises(ProjectionError):
        run(place, Ending())

    assert journal(place.views) == []


def test_indexes_are_made_with_the_tables_and_with_every_rebuild(place: Place) -> None:
    runner = run(place, Journal())
    assert indexes(place.views, "journal") == {"journal_by_sku"}

    runner.rebuild()

    assert indexes(place.views, "journal") == {"journal_by_sku"}


def append_once(store: Store) -> Callable[[str], object]:
    return lambda sku: add(store, "more") if sku == "pen" else None


def test_a_handler_may_not_append_to_the_store_that_its_transaction_is_on(store: Store) -> None:
    add(store, "pen")

    with pytest.raises(ProjectionError) as failed:
        ProjectionRunner(store, [Journal(append_once(store))]).catch_up()

    assert isinstance(failed.value.__cause__, StorageError)
    assert "transaction is open in this thread" in str(failed.value.__cause__)
    assert store.head() == 1
    assert journal(store) == []


def test_a_handler_may_not_begin_another_transaction_on_the_same_store(store: Store) -> None:
    def begin(_: str) -> None:
        with store.view_transaction():
            pass

    add(store, "pen")

    with pytest.raises(ProjectionError) as failed:
        ProjectionRunner(store, [Journal(begin)]).catch_up()

    assert isinstance(failed.value.__cause__, StorageError)
    assert journal(store) == []


def test_after_a_handler_tried_to_append_the_store_works(store: Store) -> None:
    add(store, "pen")
    with pytest.raises(ProjectionError):
        ProjectionRunner(store, [Journal(append_once(store))]).catch_up()

    add(store, "ink")
    ProjectionRunner(store, [Journal()]).catch_up()

    assert journal(store) == ["pen", "ink"]


def test_a_handler_may_read_the_events(place: Place) -> None:
    seen: list[list[str]] = []

    def read(_: str) -> None:
        seen.append(Repository(place.store, Basket).load("b1").state.skus)

    add(place.store, "pen", "ink")

    run(place, Journal(read))

    assert seen == [["pen", "ink"]] * 2


# What cannot work is refused when it is made.


@pytest.mark.parametrize(
    "name",
    [
        "",
        "two words",
        "a-b",
        'a"b',
        "1a",
        "esbank_mine",
        "ESBANK_mine",
        "sqlite_mine",
        "pg_mine",
        "mine__rebuild",
        "mine__REBUILD",
        "größe",
        "a\n",
    ],
)
@pytest.mark.parametrize("what", ["tables", "indexes"])
def test_a_name_that_cannot_be_a_tables_is_refused(what: str, name: str) -> None:
    with pytest.raises(DefinitionError, match="cannot name a table or an index"):
        type("Bad", (Projector,), {what: {name: "(x TEXT)"}})


@pytest.mark.parametrize("what", ["tables", "indexes"])
def test_a_name_that_postgresql_would_cut_is_refused(what: str) -> None:
    type("Good", (Projector,), {what: {"n" * 54: "(x TEXT)"}})
    with pytest.raises(DefinitionError, match="too long to name a table or an index; take 54 letters"):
        type("Bad", (Projector,), {what: {"n" * 55: "(x TEXT)"}})


@pytest.mark.parametrize(
    ("tables", "indexes"),
    [({"lines": "(x TEXT)", "Lines": "(x TEXT)"}, {}), ({"lines": "(x TEXT)"}, {"LINES": "{lines} (x)"})],
)
def test_names_that_are_one_to_a_database_are_refused(tables: dict[str, str], indexes: dict[str, str]) -> None:
    with pytest.raises(DefinitionError, match="share a name, whatever its case"):
        type("Bad", (Projector,), {"tables": tables, "indexes": indexes})


class RivalIndex(Projector):
    """Has an index of a name that another projector has, in another case."""

    tables: ClassVar[Mapping[str, str]] = {"others": "(x TEXT)"}
    indexes: ClassVar[Mapping[str, str]] = {"Journal_by_SKU": "{others} (x)"}


class Rival(Projector):
    """Has a table that another projector has."""

    tables: ClassVar[Mapping[str, str]] = {"journal": "(x TEXT)"}


class Namesake(Projector):
    name = "Journal"


@pytest.mark.parametrize(
    "other", [Rival(), RivalIndex(), Namesake(), Journal()], ids=["table", "index", "name", "itself"]
)
def test_projectors_that_clash_are_refused(store: Store, other: Projector) -> None:
    with pytest.raises(DefinitionError, match="share the name"):
        ProjectionRunner(store, [Journal(), other])


def test_a_store_without_views_is_refused(store: Store) -> None:
    with pytest.raises(DefinitionError, match="keeps no views"):
        ProjectionRunner(PlainStore(store), [Journal()])


def test_a_store_without_views_will_do_when_another_has_them(store: Store) -> None:
    add(store, "pen")

    ProjectionRunner(PlainStore(store), [Journal()], views=store).catch_up()

    assert journal(store) == ["pen"]


def test_two_methods_for_one_event_are_refused() -> None:
    def method(self: Projector, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        pass

    def other(self: Projector, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        pass

    with pytest.raises(DefinitionError, match="Twice"):
        type("Twice", (Projector,), {"method": projects(Added)(method), "other": projects(Added)(other)})


def test_a_registry_may_know_more_than_the_projectors_take(store: Store) -> None:
    add(store, "pen")

    ProjectionRunner(store, [Journal()], registry=EventRegistry(Basket)).catch_up()

    assert journal(store) == ["pen"]


def test_a_rebuild_of_a_projector_that_is_not_there_names_those_that_are(store: Store) -> None:
    with pytest.raises(ValueError, match=r"'Jurnal'; there are Journal, Totals"):
        ProjectionRunner(store, [Journal(), Totals()]).rebuild("Jurnal")
