"""What an application passes on: keys, ids, versions, moments, names; taken, or refused with the store as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final, TypeAlias

import pytest
from attrs import frozen
from hostile_outcomes import contents, refused
from hostile_values import ANYTHING, SQL, TEXTS, anything, explore

import esbank
from esbank import EventRegistry, EveryNEvents, OnEvents, Projector, Repository, Retry, event, projects, upcaster
from esbank.backends.sqlite import SQLiteEventStore
from esbank.events import EventEnvelope
from esbank.projection import ProjectionRunner
from esbank.store import Transaction
from tests.basket import Add, Added, Basket, Fill


class Names(Projector):
    tables: ClassVar[dict[str, str]] = {"names": "(sku TEXT)"}

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {names} VALUES (:sku)", {"sku": envelope.event.sku})


@frozen
class Application:
    """A program that uses all there is."""

    store: SQLiteEventStore
    baskets: Repository[Basket]
    runner: ProjectionRunner


Entry: TypeAlias = Callable[[Application, Any], object]


def follow(application: Application, **declared: object) -> None:
    """Make a view of a projector that is declared so, twice, and drop it again."""
    runner = ProjectionRunner(application.store, [type("Odd", (Names,), declared)()])
    runner.catch_up()
    runner.rebuild()
    runner.status()


ENTRIES: Final[dict[str, Entry]] = {
    "execute: the key": lambda app, it: app.baskets.execute(it, Add("apple")),
    "execute: the command": lambda app, it: app.baskets.execute("1", it),
    "execute: a text": lambda app, it: app.baskets.execute("1", Add(it)),
    "execute: a number": lambda app, it: app.baskets.execute("1", Add("apple", it)),
    "execute: a list": lambda app, it: app.baskets.execute("1", Fill(it)),
    "execute: an item": lambda app, it: app.baskets.execute("1", Fill([it])),
    "execute: a text, with an id": lambda app, it: app.baskets.execute("1", Add(it), command_id=f"text {it!r:.20}"),
    "execute: a number, with an id": lambda app, it: app.baskets.execute("1", Add("apple", it), command_id="number"),
    "execute: the id": lambda app, it: app.baskets.execute("1", Add("apple"), command_id=it),
    "execute: the metadata": lambda app, it: app.baskets.execute("1", Add("apple"), metadata=it),
    "execute: the expected version": lambda app, it: app.baskets.execute("1", Add("apple"), expected_version=it),
    "load: the key": lambda app, it: app.baskets.load(it),
    "load: the version": lambda app, it: app.baskets.load("1", version=it),
    "load: recorded_until": lambda app, it: app.baskets.load("1", recorded_until=it),
    "load: occurred_until": lambda app, it: app.baskets.load("1", occurred_until=it),
    "history": lambda app, it: list(app.baskets.history(it)),
    "timeline": lambda app, it: list(app.baskets.timeline(it)),
    "snapshot": lambda app, it: app.baskets.snapshot(it),
    "Repository: the store": lambda _, it: Repository(it, Basket),
    "Repository: the aggregate": lambda app, it: Repository(app.store, it),
    "Repository: the registry": lambda app, it: Repository(app.store, Basket, registry=it),
    "Repository: the snapshots": lambda app, it: Repository(app.store, Basket, snapshots=it),
    "Repository: the cache": lambda app, it: Repository(app.store, Basket, cache=it),
    "Repository: the attempts": lambda app, it: Repository(app.store, Basket, max_attempts=it),
    "context: the actor": lambda _, it: esbank.context(actor=it),
    "context: the correlation id": lambda _, it: esbank.context(correlation_id=it),
    "context: whatever else": lambda _, it: esbank.context(extra=it),
    "context: a value": lambda _, it: esbank.context(extra={"value": it}),
    "event: the name": lambda _, it: event(name=it)(type("Odd", (), {})),
    "event: the schema version": lambda _, it: event(schema_version=it),
    "event: the class": lambda _, it: event(it),
    "EventRegistry": lambda _, it: EventRegistry(it),
    "EventRegistry: the upcasters": lambda _, it: EventRegistry(Added, upcasters=it),
    "EventRegistry: an upcaster": lambda _, it: EventRegistry(Added, upcasters=[it]),
    "upcaster: the name": lambda _, it: upcaster(it, from_version=1, to_version=2),
    "upcaster: the version": lambda _, it: upcaster("Odd", from_version=it, to_version=2),
    "upcaster: the new name": lambda _, it: upcaster("Odd", from_version=1, to_version=2, to=it),
    "EveryNEvents": lambda _, it: EveryNEvents(it),
    "OnEvents": lambda _, it: OnEvents(it),
    "Retry": lambda _, it: Retry(it),
    "skip: the position": lambda app, it: app.runner.skip(it, "it is odd", by="me"),
    "skip: the reason": lambda app, it: app.runner.skip(1, it, by="me"),
    "skip: by whom": lambda app, it: app.runner.skip(1, "it is odd", by=it),
    "skip: the projector": lambda app, it: app.runner.skip(1, "it is odd", by="me", projector=it),
    "catch_up": lambda app, it: app.runner.catch_up(it),
    "rebuild": lambda app, it: app.runner.rebuild(it),
    "resume": lambda app, it: app.runner.resume(it),
    "wait_for: the names": lambda app, it: app.runner.wait_for(None, names=it),
    "wait_for: the timeout": lambda app, it: app.runner.wait_for(None, it),
    "ProjectionRunner: the projectors": lambda app, it: ProjectionRunner(app.store, it),
    "ProjectionRunner: a projector": lambda app, it: ProjectionRunner(app.store, [it]),
    "ProjectionRunner: the registry": lambda app, it: ProjectionRunner(app.store, [Names()], registry=it),
    "Projector: the name": lambda app, it: follow(app, name=it),
    "Projector: the version": lambda app, it: follow(app, version=it),
    "Projector: the categories": lambda app, it: follow(app, categories=it),
    "Projector: a category": lambda app, it: follow(app, categories=(it,)),
    "Projector: a table": lambda app, it: follow(app, tables={"names": "(sku TEXT)", it: "(sku TEXT)"}),
    "Projector: an index": lambda app, it: follow(app, indexes={it: "{names} (sku)"}),
}


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with SQLiteEventStore(tmp_path_factory.mktemp("application") / "events.db", durability="normal") as store:
        baskets = Repository(store, Basket, snapshots=EveryNEvents(10))
        baskets.execute("1", Add("apple"), command_id="first")
        runner = ProjectionRunner(store, [Names()])
        runner.catch_up()
        yield Application(store, baskets, runner)


def check(application: Application, entry: Entry, values: list[Any]) -> None:
    before = contents(application.store)
    bad = refused(lambda it: entry(application, it), values)
    held = contents(application.store)
    if len(bad) == len(values):
        assert held == before

    assert len(refused(lambda it: entry(application, it), bad)) == len(bad)
    assert contents(application.store) == held
    version = application.baskets.load("1").version
    assert application.baskets.execute("1", Add("pear")).version == version + 1
    application.runner.catch_up()


entries = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())


@entries
def test_what_is_refused_leaves_everything_as_it_was(application: Application, entry: Entry) -> None:
    check(application, entry, ANYTHING)


@pytest.mark.soak
@entries
def test_whatever_else_is_refused_leaves_everything_as_it_was(application: Application, entry: Entry) -> None:
    @explore(300, value=anything)
    def _(value: object) -> None:
        check(application, entry, [value])


def test_a_wait_for_a_view_takes_a_number_of_seconds(application: Application) -> None:
    with pytest.raises(ValueError, match="a timeout is a number of seconds, not nan"):
        application.runner.wait_for(10**6, math.nan)


def test_sql_in_a_value_stays_a_value(application: Application) -> None:
    texts = [f"a value {text}" for text in SQL]
    for text in texts:
        application.baskets.execute(text, Add(text), command_id=text)
        with esbank.context(actor=text, correlation_id=text):
            application.baskets.execute(text, Add(text))
    application.runner.catch_up()

    for text in texts:
        assert application.store.query("SELECT sku FROM names WHERE sku = :sku", {"sku": text}) == [(text,)] * 2
        assert [event.stream.key for event in application.store.read_correlated(text)] == [text]


@pytest.mark.parametrize("name", [name for name in TEXTS if type(name) is str], ids=ascii)
def test_a_name_of_a_table_is_an_identifier_or_refused(name: str) -> None:
    for declared in ({"tables": {name: "(sku TEXT)"}}, {"indexes": {name: "{names} (sku)"}}):
        assert refused(lambda declared: type("Odd", (Names,), declared), [declared], esbank.DefinitionError)
