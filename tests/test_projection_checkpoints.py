"""A view knows which events it was made from: a store that was swapped or restored is noticed, not skipped over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from esbank import CheckpointError, ProjectionRunner
from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ViewStore
from tests.doubles import Store, open_store
from tests.journal import Journal, Totals, add, journal, totals


@pytest.fixture(params=["sqlite", "postgresql"])
def views(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path, name="views.db") as opened:
        yield opened


def runner_of(store: Store, views: ViewStore) -> ProjectionRunner:
    return ProjectionRunner(store, [Journal()], views=views)


def test_a_view_that_was_made_from_another_store_is_an_error(views: Store) -> None:
    with MemoryEventStore() as first, MemoryEventStore() as second:
        add(first, "pen")
        add(second, "ink", "cup")
        runner_of(first, views).catch_up()

        with pytest.raises(CheckpointError, match="another store") as swapped:
            runner_of(second, views).catch_up()

        assert swapped.value.projector == "Journal"
        assert journal(views) == ["pen"]


def test_a_view_that_was_made_from_another_empty_store_is_an_error_too(views: Store) -> None:
    with MemoryEventStore() as first, MemoryEventStore() as second:
        runner_of(first, views).catch_up()

        with pytest.raises(CheckpointError, match="another store"):
            runner_of(second, views).catch_up()


def test_a_rebuild_makes_the_view_from_the_store_at_hand(views: Store) -> None:
    with MemoryEventStore() as first, MemoryEventStore() as second:
        add(first, "pen")
        add(second, "ink", "cup")
        runner_of(first, views).catch_up()
        runner = runner_of(second, views)

        runner.rebuild()
        add(second, "cap")
        runner.catch_up()

        assert journal(views) == ["ink", "cup", "cap"]


def test_one_view_that_does_not_fit_leaves_the_others_alone(views: Store) -> None:
    with MemoryEventStore() as first, MemoryEventStore() as second:
        add(second, "ink")
        runner_of(first, views).catch_up()

        with pytest.raises(CheckpointError):
            ProjectionRunner(second, [Journal(), Totals()], views=views).catch_up()

        assert totals(views) == {"ink": 1}


# A file that was restored from a backup.


@pytest.fixture
def restored(tmp_path: Path, views: Store) -> Iterator[SQLiteEventStore]:
    """Open a store that was restored from a backup with one event, after the view had seen three."""
    path, backup = tmp_path / "events.db", tmp_path / "backup.db"
    with SQLiteEventStore(path) as store:
        add(store, "pen")
    shutil.copy(path, backup)
    with SQLiteEventStore(path) as store:
        add(store, "ink", "cup")
        runner_of(store, views).catch_up()
    shutil.copy(backup, path)
    with SQLiteEventStore(path) as store:
        yield store


def test_a_store_that_was_restored_to_before_the_view_is_noticed(restored: SQLiteEventStore, views: Store) -> None:
    with pytest.raises(CheckpointError, match="restored from a backup"):
        runner_of(restored, views).catch_up()


def test_a_store_that_was_restored_is_noticed_also_when_it_has_grown_again(
    restored: SQLiteEventStore, views: Store
) -> None:
    add(restored, "other", "others", "more")

    with pytest.raises(CheckpointError, match="restored from a backup"):
        runner_of(restored, views).catch_up()

    assert journal(views) == ["pen", "ink", "cup"]


def test_a_rebuild_mends_the_view_of_a_restored_store(restored: SQLiteEventStore, views: Store) -> None:
    add(restored, "other")
    runner = runner_of(restored, views)

    runner.rebuild()
    add(restored, "more")
    runner.catch_up()

    assert journal(views) == ["pen", "other", "more"]


def test_a_store_that_was_restored_with_its_views_in_it_just_goes_on(tmp_path: Path) -> None:
    path, backup = tmp_path / "events.db", tmp_path / "backup.db"
    with SQLiteEventStore(path) as store:
        add(store, "pen")
        runner_of(store, store).catch_up()
    shutil.copy(path, backup)
    with SQLiteEventStore(path) as store:
        add(store, "ink", "cup")
        runner_of(store, store).catch_up()
    shutil.copy(backup, path)

    with SQLiteEventStore(path) as store:
        add(store, "other")
        runner_of(store, store).catch_up()

        assert journal(store) == ["pen", "other"]


def test_views_that_were_restored_to_an_older_copy_catch_up(tmp_path: Path) -> None:
    path, backup = tmp_path / "views.db", tmp_path / "backup.db"
    with MemoryEventStore() as store:
        add(store, "pen")
        with SQLiteEventStore(path) as views:
            runner_of(store, views).catch_up()
        shutil.copy(path, backup)
        add(store, "ink")
        with SQLiteEventStore(path) as views:
            runner_of(store, views).catch_up()
        shutil.copy(backup, path)

        with SQLiteEventStore(path) as views:
            runner_of(store, views).catch_up()

            assert journal(views) == ["pen", "ink"]


def test_a_view_that_was_dropped_by_hand_with_its_checkpoint_is_made_again(views: Store) -> None:
    with MemoryEventStore() as store:
        add(store, "pen")
        runner = runner_of(store, views)
        runner.catch_up()
        with views.view_transaction() as tx:
            tx.execute("DROP TABLE journal")
            tx.execute("DELETE FROM esbank_checkpoints")

        runner.catch_up()

        assert journal(views) == ["pen"]


# A database that was restored from a backup, or swapped.


@contextmanager
def copy_of(dsn: str) -> Iterator[str]:
    """Copy a database that nobody uses, on its server."""
    original, copy = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"], f"test_{uuid4().hex}"
    server = psycopg.conninfo.make_conninfo(dsn, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {copy} TEMPLATE {original}")
        yield psycopg.conninfo.make_conninfo(dsn, dbname=copy)
        connection.execute(f"DROP DATABASE {copy} WITH (FORCE)")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_that_was_restored_or_swapped_is_noticed(dsn: str, tmp_path: Path, kind: str) -> None:
    with PostgresEventStore(dsn) as store:
        add(store, "pen")
    with copy_of(dsn) as backup, open_store(kind, tmp_path, name="views.db") as views:
        with PostgresEventStore(dsn) as store:
            add(store, "ink", "cup")
            runner_of(store, views).catch_up()
        with PostgresEventStore(dsn, schema="other") as other:
            add(other, "hat", "cap", "fan")
            with pytest.raises(CheckpointError, match="another store"):
                runner_of(other, views).catch_up()
        with PostgresEventStore(backup) as restored:
            for sku in ("other", "others", "more"):
                with pytest.raises(CheckpointError, match="restored from a backup"):
                    runner_of(restored, views).catch_up()
                add(restored, sku)
            assert journal(views) == ["pen", "ink", "cup"]

            runner_of(restored, views).rebuild()

            assert journal(views) == ["pen", "other", "others", "more"]
