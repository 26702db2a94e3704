"""A stream sends each event once and in order, goes on where it was, and ends when either side goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from esbank import StoreUnavailable
from esbank.backends.sqlite import SQLiteEventStore
from esbank.backends.urls import open_store
from esbank.bank import Bank
from examples.bank_api.application import Settings
from examples.bank_api.server import serving
from examples.bank_api.service import Service


@pytest.fixture
def bank(bank_api_store: str) -> Iterator[Bank]:
    """Write to the store of the service from beside it, as another process would."""
    with open_store(bank_api_store) as store:
        yield Bank(store)


def filled(bank: Bank, account_id: str, deposits: int) -> None:
    bank.open_account(account_id, "Ada")
    for _ in range(deposits):
        bank.deposit(account_id, 1)


def messages(stream: httpx.Response) -> Iterator[dict[str, str]]:
    """Take a stream apart: a message is some fields and an empty line; a comment is a field without a name."""
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif fields:
            yield fields
            fields = {}


def events(stream: httpx.Response, count: int) -> list[dict[str, Any]]:
    """Read so many events, and check that each has the version as its id."""
    found: list[dict[str, Any]] = []
    for message in messages(stream):
        if "data" in message:
            event = json.loads(message["data"])
            assert (message["id"], message["event"]) == (str(event["version"]), event["type"])
            found.append(event)
        if len(found) == count:
            return found
    raise AssertionError(f"the stream ended after {found}")


def test_a_stream_is_the_list_of_events_and_each_new_one(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    filled(bank, account_id, 2)
    with bank_api.stream("GET", f"/accounts/{account_id}/events/stream") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["Cache-Control"] == "no-cache"
        lines = messages(stream)
        assert next(lines) == {"retry": "1000"}
        sent = [json.loads(next(lines)["data"]) for _ in range(3)]
        assert sent == bank_api.get(f"/accounts/{account_id}/events").json()["events"]

        bank.deposit(account_id, 5)  # from beside
        new = next(message for message in lines if "data" in message)
        assert (new["id"], json.loads(new["data"])["data"]["amount"]) == ("4", "5.00")
        body = '{"type": "Withdraw", "amount": 3}'  # through the service
        bank_api.post(f"/accounts/{account_id}", content=body, headers={"Content-Type": "application/json"})
        new = next(message for message in lines if "data" in message)
        assert (new["id"], new["event"]) == ("5", "Withdrawn")


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ("", {"Last-Event-ID": "2"}, 3),
        ("?after=3", {}, 4),
        ("?after=1", {"Last-Event-ID": "3"}, 4),  # as a browser asks again
        ("", {"Last-Event-ID": "0"}, 1),
    ],
)
def test_a_stream_goes_on_where_it_was(
    bank_api: httpx.Client, bank: Bank, account_id: str, query: str, headers: dict[str, str], first: int
) -> None:
    filled(bank, account_id, 4)
    with bank_api.stream("GET", f"/accounts/{account_id}/events/stream{query}", headers=headers) as stream:
        assert [event["version"] for event in events(stream, 6 - first)] == list(range(first, 6))


def test_a_stream_has_every_event_however_fast_they_come(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    filled(bank, account_id, 150)

    def write() -> None:
        for _ in range(150):
            bank.deposit(account_id, 1)

    with bank_api.stream("GET", f"/accounts/{account_id}/events/stream") as stream:
        writer = threading.Thread(target=write)
        writer.start()
        versions = [event["version"] for event in events(stream, 301)]
        writer.join()
    assert versions == list(range(1, 302))


def test_a_stream_without_events_shows_signs_of_life(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    filled(bank, account_id, 0)
    with bank_api.stream("GET", f"/accounts/{account_id}/events/stream?after=1") as stream:
        lines = messages(stream)
        assert [next(lines) for _ in range(3)] == [{"retry": "1000"}, {"": "nothing new"}, {"": "nothing new"}]


def test_there_is_no_stream_of_what_is_not_there(bank_api: httpx.Client, account_id: str) -> None:
    answer = bank_api.get(f"/accounts/{account_id}/events/stream")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:esbank:account-not-found")
    answer = bank_api.get(f"/accounts/{account_id}/events/stream", headers={"Last-Event-ID": "-1"})
    assert answer.status_code == 422


def test_more_may_listen_than_there_are_threads(bank_api_store: str, bank: Bank, account_id: str) -> None:
    filled(bank, account_id, 0)
    with (
        serving(Settings(bank_api_store, threads=2, keep_alive=3600)) as url,
        httpx.Client(base_url=url, timeout=30, limits=httpx.Limits(max_connections=None)) as client,
        ExitStack() as streams,
    ):
        path = f"/accounts/{account_id}/events/stream?after=1"
        listeners = [streams.enter_context(client.stream("GET", path)) for _ in range(50)]
        bank.deposit(account_id, 1)
        assert [events(stream, 1)[0]["version"] for stream in listeners] == [2] * 50
        assert client.get(f"/accounts/{account_id}").json()["version"] == 2


def test_a_stream_ends_when_the_service_does(
    bank_api_store: str, bank: Bank, account_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(bank, account_id, 1)
    ended = threading.Event()
    with ExitStack() as service:
        url = service.enter_context(serving(Settings(bank_api_store)))
        with httpx.Client(base_url=url, timeout=60) as client:
            with client.stream("GET", f"/accounts/{account_id}/events/stream") as stream:
                lines = messages(stream)
                assert [next(lines).get("id") for _ in range(3)] == [None, "1", "2"]
                stopper = threading.Thread(target=lambda: (service.close(), ended.set()))
                stopper.start()
                assert list(lines) == []  # a clean end: it raises when a stream breaks off
            stopper.join()
    assert ended.is_set()
    assert caplog.records == []


def test_a_service_ends_although_listeners_have_gone_without_a_word(
    bank_api_store: str, bank: Bank, account_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(bank, account_id, 1)
    with serving(Settings(bank_api_store)) as url, httpx.Client(base_url=url, timeout=60) as client:
        for _ in range(10):
            with closing(
                client.send(client.build_request("GET", f"/accounts/{account_id}/events/stream"), stream=True)
            ):
                pass
        bank.deposit(account_id, 1)
        with client.stream("GET", f"/accounts/{account_id}/events/stream?after=2") as stream:
            assert events(stream, 1)[0]["version"] == 3
    assert caplog.records == []


def test_a_stream_ends_after_its_longest_time_and_goes_on_anew(
    bank_api_store: str, bank: Bank, account_id: str
) -> None:
    filled(bank, account_id, 3)
    with serving(Settings(bank_api_store, longest_stream=0.2)) as url:
        body = httpx.get(f"{url}/accounts/{account_id}/events/stream", timeout=60).text
    assert body.count("data:") == 4


def test_a_listener_waits_for_a_store_that_goes_away_and_comes_back(
    tmp_path: Path, account_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, away = Service.events, threading.Event()

    def events_or_none(service: Service, account: str, *, after: int, limit: int) -> list[Any]:
        if away.is_set():
            raise StoreUnavailable("bank.db", "it is away")
        return read(service, account, after=after, limit=limit)

    monkeypatch.setattr(Service, "events", events_or_none)
    with (
        serving(Settings(str(tmp_path / "bank.db"))) as url,
        httpx.Client(base_url=url, timeout=10) as client,
        SQLiteEventStore(tmp_path / "bank.db") as store,
    ):
        Bank(store).open_account(account_id, "Ada")
        path = f"/accounts/{account_id}/events/stream"
        with client.stream("GET", path) as stream:
            assert events(stream, 1)[0]["version"] == 1
        with client.stream("GET", f"{path}?after=1") as stream:
            lines = messages(stream)
            assert next(lines) == {"retry": "1000"}
            away.set()
            Bank(store).deposit(account_id, 5)
            assert next(lines) == {"": "the store cannot be reached now"}
            with client.stream("GET", path, headers={"Last-Event-ID": "1"}) as again:
                assert again.status_code == 200  # a browser never asks again after anything else
            away.clear()
            assert next(message for message in lines if "data" in message)["id"] == "2"
