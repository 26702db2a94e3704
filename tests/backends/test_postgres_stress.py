"""Many processes at one schema: each follower sees the whole log once, in order, with all that was acknowledged."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from postgres_programs import LAST, NUMBERS, place_of
from processes import POSTGRES_PROGRAMS, Process, Start, hear, tell

from esbank.backends.postgres import PostgresEventStore
from esbank.store import NewEvent, StreamId
from esbank.verification import verify

WRITERS = 8
END = StreamId("End", "1")


@pytest.fixture
def programs() -> Path:
    return POSTGRES_PROGRAMS


def what_it_says(process: Process) -> Any:  # noqa: ANN401  # that depends on the program
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output)


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_followers_miss_and_repeat_nothing_while_processes_write(
    server_dsn: str, schema: str, start: Start, seconds: int
) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        with store.transaction() as tx:
            tx.execute(NUMBERS)
        followers = [start("follow", server_dsn, schema), start("ask", server_dsn, schema)]
        writers = [start("write", server_dsn, schema, f"w{number}", seconds) for number in range(WRITERS)]
        assert {hear(process) for process in [*followers, *writers]} == {'"ready"\n'}
        for process in [*followers, *writers]:
            tell(process, "begin")
        acknowledged, conflicts = zip(*map(what_it_says, writers), strict=True)
        store.append(END, [NewEvent(LAST, "{}")], expected_version=0)
        seen = [[tuple(place) for place in what_it_says(follower)] for follower in followers]

        log = list(store.read_all())
        places = list(map(place_of, log))
        assert seen[0] == places
        assert seen[1] == places
        told = [tuple(place) for places in acknowledged for place in places]
        assert sorted(told) == places[:-1]
        assert [event.position for event in log] == list(range(1, len(log) + 1))
        assert all(one.recorded_at <= other.recorded_at for one, other in pairwise(log))
        found = verify(store)
        assert (found.ok, found.events, found.streams) == (True, len(log), WRITERS + 3 + 1)
        for stream in (event.stream for event in log if event.version == 1):
            versions = [event.version for event in store.read(stream)]
            assert versions == list(range(1, len(versions) + 1))
        # What was stored together with an event is there with it.
        known = {event_id for _, event_id in places}
        kept = {str(event_id) for (event_id,) in store.query("SELECT event_id FROM numbers")}
        assert kept
        assert kept <= known
        assert sum(conflicts) > 0
        assert len(log) > 20 * WRITERS
