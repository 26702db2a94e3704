"""Two hundred clients, a few processes on one store, some of them killed: nothing is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from decimal import Decimal
from itertools import chain
from typing import Any

import httpx
from attrs import frozen
from bank_api_service import ServiceProcess, service

CLIENTS = 200
COMMANDS = 10
ACCOUNTS = [f"acc-{number}" for number in range(20)]
WORKERS = 3
KILLS = 4
PATIENCE = 120.0
SEED = 20260301


@frozen
class Acknowledged:
    """A command that was answered: what it has done to which account, and the version that it was told."""

    account_id: str
    key: str
    amount: Decimal
    version: int


async def send(client: httpx.AsyncClient, account_id: str, body: dict[str, Any], key: str) -> httpx.Response:
    """Send a command until there is an answer, each time with the same key."""
    while True:
        try:
            answer = await client.post(f"/accounts/{account_id}", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:  # the process is gone, and nobody knows what it has done
            await asyncio.sleep(0.1)
            continue
        if answer.status_code != 503:
            return answer
        await asyncio.sleep(0.1)


async def use_the_bank(url: str, number: int) -> list[Acknowledged]:
    """Do as a client does; now and then, send a command twice at once, as if the first answer had been lost."""
    choose = random.Random(SEED + number)  # noqa: S311 - a test that comes out the same
    done: list[Acknowledged] = []
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        for count in range(COMMANDS):
            account_id, key = choose.choice(ACCOUNTS), f"{number}/{count}"
            amount = Decimal(choose.randrange(1, 10_000)) / 100
            kind = choose.choice(["Deposit", "Deposit", "Withdraw"])
            body = {"type": kind, "amount": str(amount), "by": f"client {number}"}
            times = choose.choice([1, 1, 1, 2])
            answers = await asyncio.gather(*(send(client, account_id, body, key) for _ in range(times)))
            assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
            signed = amount if kind == "Deposit" else -amount
            done.append(Acknowledged(account_id, key, signed, answers[0].json()["version"]))
    return done


async def kill_now_and_then(started: ServiceProcess, finished: asyncio.Event) -> int:
    """Kill a process that serves, again and again; return how often."""
    choose = random.Random(SEED)  # noqa: S311 - same
    killed = 0
    while not finished.is_set() and killed < KILLS:
        await asyncio.sleep(choose.uniform(0.3, 1.0))
        workers = started.workers()
        if len(workers) > 1:
            os.kill(choose.choice(workers), signal.SIGKILL)
            killed += 1
    return killed


async def all_events(client: httpx.AsyncClient, account_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    path = f"/accounts/{account_id}/events?limit=1000"
    while path:
        page = (await client.get(path)).json()
        events += page["events"]
        path = page["next"]
    return events


async def judge(client: httpx.AsyncClient, account_id: str, acknowledged: list[Acknowledged]) -> None:
    """Hold an account against what the clients were told."""
    opened, *moved = await all_events(client, account_id)
    assert opened["version"] == 1
    assert [event["version"] for event in moved] == list(range(2, len(moved) + 2))
    told = sorted((one.version, one.key) for one in acknowledged)
    assert [(event["version"], event["command_id"]) for event in moved] == told

    balance = Decimal(opened["data"]["initial_balance"]) + sum(one.amount for one in acknowledged)
    account = (await client.get(f"/accounts/{account_id}")).json()
    assert (Decimal(account["balance"]), account["version"]) == (balance, len(moved) + 1)
    last = moved[-1]["position"]
    rows = (await client.get(f"/accounts/{account_id}/transactions?limit=1000&at_least={last}")).json()["transactions"]
    assert [row["version"] for row in rows] == list(range(1, len(moved) + 2))
    assert Decimal(rows[-1]["balance_after"]) == balance


async def rush(started: ServiceProcess) -> None:
    """Let all clients in, kill meanwhile, and judge in the end."""
    async with httpx.AsyncClient(base_url=started.url, timeout=PATIENCE) as client:
        for account_id in ACCOUNTS:
            opening = {"type": "OpenAccount", "owner": "Ada", "initial_balance": 1_000_000}
            assert (await send(client, account_id, opening, "open")).status_code == 201
        finished = asyncio.Event()
        killer = asyncio.create_task(kill_now_and_then(started, finished))
        done = await asyncio.gather(*(use_the_bank(started.url, one) for one in range(CLIENTS)))
        acknowledged = list(chain.from_iterable(done))
        finished.set()
        assert await killer > 0
        assert len(acknowledged) == CLIENTS * COMMANDS
        for account_id in ACCOUNTS:
            await judge(client, account_id, [one for one in acknowledged if one.account_id == account_id])


def test_nothing_is_lost_and_nothing_happens_twice(bank_api_store: str) -> None:
    with service(bank_api_store, "--workers", str(WORKERS)) as started:
        started.wait_for("Application startup complete", WORKERS)
        asyncio.run(rush(started))
        assert started.stop() == 0
        assert "Traceback" not in started.said, started.said
