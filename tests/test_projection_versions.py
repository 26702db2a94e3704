"""A view knows what has made it: a newer projector takes it over by a rebuild, and an older one keeps its hands off."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import frozen

from esbank import (
    CheckpointError,
    DefinitionError,
    EventCodec,
    EventEnvelope,
    EventRegistry,
    ProjectionError,
    ProjectionRunner,
    Projector,
    ProjectorState,
    projects,
    side_effects,
)
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, StreamId, Transaction, ViewStore
from tests.basket import Added
from tests.doubles import KINDS, WatchedStore, open_store
from tests.journal import (
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    as_written,
    fail_at,
    journal,
    numbered,
    open_place,
    totals,
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors, views=place.views)


def upper(skus: list[str]) -> list[str]:
    return [sku.upper() for sku in skus]


class LoudJournal(Journal):
    """The second version: what the first has written must be written anew."""

    name = "Journal"
    version: ClassVar[int] = 2

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        sku = envelope.event.sku
        tx.execute(
            "INSERT INTO {journal} VALUES (:position, :sku)", {"position": envelope.position, "sku": sku.upper()}
        )
        self.on_added(sku)


class WideJournal(Journal):
    """The same version with another table."""

    name = "Journal"
    tables: ClassVar[Mapping[str, str]] = {"journal": "(position INTEGER, sku TEXT, length INTEGER DEFAULT 3)"}

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {journal} (sku) VALUES (:sku)", {"sku": envelope.event.sku.upper()})


class SortedJournal(LoudJournal):
    """The same version with another index."""

    name = "Journal"
    version: ClassVar[int] = 1
    indexes: ClassVar[Mapping[str, str]] = {"journal_by_position": "{journal} (position)"}


CHANGED = [LoudJournal(), WideJournal(), SortedJournal()]
IDS = ["version", "table", "index"]


@pytest.mark.parametrize("changed", CHANGED, ids=IDS)
def test_a_view_that_others_have_made_is_left_as_it_is_until_it_is_rebuilt(place: Place, changed: Projector) -> None:
    add(place.store, "pen")
    runner_at(place, Journal()).catch_up()
    add(place.store, "ink")
    runner = runner_at(place, changed, Totals())

    with pytest.raises(CheckpointError, match="rebuild the view") as outdated:
        runner.catch_up()
    assert outdated.value.projector == "Journal"
    assert journal(place.views) == ["pen"]
    assert totals(place.views) == {"pen": 1, "ink": 1}
    with pytest.raises(CheckpointError, match="rebuild the view"):
        runner.run()

    runner.rebuild("Journal")
    add(place.store, "cup")
    runner.catch_up()
    assert journal(place.views) == ["PEN", "INK", "CUP"]
    assert [status.state for status in runner.status()] == [ProjectorState.CURRENT] * 2


@pytest.mark.parametrize("changed", CHANGED, ids=IDS)
def test_a_run_rebuilds_what_is_out_of_date_when_it_is_asked_to(place: Place, changed: Projector) -> None:
    add(place.store, "pen")
    runner_at(place, Journal(), Totals()).catch_up()
    add(place.store, "ink")
    runner = runner_at(place, changed, Totals())
    stop = threading.Event()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(runner.run, stop, rebuild_outdated=True)
        try:
            runner.wait_for(2, 20)
            add(place.store, "cup")
            runner.wait_for(3, 20)
        finally:
            stop.set()
        done.result()

    assert journal(place.views) == ["PEN", "INK", "CUP"]
    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1}


def test_a_run_rebuilds_nothing_that_is_as_it_should_be(place: Place) -> None:
    seen: list[str] = []
    add(place.store, "pen")
    runner = runner_at(place, Journal(seen.append))
    runner.catch_up()
    stop = threading.Event()
    stop.set()

    runner.run(stop, rebuild_outdated=True)

    assert seen == ["pen"]


def test_a_run_that_may_rebuild_makes_views_that_were_never_made(place: Place) -> None:
    add(place.store, "pen")
    stop = threading.Event()

    runner_at(place, Journal(lambda _: stop.set())).run(stop, rebuild_outdated=True)

    assert journal(place.views) == ["pen"]


def test_a_run_that_is_stopped_while_it_rebuilds_leaves_the_old_view_and_the_rebuild_can_go_on(place: Place) -> None:
    skus = numbered(range(2100))
    add(place.store, *skus)
    runner_at(place, Journal()).catch_up()
    stop = threading.Event()

    stopped = runner_at(place, LoudJournal(lambda sku: stop.set() if sku == "sku 10" else None))
    stopped.run(stop, rebuild_outdated=True)
    assert journal(place.views) == skus
    assert stopped.status()[0].state is ProjectorState.OUTDATED

    seen: list[str] = []
    runner = runner_at(place, LoudJournal(seen.append))
    runner.rebuild(resume=True)
    assert seen == skus[1000:]
    assert journal(place.views) == upper(skus)
    assert runner.status()[0].state is ProjectorState.CURRENT


def test_a_rebuild_that_fails_when_a_run_begins_leaves_the_old_view(place: Place) -> None:
    add(place.store, "pen", "ink")
    runner_at(place, Journal()).catch_up()

    with pytest.raises(ProjectionError):
        runner_at(place, LoudJournal(fail_at("ink"))).run(rebuild_outdated=True)

    assert journal(place.views) == ["pen", "ink"]
    assert runner_at(place, Journal()).status()[0].state is ProjectorState.CURRENT


def test_a_run_of_an_older_version_does_not_rebuild_what_a_newer_one_has_made(place: Place) -> None:
    add(place.store, "pen")
    runner_at(place, LoudJournal()).catch_up()

    with pytest.raises(CheckpointError, match="made by version 2 of it, and this is version 1"):
        runner_at(place, Journal()).run(rebuild_outdated=True)

    assert journal(place.views) == ["PEN"]


def test_a_run_does_not_rebuild_the_view_of_another_store(tmp_path: Path) -> None:
    with (
        MemoryEventStore() as first,
        MemoryEventStore() as second,
        open_store("sqlite", tmp_path, name="views.db") as views,
    ):
        add(first, "pen")
        runner_at(Place(first, views), Journal()).catch_up()

        with pytest.raises(CheckpointError, match="another store"):
            runner_at(Place(second, views), LoudJournal()).run(rebuild_outdated=True)

        assert journal(views) == ["pen"]


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0, None])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(DefinitionError, match="version is an int from 1"):
        type("Versioned", (Journal,), {"version": version})


# An old process.


def test_an_old_runner_writes_nothing_into_a_view_that_a_newer_version_has_rebuilt(place: Place) -> None:
    add(place.store, "pen")
    old = runner_at(place, Journal())
    old.catch_up()
    runner_at(place, LoudJournal()).rebuild()
    add(place.store, "ink")

    with pytest.raises(CheckpointError, match="made by version 2 of it, and this is version 1"):
        old.catch_up()

    assert journal(place.views) == ["PEN"]
    runner_at(place, LoudJournal()).catch_up()
    assert journal(place.views) == ["PEN", "INK"]


@pytest.mark.parametrize("changed", CHANGED, ids=IDS)
def test_a_page_that_an_old_runner_has_read_is_not_written_after_a_rebuild(place: Place, changed: Projector) -> None:
    add(place.store, *numbered(range(10)))
    watched = WatchedStore(place.store)
    old = ProjectionRunner(watched, [Journal(), Totals()], views=place.views)
    old.catch_up()
    add(place.store, "last")
    watched.after("read_all", runner_at(place, changed).rebuild)

    with pytest.raises(CheckpointError, match="rebuild the view"):
        old.catch_up()

    assert journal(place.views) == upper([*numbered(range(10)), "last"])
    assert totals(place.views) == dict.fromkeys([*numbered(range(10)), "last"], 1)


def test_an_old_run_ends_when_a_newer_version_has_rebuilt_its_view(place: Place) -> None:
    add(place.store, "pen")
    old = runner_at(place, Journal())

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(old.run)
        old.wait_for(1, 20)
        runner_at(place, LoudJournal()).rebuild()
        add(place.store, "ink")

        with pytest.raises(CheckpointError, match="this is version 1"):
            done.result(20)

    assert journal(place.views) in (["PEN"], ["PEN", "INK"])


def interrupt(_: str) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("changed", CHANGED, ids=IDS)
def test_a_rebuild_does_not_go_on_with_what_another_version_has_begun(place: Place, changed: Projector) -> None:
    add(place.store, *numbered(range(1100)))
    last = "sku 1050"
    with pytest.raises(KeyboardInterrupt):
        runner_at(place, Journal(lambda sku: interrupt(sku) if sku == last else None)).rebuild()
    assert place.views.query("SELECT count(*) FROM journal__rebuild") == [(1000,)]

    runner_at(place, changed).rebuild(resume=True)

    assert journal(place.views) == upper(numbered(range(1100)))


def test_an_old_rebuild_adds_nothing_to_what_a_newer_one_has_begun(place: Place) -> None:
    add(place.store, *numbered(range(1500)))
    watched = WatchedStore(place.store)
    old = ProjectionRunner(watched, [Journal()], views=place.views)
    last = "sku 1200"

    def begin_newer() -> None:
        with pytest.raises(KeyboardInterrupt):
            runner_at(place, LoudJournal(lambda sku: interrupt(sku) if sku == last else None)).rebuild()

    watched.after("read_all", begin_newer)
    with pytest.raises(CheckpointError, match="this is version 1"):
        old.rebuild()

    runner_at(place, LoudJournal()).rebuild(resume=True)
    assert journal(place.views) == upper(numbered(range(1500)))


# Inline.


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_store_cannot_be_opened_with_an_inline_view_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with SQLiteEventStore(path, durability="normal", inline=[Journal()]) as store:
        add(store, "pen")

    with pytest.raises(CheckpointError, match="made by version 1 of it, and this is version 2"):
        SQLiteEventStore(path, durability="normal", inline=[LoudJournal()])

    with SQLiteEventStore(path, durability="normal") as store:
        ProjectionRunner(store, [LoudJournal()]).rebuild()
    with SQLiteEventStore(path, durability="normal", inline=[LoudJournal()]) as store:
        add(store, "ink")
        assert journal(store) == ["PEN", "INK"]


def test_an_append_with_an_inline_view_that_a_newer_version_has_rebuilt_is_refused(kind: str, tmp_path: Path) -> None:
    with open_store(kind, tmp_path, inline=[Journal()]) as store:
        add(store, "pen")
        ProjectionRunner(store, [LoudJournal()]).rebuild()

        with pytest.raises(CheckpointError, match="this is version 1"):
            add(store, "ink")

        assert store.head() == 1
        assert journal(store) == ["PEN"]


# Checkpoints of an earlier release.

EARLIER = """
    CREATE TABLE earlier (
        projector TEXT PRIMARY KEY, tables TEXT NOT NULL, store TEXT NOT NULL, position BIGINT, stream TEXT,
        event_id TEXT
    )
"""


def make_earlier(views: ViewStore) -> None:
    """Give the checkpoints the columns that they had in the first release."""
    with views.view_transaction() as tx:
        tx.execute(EARLIER)
        tx.execute(
            "INSERT INTO earlier SELECT projector, tables, store, position, stream, event_id FROM esbank_checkpoints"
        )
        tx.execute("DROP TABLE esbank_checkpoints")
        tx.execute("ALTER TABLE earlier RENAME TO esbank_checkpoints")
        tx.execute("DROP TABLE esbank_skipped_events")


@pytest.fixture
def earlier(place: Place) -> Place:
    """Make a place that an earlier release has written."""
    add(place.store, "pen", "ink")
    runner_at(place, Journal(), Totals()).catch_up()
    make_earlier(place.views)
    return place


def test_views_of_an_earlier_release_are_kept_and_go_on(earlier: Place) -> None:
    seen: list[str] = []
    runner = runner_at(earlier, Journal(seen.append), Totals())
    assert [(status.state, status.position) for status in runner.status()] == [(ProjectorState.CURRENT, 2)] * 2

    add(earlier.store, "cup")
    runner.catch_up()

    assert seen == ["cup"]
    assert journal(earlier.views) == ["pen", "ink", "cup"]
    assert totals(earlier.views) == {"pen": 1, "ink": 1, "cup": 1}


@pytest.mark.parametrize("do", ["catch_up", "rebuild", "resume", "status"])
def test_whatever_is_done_first_the_views_of_an_earlier_release_are_kept(earlier: Place, do: str) -> None:
    getattr(runner_at(earlier, Journal()), do)()

    assert journal(earlier.views) == ["pen", "ink"]
    assert runner_at(earlier, Journal(), Totals()).status()[1].state is ProjectorState.CURRENT


def test_a_view_of_an_earlier_release_was_made_by_the_first_version(earlier: Place) -> None:
    runner = runner_at(earlier, LoudJournal())

    with pytest.raises(CheckpointError, match="made by version 1 of it, and this is version 2"):
        runner.catch_up()

    runner.rebuild()
    assert journal(earlier.views) == ["PEN", "INK"]


def test_once_it_has_moved_a_view_of_an_earlier_release_knows_its_tables(earlier: Place) -> None:
    add(earlier.store, "cup")
    runner_at(earlier, Journal()).catch_up()

    assert runner_at(earlier, WideJournal()).status()[0].state is ProjectorState.OUTDATED


def test_a_store_of_an_earlier_release_can_be_opened_with_its_view_inline(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with SQLiteEventStore(path, durability="normal") as store:
        add(store, "pen")
        ProjectionRunner(store, [Journal()]).catch_up()
        make_earlier(store)

    with SQLiteEventStore(path, durability="normal", inline=[Journal()]) as store:
        add(store, "ink")
        assert journal(store) == ["pen", "ink"]


def test_nobody_is_told_of_what_an_earlier_release_has_seen(earlier: Place) -> None:
    told: list[str] = []

    class TellingJournal(Journal):
        name = "Journal"

        @side_effects(Added)
        def _tell(self, envelope: EventEnvelope[Added]) -> None:
            told.append(envelope.event.sku)

    runner = runner_at(earlier, TellingJournal())
    runner.catch_up()
    add(earlier.store, "cup")
    runner.catch_up()

    assert told == ["cup"]


# What is in a view is followed for ever, unless the projector says that it is another version.


@frozen
class Noted:
    text: str


class Lines(Projector):
    tables: ClassVar[Mapping[str, str]] = {"lines": "(line TEXT NOT NULL)"}

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {lines} VALUES (:line)", {"line": envelope.event.sku})


class LinesAndNotes(Lines):
    name = "Lines"

    @projects(Noted)
    def _noted(self, envelope: EventEnvelope[Noted], tx: Transaction) -> None:
        tx.execute("INSERT INTO {lines} VALUES (:line)", {"line": envelope.event.text})


class LinesWithoutNotes(Lines):
    name = "Lines"
    version: ClassVar[int] = 2


def note(place: Place, text: str) -> None:
    event = EventCodec(EventRegistry(Noted)).encode(Noted(text))
    place.store.append(StreamId("Notes", "1"), [event], expected_version=ANY_VERSION)


def lines(place: Place) -> list[str]:
    return [line for (line,) in place.views.query(f"SELECT line FROM lines ORDER BY {as_written(place.views)}")]  # noqa: S608


def test_a_projector_that_no_longer_follows_what_is_in_its_view_stays_where_it_is(place: Place) -> None:
    add(place.store, "pen")
    note(place, "hello")
    runner_at(place, LinesAndNotes()).catch_up()
    add(place.store, "ink")
    fewer = runner_at(place, Lines())

    with pytest.raises(CheckpointError, match="its view has events stored as Noted, which it follows no longer"):
        fewer.catch_up()
    with pytest.raises(CheckpointError, match="raise its version and rebuild the view"):
        fewer.rebuild()
    (status,) = fewer.status()
    assert status.state is ProjectorState.OUTDATED
    assert lines(place) == ["pen", "hello"]

    runner_at(place, LinesWithoutNotes()).rebuild()
    assert lines(place) == ["pen", "ink"]


def test_a_projector_may_follow_more_than_is_in_its_view(place: Place) -> None:
    add(place.store, "pen")
    runner_at(place, Lines()).catch_up()
    note(place, "hello")

    runner_at(place, LinesAndNotes()).catch_up()

    assert lines(place) == ["pen", "hello"]
    with pytest.raises(CheckpointError, match="Noted"):
        runner_at(place, Lines()).catch_up()


def test_a_projector_need_not_follow_what_never_came(place: Place) -> None:
    add(place.store, "pen")
    runner_at(place, LinesAndNotes()).catch_up()
    add(place.store, "ink")

    runner_at(place, Lines()).catch_up()

    assert lines(place) == ["pen", "ink"]


def test_an_inline_view_is_not_opened_by_a_projector_that_follows_less(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "events.db", inline=[LinesAndNotes()]) as store:
        note(Place(store, store), "hello")

    with pytest.raises(CheckpointError, match="which it follows no longer"):
        SQLiteEventStore(tmp_path / "events.db", inline=[Lines()])
