"""What happens seldom: a command that is overtaken for ever, a process that keeps the views no more, damaged events."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx
import pytest
from typing_extensions import override

from esbank import CheckpointError, Metadata, ProjectionRunner
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank, BankAccount, Deposit
from esbank.store import AppendResult, ExpectedVersion, NewEvent, StreamId
from examples.bank_api.application import Settings
from examples.bank_api.server import listen, serving
from examples.bank_api.service import Busy, Service, ViewBehind


class OvertakenStore(MemoryEventStore):
    """A store in which somebody else is always faster, as on PostgreSQL, where nobody can keep others out."""

    is_overtaken = False

    @override
    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        if self.is_overtaken:
            self.is_overtaken = False
            Bank(self).deposit(stream.key, 1)
            self.is_overtaken = True
        return super().append(stream, events, expected_version=expected_version)


@pytest.mark.parametrize("if_match", [None, "*"])
def test_who_is_overtaken_for_ever_is_to_try_again_and_has_no_old_version(if_match: str | None) -> None:
    with OvertakenStore() as store, Service(store) as service:
        Bank(store).open_account("acc-1", "Ada")
        store.is_overtaken = True
        with pytest.raises(Busy):
            service.execute("acc-1", Deposit(1000), metadata=Metadata(), command_id=None, if_match=if_match)
        assert service.account("acc-1").state.balance < 1000


def test_when_one_keeps_the_views_no_more_another_does(tmp_path: Path) -> None:
    def balance(service: Service, position: int | None) -> Decimal:
        (row,) = service.list_accounts(after="", limit=10, at_least=position or 0)
        return row.balance

    with SQLiteEventStore(tmp_path / "bank.db") as store, ExitStack() as first:
        bank = Bank(store)
        keeping = first.enter_context(Service(store))
        assert balance(keeping, bank.open_account("acc-1", "Ada").position) == 0
        with SQLiteEventStore(tmp_path / "bank.db") as another, Service(another) as standing_by:
            assert balance(standing_by, bank.deposit("acc-1", 5).position) == 5
            first.close()
            assert balance(standing_by, bank.deposit("acc-1", 5).position) == 10


def test_a_list_waits_for_its_own_view_and_for_no_other(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "bank.db") as store, Service(store) as service:
        Bank(store).open_account("acc-1", "Ada")
        with store.view_transaction() as tx:
            tx.execute("ALTER TABLE transaction_history RENAME TO lost")
        position = Bank(store).deposit("acc-1", 5).position or 0

        (row,) = service.list_accounts(after="", limit=10, at_least=position)
        assert row.balance == 5
        with pytest.raises((CheckpointError, ViewBehind)):
            service.transactions("acc-1", after=0, limit=10, at_least=position)


def test_only_some_requests_wait_for_a_view_at_once_so_that_threads_are_left_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, is_there = threading.Semaphore(0), threading.Event()

    def wait_for(_runner: ProjectionRunner, *_args: object, **_options: object) -> None:
        waits.release()
        assert is_there.wait(60)

    monkeypatch.setattr(ProjectionRunner, "wait_for", wait_for)
    with SQLiteEventStore(tmp_path / "bank.db") as store, Service(store) as service, ThreadPoolExecutor(10) as pool:
        position = Bank(store).open_account("acc-1", "Ada").position or 0
        ask = partial(service.list_accounts, after="", limit=10, at_least=position)
        waiting = [pool.submit(ask) for _ in range(10)]
        assert all(waits.acquire(timeout=60) for _ in waiting)

        with pytest.raises(ViewBehind):
            ask()
        is_there.set()
        for one in waiting:
            one.result()
        ask()  # there is room again


def test_what_nobody_has_thought_of_is_told_to_the_log_and_not_to_the_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bank.db"
    with SQLiteEventStore(path) as store:
        Bank(store).open_account("acc-1", "Ada")
    with closing(sqlite3.connect(path)) as database:  # somebody takes the safeguards out, and damages an event
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("""UPDATE esbank_events SET data = '{"secret": "hidden"}'""")
        database.commit()

    with serving(Settings(str(path))) as url:
        caplog.clear()
        answer = httpx.get(f"{url}/accounts/acc-1/events")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert answer.json()["type"] == "about:blank"
    assert not any(word in answer.text for word in ("secret", "hidden", "EventDecodingError", str(path)))
    assert any(record.exc_info and "secret" in str(record.exc_info[1]) for record in caplog.records)


def test_the_snapshots_and_the_cache_of_one_process_do_not_hide_the_writes_of_another(tmp_path: Path) -> None:
    with (
        SQLiteEventStore(tmp_path / "bank.db") as store,
        SQLiteEventStore(tmp_path / "bank.db") as another,
        Service(store) as service,
        Service(another) as beside,
    ):
        Bank(store).open_account("acc-1", "Ada")
        for count in range(1, 120):
            writer = (service, beside)[count % 2]
            writer.execute("acc-1", Deposit(Decimal(1)), metadata=Metadata(), command_id=None, if_match=f'"{count}"')
            assert [one.account("acc-1").state.balance for one in (service, beside)] == [count, count]
        assert store.load_snapshot(BankAccount.stream("acc-1")) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_does_not_wait_to_be_joined_by_another(host: str) -> None:
    try:
        listening = listen(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listening:
        assert listening.proto == socket.IPPROTO_TCP  # by which asyncio knows that it may turn Nagle's algorithm off


def test_nothing_is_logged_when_all_goes_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), serving(Settings(str(tmp_path / "bank.db"))) as url:
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        assert httpx.get(f"{url}/accounts/acc-1").status_code == 404
    assert caplog.records == []
