"""A PostgreSQL server for tests: it comes and goes as it is told to, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from esbank.testing.postgres import PostgresServer

NOBODY = 65534


def folder_of(server: PostgresServer) -> Path:
    return Path(str(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"]))


def processes_in(folder: Path) -> list[int]:
    """List the processes that were started with this folder."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(int(entry.name))
    return found


def rows(server: PostgresServer, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def lasting_server() -> Iterator[PostgresServer]:
    with PostgresServer(settings={"max_connections": "33"}) as server:
        yield server


@pytest.fixture
def server(lasting_server: PostgresServer) -> PostgresServer:
    lasting_server.start()
    return lasting_server


def test_a_server_takes_connections_with_its_settings(server: PostgresServer) -> None:
    assert server.is_running
    assert rows(server, "SHOW max_connections") == [("33",)]
    assert rows(server, "SHOW server_encoding") == [("UTF8",)]
    assert rows(server, "SHOW listen_addresses") == [("",)]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_is_started_again_has_what_it_had(server: PostgresServer, end: str) -> None:
    dsn = server.dsn
    rows(server, f"CREATE TABLE {end} AS SELECT 7 AS number")

    for _ in range(2):
        getattr(server, end)()
        assert not server.is_running
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn)
        server.start()
        assert server.is_running

    assert server.dsn == dsn
    assert rows(server, f"SELECT number FROM {end}") == [(7,)]  # noqa: S608  # one of two names


def test_to_start_a_server_that_runs_changes_nothing(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn) as connection:
        server.start()

        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_stops_without_waiting_for_its_clients(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("SELECT 1")
        server.stop()

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_a_server_that_is_not_running_may_be_stopped_and_killed(server: PostgresServer) -> None:
    server.stop()
    server.stop()
    server.kill()

    assert not server.is_running


def test_a_server_that_somebody_else_has_ended_may_be_started_again(server: PostgresServer) -> None:
    pid = int((folder_of(server) / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    while server.is_running:
        pass

    server.start()

    assert rows(server, "SELECT 1") == [(1,)]


def test_a_server_names_its_other_databases(server: PostgresServer) -> None:
    rows(server, "CREATE DATABASE other")

    with psycopg.connect(server.dsn_of("other")) as connection:
        assert connection.info.dbname == "other"


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this system does not show its processes")
def test_a_server_that_is_closed_leaves_nothing() -> None:
    with PostgresServer() as server:
        folder = folder_of(server)
        assert folder.is_dir()
        assert processes_in(folder)
    server.close()

    assert not folder.exists()
    assert processes_in(folder) == []
    assert not server.is_running


def test_servers_do_not_know_of_each_other(server: PostgresServer) -> None:
    with PostgresServer() as other:
        assert other.dsn != server.dsn
        assert rows(other, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") == [(1,)]


@pytest.mark.parametrize("settings", [{"no_such_setting": "1"}, {"max_connections": "many"}], ids=["name", "value"])
def test_a_server_that_does_not_start_says_why_and_leaves_nothing(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", folder)

        with pytest.raises(RuntimeError, match=f"PostgreSQL does not start: .*{next(iter(settings))}"):
            PostgresServer(settings=settings)

        assert list(Path(folder).iterdir()) == []


def test_binaries_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises((RuntimeError, OSError), match="initdb"):
        PostgresServer(binaries=tmp_path)


PROGRAM = """
    import os, sys, psycopg
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid({nobody}, {nobody}, {nobody})
        os.setresuid({nobody}, {nobody}, {nobody})
    from esbank.testing.postgres import PostgresServer
    with PostgresServer() as server:
        server.kill()
        server.start()
        with psycopg.connect(server.dsn) as connection:
            print(os.getuid(), connection.execute("SELECT 1").fetchone())
"""


def test_a_server_runs_for_whoever_is_not_root() -> None:
    program = textwrap.dedent(PROGRAM.format(nobody=NOBODY))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        environment = {**os.environ, "TMPDIR": folder, "HOME": folder}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    if "PermissionError" in done.stderr or "ModuleNotFoundError" in done.stderr or "encodings" in done.stderr:
        pytest.skip(f"another user cannot read this Python: {done.stderr.splitlines()[-1]}")

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{os.getuid() or NOBODY} (1,)\n"
