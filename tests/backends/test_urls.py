"""A text names a store, whichever kind it is."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from esbank import StorageError
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.backends.urls import Store, open_store
from esbank.store import NewEvent, StreamId

TILL = StreamId("Till", "1")


def sell(store: Store) -> None:
    store.append(TILL, [NewEvent("Sold", "{}")], expected_version=0)


@pytest.mark.parametrize("where", ["{folder}/a till.db", "sqlite:///{folder}/a%20till.db"])
def test_a_path_and_a_url_name_a_file(tmp_path: Path, where: str) -> None:
    with open_store(where.format(folder=tmp_path)) as store:
        sell(store)

    with SQLiteEventStore(tmp_path / "a till.db", create=False) as file:
        assert file.version(TILL) == 1


def test_a_url_without_another_slash_names_a_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with open_store("sqlite:///till.db") as store:
        sell(store)

    assert (tmp_path / "till.db").exists()


def test_a_url_names_a_database_and_a_schema_in_it(server_dsn: str) -> None:
    schema = f"till {uuid4().hex}"

    with open_store(f"{server_dsn}&esbank_schema={schema.replace(' ', '%20')}&application_name=till") as store:
        sell(store)
        assert store.query("SELECT current_setting('application_name')") == [("till",)]

    with PostgresEventStore(server_dsn, schema=schema, create=False) as database:
        assert database.version(TILL) == 1


@pytest.mark.parametrize("where", ["{folder}/till.db", "{server}&esbank_schema=not_there"])
def test_a_store_that_is_not_there_is_not_made_unless_it_should_be(tmp_path: Path, server_dsn: str, where: str) -> None:
    with pytest.raises(StorageError, match="there is no"):
        open_store(where.format(folder=tmp_path, server=server_dsn), create=False)

    assert list(tmp_path.iterdir()) == []


def test_a_store_is_made_with_digests_unless_it_should_have_none(tmp_path: Path) -> None:
    for digests in (True, False):
        with open_store(str(tmp_path / f"{digests}.db"), digests=digests) as store:
            sell(store)
            (event,) = store.read(TILL)
            assert (event.digest is not None) == digests


def test_a_server_that_does_not_answer_is_not_waited_for_longer_than_is_said() -> None:
    with pytest.raises(StorageError, match="reached"):
        open_store("postgresql://127.0.0.1:1/till", connect_timeout=1)


@pytest.mark.parametrize(
    "where",
    [
        "mysql://host/till",
        "sqlite://till.db",
        "sqlite:till.db",
        "sqlite:///till.db?mode=ro",
        "file:till.db?mode=ro",
        "postgresql:till",
        "postgresql+psycopg://ann:secret@host/till",
        "host=localhost dbname=till password=secret",
    ],
)
def test_a_text_that_names_no_store_is_refused(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match="give the path of a SQLite file, or a URL such as sqlite:"):
        open_store(where)

    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_is_not_shown_whole_because_it_may_hold_a_password() -> None:
    with pytest.raises(ValueError, match="names no store") as refused:
        open_store("postgresql+psycopg://ann:secret@host/till")

    assert "secret" not in str(refused.value)


def test_a_path_may_have_what_a_url_might(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for path in ("a=b.db", "what is it?.db", "./till:2.db"):
        with open_store(path) as store:
            sell(store)

    assert len(list(tmp_path.iterdir())) == 3
