"""Several processes at one file: nothing is lost, nothing is there twice; and what a killed one was told, stays."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from processes import Start, hear, hear_all, tell

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import StreamId, new_event_id
from esbank.verification import Head, verify

ACCOUNT = StreamId("Account", "1")


def all_at_once(start: Start, count: int, name: str, *arguments: object) -> list[object]:
    """Start processes, let them all begin together, and return what each of them said."""
    processes = [start(name, *arguments) for _ in range(count)]
    assert [hear(process) for process in processes] == ['"ready"\n'] * count
    for process in processes:
        tell(process, "begin")
    said = ["".join(hear_all(process)) for process in processes]
    for process in processes:
        process.wait(60)
    assert [process.returncode for process in processes] == [0] * count
    return [json.loads(output) for output in said]


def test_ten_processes_may_open_a_new_file_at_once(path: Path, start: Start) -> None:
    said = all_at_once(start, 10, "open_new", path)

    with SQLiteEventStore(path) as store:
        assert said == [[store.identity, 1]] * 10
        assert len(list(store.read_all())) == 10
        assert len(list(store.streams("Account"))) == 10


def test_nothing_is_lost_when_processes_append_to_one_stream(path: Path, start: Start) -> None:
    all_at_once(start, 4, "append_at_the_end", path, 25)

    with SQLiteEventStore(path) as store:
        events = list(store.read(ACCOUNT))
        assert [event.version for event in events] == list(range(1, 101))
        assert list(store.read_all()) == events
        assert all(one.position < other.position for one, other in pairwise(events))
        assert Counter(event.data for event in events) == {f'{{"number":{number}}}': 4 for number in range(25)}


def test_processes_that_repeat_the_same_append_get_the_same_result(path: Path, start: Start) -> None:
    said = all_at_once(start, 4, "repeat", path, new_event_id())

    with SQLiteEventStore(path) as store:
        assert said == [[1, store.head()]] * 4
        assert store.version(ACCOUNT) == 1


def test_a_transaction_excludes_writers_in_other_processes(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 0 AS number")

        all_at_once(start, 4, "count_up", path, 20)

        assert store.query("SELECT number FROM numbers") == [(80,)]


@pytest.mark.parametrize("when", [1, 7, 40])
def test_what_was_acknowledged_survives_a_kill(path: Path, start: Start, when: int) -> None:
    acknowledged: list[list[str]] = []
    for round_ in range(2):
        processes = [start("append_for_ever", path, f"{round_}{letter}") for letter in "ab"]
        for process in processes:
            acknowledged += [json.loads(hear(process)) for _ in range(when)]
        for process in processes:
            process.kill()
        for process in processes:
            acknowledged += [json.loads(line) for line in hear_all(process) if line.endswith("]\n")]

        with SQLiteEventStore(path) as store:
            assert store.query("PRAGMA integrity_check") == [("ok",)]
            events = list(store.read_all())
            for stream in store.streams("Account"):
                versions = [event.version for event in store.read(stream)]
                assert versions == list(range(1, len(versions) + 1)), stream
        assert all(one.position < other.position for one, other in pairwise(events))
        ids = [str(event.event_id) for event in events]
        assert len(set(ids)) == len(ids)
        place = {event_id: index for index, event_id in enumerate(ids)}
        for batch in acknowledged:
            assert [place[event_id] for event_id in batch] == list(range(place[batch[0]], place[batch[0]] + len(batch)))
        # An append that was killed before it could say so is there whole, or not at all.
        told = {event_id for batch in acknowledged for event_id in batch}
        untold = [event for event in events if str(event.event_id) not in told]
        batches = Counter((event.recorded_at, event.data) for event in untold)
        assert all(count % 2 == 0 for count in batches.values())
        assert len(batches) <= 2 * (round_ + 1)


def test_the_chains_are_whole_whenever_writers_are_killed(path: Path, start: Start) -> None:
    heads: list[Head] = []
    for round_ in range(0, 8, 2):
        processes = [start("append_for_ever", path, letter) for letter in "ab"]
        for process in processes:
            for _ in range(round_ * 3 + 1):
                hear(process)
        with SQLiteEventStore(path) as store:
            assert verify(store).broken == ()  # while they write
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(60)

        with SQLiteEventStore(path) as store:
            found = verify(store)
            assert found.broken == ()
            assert found.head is not None
            heads.append(found.head)
            assert [verify(store, head=head).ok for head in heads] == [True] * len(heads)

    with SQLiteEventStore(path) as store:
        versions = [store.version(stream) for stream in store.streams("Account")]
    assert sum(versions) == found.events
    assert found.streams == len(versions) == 3


def test_the_chain_is_whole_after_processes_append_to_one_stream(path: Path, start: Start) -> None:
    all_at_once(start, 4, "append_at_the_end", path, 25)

    with SQLiteEventStore(path) as store:
        found = verify(store)
        assert (found.ok, found.events, found.streams) == (True, 100, 1)
