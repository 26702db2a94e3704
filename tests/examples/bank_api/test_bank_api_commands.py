"""Commands over HTTP: exact amounts, refusals that say who is to do what, versions, and retries that do no harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

PROBLEM = "application/problem+json"


def post(
    api: httpx.Client, account_id: str, body: Mapping[str, object] | str | bytes, **headers: str
) -> httpx.Response:
    """Send a command; a body that is text goes out as it is."""
    content = json.dumps(body) if isinstance(body, Mapping) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.post(f"/accounts/{account_id}", content=content, headers={"Content-Type": "application/json", **named})


def opened(api: httpx.Client, account_id: str, **fields: object) -> None:
    answer = post(api, account_id, {"type": "OpenAccount", "owner": "Ada", **fields})
    assert answer.status_code == 201, answer.text


def balance(api: httpx.Client, account_id: str) -> str:
    return str(api.get(f"/accounts/{account_id}").json()["balance"])


def version(api: httpx.Client, account_id: str) -> int:
    return int(api.get(f"/accounts/{account_id}").json()["version"])


def problem_of(answer: httpx.Response, status: int, kind: str | None) -> dict[str, Any]:
    """Check that an answer is a problem of a kind, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == PROBLEM
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["type"] == ("about:blank" if kind is None else f"urn:esbank:{kind}")
    assert problem["title"]
    assert problem["detail"]
    return problem


# What commands do.


def test_an_account_lives_from_its_opening_to_its_closing(bank_api: httpx.Client, account_id: str) -> None:
    answer = post(bank_api, account_id, {"type": "OpenAccount", "owner": "Alice", "initial_balance": 1000.0})
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/accounts/{account_id}")

    post(bank_api, account_id, {"type": "Deposit", "amount": 500.0})
    answer = post(bank_api, account_id, {"type": "Withdraw", "amount": "200.00", "by": "alice"})
    told = answer.json()
    position = told.pop("position")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    assert told == {
        "id": account_id,
        "owner": "Alice",
        "currency": "EUR",
        "status": "open",
        "balance": "1300.00",
        "overdraft_limit": "0.00",
        "available": "1300.00",
        "version": 3,
    }
    assert position > 0

    answer = bank_api.get(f"/accounts/{account_id}")
    assert (answer.json(), answer.headers["ETag"]) == (told, '"3"')

    post(bank_api, account_id, {"type": "Withdraw", "amount": 1300})
    answer = post(bank_api, account_id, {"type": "CloseAccount", "reason": "moved"})
    assert (answer.status_code, answer.json()["status"]) == (200, "closed")


@pytest.mark.parametrize(
    ("amount", "exact"),
    [
        ("0.1", "0.10"),
        ("1000.10", "1000.10"),
        ("90071992547409.93", "90071992547409.93"),
        ("99999999999999999.99", "99999999999999999.99"),
        ('"99999999999999999.99"', "99999999999999999.99"),
        ('"0.30"', "0.30"),
        ("0.30000000000000000000", "0.30"),
        ("12e1", "120.00"),
        ("7", "7.00"),
        ('"\\u0037"', "7.00"),
    ],
)
def test_an_amount_is_what_is_written(bank_api: httpx.Client, account_id: str, amount: str, exact: str) -> None:
    opened(bank_api, account_id)
    answer = post(bank_api, account_id, f'{{"type": "Deposit", "amount": {amount}}}')
    assert (answer.status_code, answer.json()["balance"]) == (200, exact)


@pytest.mark.parametrize(
    "amount",
    [
        *(
            '"NaN"',
            '"sNaN"',
            '"Infinity"',
            '"-Infinity"',
            '""',
            '" 5"',
            '"5 "',
            '"1_000"',
            '"5\\n"',
            '"0x10"',
            '"\N{ARABIC-INDIC DIGIT FIVE}"',
        ),
        *("1e400", "1e-400", '"1e999999999999999999999"', "9" * 5000, f'"{"9" * 5000}"', "1000000000000000000"),
        *("-1", '"-0.01"', "0", '"0"', "-0.0", "0.001", "0.30000000000000004", "null", "true", "[5]", '{"amount": 5}'),
    ],
)
def test_an_amount_that_cannot_be_is_refused(bank_api: httpx.Client, account_id: str, amount: str) -> None:
    opened(bank_api, account_id)
    problem_of(post(bank_api, account_id, f'{{"type": "Deposit", "amount": {amount}}}'), 422, "invalid-amount")
    assert version(bank_api, account_id) == 1


def test_who_and_in_which_conversation_is_kept_with_each_event(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    headers = {"X_Actor": "teller-7", "X_Correlation_ID": "complaint-12", "Idempotency_Key": "key-1"}
    post(bank_api, account_id, {"type": "Deposit", "amount": 1}, **headers)

    without, with_them = bank_api.get(f"/accounts/{account_id}/events").json()["events"]
    assert (without["actor"], without["correlation_id"], without["command_id"]) == (None, None, None)
    assert (with_them["actor"], with_them["correlation_id"], with_them["command_id"]) == (
        "teller-7",
        "complaint-12",
        "key-1",
    )


# What is wrong with a request.


@pytest.mark.parametrize(
    "body",
    [
        *("", "[", "{", '{"type": "Deposit", "amount": NaN}', '{"type": "Deposit", "amount": Infinity}', "'x'"),
        '{"type": "Deposit", "amount": 01}',
        '{"type": "Deposit", "amount": 1, "amount": 1000}',
        '{"type": "Deposit", "amount": 1, "by": "\\ud800"}',
        b'{"type": "Deposit", "amount": 1, "by": "\xff"}',
        '{"type": "Deposit", "amount": 1}'.encode("utf-16"),
        "[" * 30_000,
        '{"type": "Deposit", "amount": ' + "[" * 30_000,
    ],
)
def test_what_is_no_json_is_malformed(bank_api: httpx.Client, account_id: str, body: str | bytes) -> None:
    opened(bank_api, account_id)
    problem_of(post(bank_api, account_id, body), 400, "malformed-body")
    assert version(bank_api, account_id) == 1


@pytest.mark.parametrize(
    "body",
    [
        *("[]", "null", "5", '"Deposit"', "{}", '{"type": null}', '{"type": "Steal", "amount": 5}', '{"amount": 5}'),
        '{"type": "Deposit"}',
        '{"type": "deposit", "amount": 5}',
        '{"type": "Deposit", "amount": 5, "note": ""}',
        '{"type": "Deposit", "amount": 5, "by": null}',
        '{"type": "Deposit", "amount": 5, "by": "a\\u0000b"}',
        '{"type": "Deposit", "amount": 5, "by": "a\\n"}',
        json.dumps({"type": "Deposit", "amount": 5, "by": "a" * 1001}),
        '{"type": "CloseAccount", "reason": 5}',
    ],
)
def test_json_that_is_no_command_is_invalid(bank_api: httpx.Client, account_id: str, body: str) -> None:
    opened(bank_api, account_id)
    problem_of(post(bank_api, account_id, body), 422, "invalid-body")
    assert version(bank_api, account_id) == 1


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"owner": ""}, "invalid-body"),
        ({"owner": "   "}, "invalid-body"),
        ({"owner": "a\x00b"}, "invalid-body"),
        ({"owner": "\N{NO-BREAK SPACE}"}, "invalid-command"),
        ({"currency": "XXX"}, "invalid-command"),
        ({"currency": 5}, "invalid-body"),
        ({"initial_balance": -1}, "invalid-amount"),
        ({"overdraft_limit": "much"}, "invalid-amount"),
        ({"currency": "JPY", "initial_balance": "0.5"}, "invalid-amount"),
    ],
)
def test_an_account_that_cannot_be_is_not_opened(
    bank_api: httpx.Client, account_id: str, fields: Mapping[str, object], kind: str
) -> None:
    problem_of(post(bank_api, account_id, {"type": "OpenAccount", "owner": "Ada", **fields}), 422, kind)
    problem_of(bank_api.get(f"/accounts/{account_id}"), 404, "account-not-found")


@pytest.mark.parametrize("key", ["-a", ".", "a b", "a\n", "ä", "a" * 101, "a%"])
def test_an_id_that_cannot_be_is_refused(bank_api: httpx.Client, key: str) -> None:
    path = "/accounts/" + "".join(f"%{byte:02x}" for byte in key.encode())
    problem_of(bank_api.get(path), 422, "invalid-parameter")


@pytest.mark.parametrize("name", ["X-Actor", "X-Correlation-ID", "Idempotency-Key"])
@pytest.mark.parametrize("value", ["", "a" * 201, b"\xe4", "a\tb"])
def test_a_header_that_could_not_be_kept_is_refused(
    bank_api: httpx.Client, account_id: str, name: str, value: str | bytes
) -> None:
    problem = problem_of(
        bank_api.post(
            f"/accounts/{account_id}",
            content='{"type": "OpenAccount", "owner": "Ada"}',
            headers=[(b"Content-Type", b"application/json"), (name.encode(), _bytes(value))],
        ),
        422,
        "invalid-parameter",
    )
    assert [error["source"] for error in problem["errors"]] == ["header"]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_is_to_be_called_json(bank_api: httpx.Client, account_id: str, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = bank_api.post(f"/accounts/{account_id}", content='{"type": "OpenAccount", "owner": "A"}', headers=headers)
    problem_of(answer, 415, "unsupported-media-type")


def test_json_may_say_that_it_is_utf_8(bank_api: httpx.Client, account_id: str) -> None:
    content = '{"type": "OpenAccount", "owner": "Zoë"}'.encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = bank_api.post(f"/accounts/{account_id}", content=content, headers=headers)
    assert (answer.status_code, answer.json()["owner"]) == (201, "Zoë")


def test_a_body_has_a_bound(bank_api: httpx.Client, account_id: str) -> None:
    problem_of(post(bank_api, account_id, " " * 70_000), 413, None)


def test_what_there_is_not_says_so(bank_api: httpx.Client, account_id: str) -> None:
    problem_of(bank_api.get("/nothing"), 404, None)
    answer = bank_api.delete(f"/accounts/{account_id}")
    problem_of(answer, 405, None)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST", "OPTIONS"}


# What the bank refuses.


def test_a_refusal_says_why_and_changes_nothing(bank_api: httpx.Client, account_id: str) -> None:
    deposit = {"type": "Deposit", "amount": 5}
    assert problem_of(post(bank_api, account_id, deposit), 404, "account-not-found")["account_id"] == account_id

    opened(bank_api, account_id, initial_balance=10, overdraft_limit="5.50")
    again = post(bank_api, account_id, {"type": "OpenAccount", "owner": "Bob"})
    assert problem_of(again, 409, "account-already-exists")["account_id"] == account_id
    much = problem_of(post(bank_api, account_id, {"type": "Withdraw", "amount": 16}), 409, "insufficient-funds")
    assert (much["requested"], much["available"]) == ("16.00", "15.50")
    close = {"type": "CloseAccount", "reason": ""}
    assert problem_of(post(bank_api, account_id, close), 409, "non-zero-balance")["balance"] == "10.00"
    assert version(bank_api, account_id) == 1

    post(bank_api, account_id, {"type": "Withdraw", "amount": 10})
    post(bank_api, account_id, close)
    problem_of(post(bank_api, account_id, deposit), 409, "account-is-closed")
    assert version(bank_api, account_id) == 3


# Versions.


def test_who_decided_on_an_old_version_is_told_the_new_one(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    seen = bank_api.get(f"/accounts/{account_id}").headers["ETag"]
    post(bank_api, account_id, {"type": "Deposit", "amount": 5})

    answer = post(bank_api, account_id, {"type": "Deposit", "amount": 7}, If_Match=seen)
    problem = problem_of(answer, 412, "precondition-failed")
    assert (problem["version"], problem["account_id"], answer.headers["ETag"]) == (2, account_id, '"2"')
    assert balance(bank_api, account_id) == "5.00"

    answer = post(bank_api, account_id, {"type": "Deposit", "amount": 7}, If_Match=answer.headers["ETag"])
    assert (answer.status_code, answer.json()["balance"]) == (200, "12.00")


@pytest.mark.parametrize("tags", ['"1"', "*", '"7", "1"', '"1","7"', 'W/"1" , "1"'])
def test_a_condition_may_be_met_in_several_ways(bank_api: httpx.Client, account_id: str, tags: str) -> None:
    opened(bank_api, account_id)
    assert post(bank_api, account_id, {"type": "Deposit", "amount": 5}, If_Match=tags).status_code == 200


def test_a_header_that_makes_no_sense_is_named_as_it_was_sent(bank_api: httpx.Client, account_id: str) -> None:
    answer = post(bank_api, account_id, {"type": "OpenAccount", "owner": "Ada"}, Idempotency_Key="k" * 300)

    (wrong,) = problem_of(answer, 422, "invalid-parameter")["errors"]
    assert (wrong["key"], wrong["source"]) == ("idempotency-key", "header")


@pytest.mark.parametrize("tags", ["*", '"1"'])
def test_who_opens_an_account_on_condition_that_it_is_there_is_refused(
    bank_api: httpx.Client, account_id: str, tags: str
) -> None:
    answer = post(bank_api, account_id, {"type": "OpenAccount", "owner": "Ada"}, If_Match=tags)

    problem = problem_of(answer, 412, "precondition-failed")
    assert problem["detail"] == f"account {account_id} is not there; read it again and decide again"
    assert "ETag" not in answer.headers
    assert bank_api.get(f"/accounts/{account_id}").status_code == 404


@pytest.mark.parametrize(
    "tags", ['"0"', '"2"', '"01"', 'W/"1"', '"one"', "1", ",", "", '"2", "3"', f'"{"9" * 5000}"', f'"{10**30}"']
)
def test_a_condition_that_is_not_met_stores_nothing(bank_api: httpx.Client, account_id: str, tags: str) -> None:
    opened(bank_api, account_id)
    answer = post(bank_api, account_id, {"type": "Deposit", "amount": 5}, If_Match=tags)
    assert problem_of(answer, 412, "precondition-failed")["version"] == 1
    assert version(bank_api, account_id) == 1


@pytest.mark.parametrize("tags", ['"1"', '"0"', "*"])
def test_there_is_no_version_of_what_is_not_there(bank_api: httpx.Client, account_id: str, tags: str) -> None:
    answer = post(bank_api, account_id, {"type": "Deposit", "amount": 5}, If_Match=tags)
    problem_of(answer, 404, "account-not-found")


def test_of_many_who_decided_on_one_version_one_wins(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    deposit = {"type": "Deposit", "amount": 1}

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: post(bank_api, account_id, deposit, If_Match='"1"'), range(20)))

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 19]
    assert balance(bank_api, account_id) == "1.00"


def test_a_reader_who_has_the_version_is_told_so(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    for tags in ('"1"', 'W/"1"', '"7", "1"', "*"):
        answer = bank_api.get(f"/accounts/{account_id}", headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"1"')
    for tags in ('"2"', '"7"', "1"):
        assert bank_api.get(f"/accounts/{account_id}", headers={"If-None-Match": tags}).status_code == 200


# Retries.


def test_a_command_that_comes_again_answers_the_same_and_changes_nothing(
    bank_api: httpx.Client, account_id: str
) -> None:
    opening = {"type": "OpenAccount", "owner": "Ada", "initial_balance": 10}
    first = post(bank_api, account_id, opening, Idempotency_Key="one", X_Actor="ada")
    deposit = post(bank_api, account_id, {"type": "Deposit", "amount": 5}, Idempotency_Key="two", If_Match='"1"')
    post(bank_api, account_id, {"type": "Withdraw", "amount": 15})

    again = post(bank_api, account_id, opening, Idempotency_Key="one", X_Actor="somebody else")
    assert (again.status_code, again.content) == (201, first.content)
    assert (again.headers["ETag"], again.headers["Location"]) == ('"1"', f"/accounts/{account_id}")
    again = post(bank_api, account_id, {"type": "Deposit", "amount": 5}, Idempotency_Key="two", If_Match='"1"')
    assert (again.status_code, again.content, again.headers["ETag"]) == (200, deposit.content, '"2"')
    assert version(bank_api, account_id) == 3


@pytest.mark.parametrize("tags", ['"1", "2"', "*", '"1"'])
def test_a_command_that_comes_again_need_not_meet_its_condition_again(
    bank_api: httpx.Client, account_id: str, tags: str
) -> None:
    opened(bank_api, account_id)
    answers = [
        post(bank_api, account_id, {"type": "Deposit", "amount": 5}, Idempotency_Key="one", If_Match=tags)
        for _ in range(4)
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert version(bank_api, account_id) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"type": "Deposit", "amount": 6},
        {"type": "Deposit", "amount": "5.00"},
        {"type": "Deposit", "amount": 5, "by": "eve"},
        {"type": "Withdraw", "amount": 5},
    ],
)
def test_a_key_that_comes_with_another_command_is_refused(
    bank_api: httpx.Client, account_id: str, other: Mapping[str, object]
) -> None:
    opened(bank_api, account_id, initial_balance=10)
    post(bank_api, account_id, {"type": "Deposit", "amount": 5}, Idempotency_Key="one")
    problem_of(post(bank_api, account_id, other, Idempotency_Key="one"), 422, "command-id-reused")
    assert version(bank_api, account_id) == 2


def test_the_same_command_may_be_written_in_another_way(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    first = post(bank_api, account_id, '{"type": "Deposit", "amount": 5, "by": ""}', Idempotency_Key="one")
    again = post(bank_api, account_id, '{ "amount":"5","type":"Deposit" }', Idempotency_Key="one")
    assert (again.status_code, again.content) == (200, first.content)


def test_a_key_belongs_to_its_account(bank_api: httpx.Client, account_id: str) -> None:
    for one in (account_id, f"{account_id}-2"):
        opened(bank_api, one)
        post(bank_api, one, {"type": "Deposit", "amount": 5}, Idempotency_Key="one")
        assert balance(bank_api, one) == "5.00"


def test_a_refused_command_leaves_nothing_behind_and_is_decided_anew(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    withdrawal = {"type": "Withdraw", "amount": 5}
    problem_of(post(bank_api, account_id, withdrawal, Idempotency_Key="one"), 409, "insufficient-funds")
    post(bank_api, account_id, {"type": "Deposit", "amount": 5})
    assert post(bank_api, account_id, withdrawal, Idempotency_Key="one").status_code == 200
    assert post(bank_api, account_id, withdrawal, Idempotency_Key="one").status_code == 200
    assert (balance(bank_api, account_id), version(bank_api, account_id)) == ("0.00", 3)


def test_a_command_that_comes_many_times_at_once_happens_once(bank_api: httpx.Client, account_id: str) -> None:
    opened(bank_api, account_id)
    deposit = {"type": "Deposit", "amount": 1}

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: post(bank_api, account_id, deposit, Idempotency_Key="one"), range(40)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert (balance(bank_api, account_id), version(bank_api, account_id)) == ("1.00", 2)
