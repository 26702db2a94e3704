"""The service as people run it: in one process or several, of which any may be killed, until it is told to stop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest
from bank_api_service import ServiceProcess, is_alive, service

from esbank.testing.postgres import PostgresServer
from examples.bank_api.application import Settings
from examples.bank_api.server import listen
from examples.bank_api.workers import serve_in_processes

JSON = {"Content-Type": "application/json"}
PATIENCE = 60.0


def deposit(client: httpx.Client, key: str) -> httpx.Response:
    """Send a command until there is an answer, with the same key each time, as every client should."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = client.post(
                "/accounts/acc-1",
                content='{"type": "Deposit", "amount": 1}',
                headers={**JSON, "Idempotency-Key": key},
            )
        except httpx.TransportError:
            assert time.monotonic() < deadline
            continue
        return answer


def open_account(client: httpx.Client) -> None:
    answer = client.post("/accounts/acc-1", content='{"type": "OpenAccount", "owner": "Ada"}', headers=JSON)
    assert answer.status_code == 201


def wait_for_workers(started: ServiceProcess, count: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while len(workers := started.workers()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return workers


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, count: int, number: signal.Signals) -> None:
    with service(str(tmp_path / "bank.db"), "--workers", str(count)) as started:
        started.wait_for("Application startup complete", count)
        with httpx.Client(base_url=started.url, timeout=PATIENCE) as client:
            open_account(client)
            with client.stream("GET", "/accounts/acc-1/events/stream") as stream:
                lines = stream.iter_lines()
                while not next(lines).startswith("data:"):
                    pass
                started.process.send_signal(number)
                assert [line for line in lines if line] == []  # the stream ends, and does not break off
        workers = started.workers()
        assert started.process.wait(PATIENCE) in {0, -number}
        assert not any(is_alive(pid) for pid in workers)
        assert "Traceback" not in started.said, started.said


def test_who_is_killed_gets_a_successor_and_nobody_loses_anything(bank_api_store: str) -> None:
    with service(bank_api_store, "--workers", "2") as started, httpx.Client(timeout=PATIENCE) as client:
        client.base_url = httpx.URL(started.url)
        started.wait_for("Application startup complete", 2)
        open_account(client)
        for number in range(6):
            if number % 2:
                os.kill(wait_for_workers(started, 2)[number % 4 // 2], signal.SIGKILL)
            answer = deposit(client, f"key-{number}")
            assert (answer.status_code, answer.json()["version"]) == (200, number + 2)
        # The views are kept by one process at a time; when that one is gone, by another.
        row = client.get(f"/accounts?at_least={answer.json()['position']}").json()["accounts"][0]
        assert row["balance"] == "6.00"
        started.wait_for("another takes its place", 3)
        assert started.stop() == 0


def test_none_outlives_the_one_that_started_them(tmp_path: Path) -> None:
    with service(str(tmp_path / "bank.db"), "--workers", "2") as started:
        started.wait_for("Application startup complete", 2)
        workers = started.workers()
        started.process.kill()
        deadline = time.monotonic() + PATIENCE
        while any(is_alive(pid) for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_store_that_cannot_be_used_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to look like something")
    with service(str(tmp_path / "text.db"), "--workers", "2") as started:
        assert started.process.wait(PATIENCE) == 1
        started.close()
        assert started.said.count("\n") == 1
        assert "StorageError" in started.said
    with service("mysql://host/database") as started:
        assert started.process.wait(PATIENCE) == 1
        started.close()
        assert "names no store" in started.said


@pytest.mark.parametrize("arguments", [("--workers", "0"), ("--port", "99999")])
def test_an_argument_that_makes_no_sense_is_said(tmp_path: Path, arguments: tuple[str, str]) -> None:
    with service(str(tmp_path / "bank.db"), *arguments) as started:
        assert started.process.wait(PATIENCE) in {1, 2}
        started.close()
        assert "Traceback" not in started.said


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with service(str(tmp_path / "bank.db")) as started:
        port = started.url.rpartition(":")[2]
        with service(str(tmp_path / "bank.db"), "--port", port) as another:
            assert another.process.wait(PATIENCE) == 1
            another.close()
            assert "Address already in use" in another.said


def test_while_the_store_is_gone_one_is_asked_to_come_again() -> None:
    with PostgresServer() as database, service(database.dsn) as started, httpx.Client(timeout=PATIENCE) as client:
        client.base_url = httpx.URL(started.url)
        open_account(client)
        with client.stream("GET", "/accounts/acc-1/events/stream") as stream:
            lines = stream.iter_lines()
            while not next(lines).startswith("data:"):
                pass
            database.kill()
            while "cannot be reached" not in next(lines):  # it waits: a browser would take an error for the last word
                pass
            answer = deposit(client, "one")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.json()["type"] in {"urn:esbank:storage-error", "urn:esbank:unknown-outcome"}
            assert client.get("/health").status_code == 503

            database.start()
            deadline = time.monotonic() + PATIENCE
            while (answer := deposit(client, "one")).status_code == 503:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert (answer.status_code, answer.json()["version"]) == (200, 2)
            while not (line := next(lines)).startswith("data:"):
                pass
            assert '"version":2' in line
        path = f"/accounts?at_least={answer.json()['position']}"
        while (answer := client.get(path)).status_code == 503:  # the views are kept again, too
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.json()["accounts"][0]["balance"] == "1.00"


def test_processes_of_which_none_can_start_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of this process stay as they are
    with listen("127.0.0.1", 0) as listening, pytest.raises(SystemExit) as ended:
        serve_in_processes(Settings(str(tmp_path / "no such folder" / "bank.db")), listening, 2)

    assert ended.value.code == 3
