"""What the service tells: an account as it is and as it was, its events, and lists that have seen what one has done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from esbank import Metadata
from esbank.backends.urls import open_store
from esbank.bank import Bank

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def bank(bank_api_store: str) -> Iterator[Bank]:
    """Write to the store of the service from beside it, as another process would."""
    with open_store(bank_api_store) as store:
        yield Bank(store)


def test_an_account_is_as_it_was_at_a_version(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    bank.open_account(account_id, "Ada", initial_balance=1)
    bank.deposit(account_id, 1)
    bank.deposit(account_id, 1)

    balances = [bank_api.get(f"/accounts/{account_id}?version={number}").json()["balance"] for number in range(4)]
    assert balances == ["3.00", "1.00", "2.00", "3.00"]
    answer = bank_api.get(f"/accounts/{account_id}?version=4")
    assert (answer.status_code, answer.json()["type"], answer.json()["version"]) == (
        404,
        "urn:esbank:version-not-found",
        3,
    )


def test_what_one_believed_is_not_what_was_true(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    bank.open_account(account_id, "Ada", metadata=Metadata(occurred_at=NOON))
    bank.deposit(account_id, 1, metadata=Metadata(occurred_at=NOON + 2 * HOUR))
    time.sleep(0.01)
    believed = datetime.now(UTC)
    time.sleep(0.01)
    bank.deposit(account_id, 5, metadata=Metadata(occurred_at=NOON + HOUR))  # booked late

    def balance(**moment: datetime) -> tuple[str, int]:
        answer = bank_api.get(
            f"/accounts/{account_id}", params={name: value.isoformat() for name, value in moment.items()}
        )
        assert "ETag" not in answer.headers
        return answer.json()["balance"], answer.json()["version"]

    assert balance(recorded_until=believed) == ("1.00", 2)
    assert balance(occurred_until=NOON + HOUR) == ("5.00", 3)
    assert balance(occurred_until=NOON + 2 * HOUR, recorded_until=believed) == ("1.00", 2)
    answer = bank_api.get(f"/accounts/{account_id}", params={"occurred_until": (NOON - HOUR).isoformat()})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "moment",
    [
        *("noon", "0", "1e9", "null", "", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00 01:00"),
        *("2026-02-30T12:00:00Z", "2026-03-01T24:00:00Z", "0000-01-01T00:00:00Z", "2026-03-01T12:00:00+99:00"),
    ],
)
@pytest.mark.parametrize("name", ["recorded_until", "occurred_until"])
def test_what_is_no_moment_is_refused(bank_api: httpx.Client, account_id: str, name: str, moment: str) -> None:
    answer = bank_api.get(f"/accounts/{account_id}", params={name: moment})
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999-14:00"])
@pytest.mark.parametrize("name", ["recorded_until", "occurred_until"])
def test_a_moment_may_be_as_far_away_as_can_be(
    bank_api: httpx.Client, bank: Bank, account_id: str, name: str, moment: str
) -> None:
    bank.open_account(account_id, "Ada")
    answer = bank_api.get(f"/accounts/{account_id}", params={name: moment})
    assert answer.status_code == (404 if moment.startswith("0001") else 200)


def test_events_come_in_pages_that_lead_to_each_other(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    bank.open_account(account_id, "Ada")
    for _ in range(4):
        bank.deposit(account_id, 1)

    page = bank_api.get(f"/accounts/{account_id}/events?limit=2").json()
    versions = [[event["version"] for event in page["events"]]]
    while page["next"] is not None:
        page = bank_api.get(page["next"]).json()
        versions.append([event["version"] for event in page["events"]])
    assert versions == [[1, 2], [3, 4], [5]]
    assert bank_api.get(f"/accounts/{account_id}/events?after=5").json() == {"events": [], "next": None}
    assert bank_api.get(f"/accounts/{account_id}-2/events").status_code == 404


def test_an_event_tells_all_that_is_known(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    metadata = Metadata(correlation_id="complaint-12", actor="teller-7", occurred_at=NOON)
    bank.open_account(account_id, "Ada", initial_balance=5, metadata=metadata)
    wrong = bank.deposit(account_id, 7).envelopes[0]
    bank.correct(account_id, 2, 6, "misread")

    opened, deposited, corrected = bank_api.get(f"/accounts/{account_id}/events").json()["events"]
    assert {
        name: opened[name] for name in ("version", "type", "occurred_at", "actor", "correlation_id", "command_id")
    } == {
        "version": 1,
        "type": "AccountOpened",
        "occurred_at": "2026-03-01T12:00:00Z",
        "actor": "teller-7",
        "correlation_id": "complaint-12",
        "command_id": None,
    }
    assert opened["data"] == {
        "owner": "Ada",
        "currency": "EUR",
        "initial_balance": "5.00",
        "overdraft_limit": "0.00",
    }
    assert UUID(deposited["id"]) == wrong.event_id
    assert deposited["position"] == wrong.position
    assert datetime.fromisoformat(deposited["recorded_at"]) == wrong.recorded_at
    assert corrected["data"]["corrected_event_id"] == deposited["id"]


def test_lists_have_seen_what_one_has_done(bank_api: httpx.Client, account_id: str) -> None:
    headers = {"Content-Type": "application/json"}
    opening = '{"type": "OpenAccount", "owner": "Ada", "initial_balance": 1}'
    bank_api.post(f"/accounts/{account_id}", content=opening, headers=headers)
    for amount in range(1, 30):
        deposit = f'{{"type": "Deposit", "amount": {amount}, "by": "ada"}}'
        done = bank_api.post(f"/accounts/{account_id}", content=deposit, headers={**headers, "X-Actor": "ada"}).json()

        page = bank_api.get(f"/accounts/{account_id}/transactions?at_least={done['position']}").json()
        assert page["next"] is None
        assert page["transactions"][-1]["balance_after"] == done["balance"]
        assert len(page["transactions"]) == done["version"]
    newest = page["transactions"][-1]
    assert [newest[name] for name in ("kind", "amount", "by", "actor", "corrects")] == [
        *("deposit", "29.00", "ada", "ada", None)
    ]


def test_lists_come_in_pages_that_lead_to_each_other(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    ids = [f"{account_id}.{number}" for number in range(5)]
    for one in ids:
        position = bank.open_account(one, "Ada", initial_balance=1).position
    for _ in range(4):
        position = bank.deposit(ids[0], 1).position

    found: list[str] = []
    page = bank_api.get(f"/accounts?limit=2&at_least={position}").json()
    found += [account["id"] for account in page["accounts"]]
    while page["next"] is not None:
        page = bank_api.get(page["next"]).json()
        found += [account["id"] for account in page["accounts"]]
    assert [one for one in found if one.startswith(account_id)] == ids
    assert len(set(found)) == len(found)

    page = bank_api.get(f"/accounts/{ids[0]}/transactions?limit=3").json()
    assert [row["version"] for row in page["transactions"]] == [1, 2, 3]
    page = bank_api.get(page["next"]).json()
    assert ([row["version"] for row in page["transactions"]], page["next"]) == ([4, 5], None)
    assert bank_api.get(f"/accounts/{account_id}/transactions").status_code == 404


def test_pages_lead_over_ids_that_another_program_has_given(
    bank_api: httpx.Client, bank: Bank, account_id: str
) -> None:
    ids = [f"{account_id} a&b=c", f"{account_id} é/%?#"]
    for one in ids:
        position = bank.open_account(one, "Ada").position

    link, listed = f"/accounts?limit=1&at_least={position}", list[str]()
    while link is not None:
        page = bank_api.get(link).json()
        listed += [account["id"] for account in page["accounts"]]
        link = page["next"]

    assert set(ids) <= set(listed)
    assert len(listed) == len(set(listed))


def test_nobody_waits_for_what_has_not_happened(bank_api: httpx.Client) -> None:
    answer = bank_api.get(f"/accounts?at_least={2**53 - 1}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:esbank:no-such-position")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "after=-1", "after=9007199254740992", "after=1.5", "after=", "at_least=-1"],
)
def test_a_number_that_makes_no_sense_is_refused(bank_api: httpx.Client, account_id: str, query: str) -> None:
    answer = bank_api.get(f"/accounts/{account_id}/transactions?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:esbank:invalid-parameter")


def test_health_tells_where_the_views_are(bank_api: httpx.Client, bank: Bank, account_id: str) -> None:
    position = bank.open_account(account_id, "Ada").position
    bank_api.get(f"/accounts?at_least={position}")
    bank_api.get(f"/accounts/{account_id}/transactions?at_least={position}")

    health = bank_api.get("/health").json()
    assert health["status"] == "ok"
    assert [(view["name"], view["state"], view["behind"]) for view in health["views"]] == [
        ("bank.AccountDetails", "current", 0),
        ("bank.TransactionHistory", "current", 0),
    ]


def test_the_api_describes_itself(bank_api: httpx.Client) -> None:
    page = bank_api.get("/docs")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    paths = bank_api.get("/docs/openapi.json").json()["paths"]
    assert sorted(operation["operationId"] for path in paths.values() for operation in path.values()) == [
        *("execute", "listAccounts", "listTransactions", "readAccount", "readEvents", "showHealth", "streamEvents")
    ]
    for path in paths.values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                assert parameter["schema"]["type"] in {"string", "integer"}, parameter  # left out, and never null
