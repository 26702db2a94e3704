"""The judge: what was put down in a sound torture is accepted, and whatever is changed in it is found."""
# ruff: noqa: S608  # the SQL is ours

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import frozen

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, NewEvent, StreamId
from esbank.testing.torture import Check, torture
from esbank.testing.torture._findings import Finding, Findings
from esbank.testing.torture._judge import judge
from esbank.testing.torture._task import Task

SEED = 7


@frozen
class Case:
    """A torture that is over: its store and its records, to be changed."""

    path: Path
    records: Path

    def judge(self) -> dict[Check, Finding]:
        with SQLiteEventStore(self.path) as store:
            task = Task(
                partial(SQLiteEventStore, self.path),
                self.path.parent,
                store.identity,
                self.records,
                SEED,
                transactions=True,
            )
            findings = Findings()
            judge(store, task, until=store.head() or 0, findings=findings, progress=lambda _: None)
            return {finding.check: finding for finding in findings}

    def change(self, *statements: str) -> None:
        """Change the store behind its back."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                assert database.execute(statement).rowcount > 0, statement

    def entries(self, tag: str) -> Iterable[tuple[Path, dict[str, Any]]]:
        """Give the entries of a sort, each with the file that it is in."""
        for path in sorted(self.records.glob("writer-*.log")):
            for line in path.read_bytes().splitlines():
                entry = msgspec.json.decode(line)
                if entry["type"] == tag:
                    yield path, entry

    def add(self, path: Path, *entries: dict[str, Any]) -> None:
        with path.open("ab") as journal:
            journal.writelines(msgspec.json.encode(entry) + b"\n" for entry in entries)

    def replace(self, path: Path, old: dict[str, Any], **changes: object) -> None:
        before, after = (msgspec.json.encode(entry) + b"\n" for entry in (old, {**old, **changes}))
        text = path.read_bytes()
        assert text.count(before) == 1
        path.write_bytes(text.replace(before, after))

    def followed(self, change: Callable[[list[bytes]], list[bytes]]) -> None:
        path = self.records / "poller.log"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Torture a store for a second or two, until there is something of everything."""
    for _ in range(10):
        folder = tmp_path_factory.mktemp("sound")
        case = Case(folder / "events.db", folder / "records")
        verdict = torture(partial(SQLiteEventStore, case.path), seconds=2, processes=1, seed=SEED, records=case.records)
        assert verdict.ok, verdict
        with closing(sqlite3.connect(case.path)) as database:
            (rows,) = database.execute("SELECT count(*) FROM torture_rows").fetchone()
        if rows and verdict.conflicts and verdict.acknowledged > 50:
            return case
    pytest.fail("ten tortures have not had something of everything")


@pytest.fixture
def case(sound: Case, tmp_path: Path) -> Case:
    shutil.copy(sound.path, tmp_path / "events.db")
    shutil.copytree(sound.records, tmp_path / "records")
    return Case(tmp_path / "events.db", tmp_path / "records")


def test_what_was_not_changed_is_accepted(case: Case) -> None:
    assert case.judge() == {}


LAST_EVENT = "position = (SELECT max(position) FROM esbank_events WHERE type = 'TortureMark')"
FIRST_EVENT = "position = 1"


def gone(case: Case) -> None:
    last = max((entry["positions"][0] for _, entry in case.entries("answered")))
    case.change(f"DELETE FROM esbank_events WHERE append = (SELECT append FROM esbank_events WHERE position = {last})")


def told_another_version(case: Case) -> None:
    path, entry = first(case, "answered")
    case.replace(path, entry, versions=[version + 1 for version in entry["versions"]])


def told_another_position(case: Case) -> None:
    path, entry = first(case, "answered")
    case.replace(path, entry, positions=[position + 1 for position in entry["positions"]])


def made_by_nobody(case: Case) -> None:
    with SQLiteEventStore(case.path) as store:
        store.append(StreamId("TortureNorth", "0"), [NewEvent("TortureMark", "{}")], expected_version=ANY_VERSION)


def there_twice(case: Case) -> None:
    with SQLiteEventStore(case.path) as store:
        event = next(store.read_all())
        new = NewEvent(event.type, event.data, event_id=event.event_id, metadata=event.metadata)
        store.append(StreamId("TortureNorth", "another"), [new], expected_version=ANY_VERSION)


def refused_and_stored(case: Case) -> None:
    path, entry = first(case, "answered")
    refused = {"number": entry["number"], "times": entry["times"], "stream": "TortureNorth-1", "expected": "0"}
    text = path.read_bytes().replace(
        msgspec.json.encode(entry), msgspec.json.encode({"type": "conflicted", **refused, "actual": 1})
    )
    path.write_bytes(text)


def with_other_data(case: Case) -> None:
    case.change(f"UPDATE esbank_events SET data = replace(data, ':0', ':9') WHERE {FIRST_EVENT}")


def with_other_metadata(case: Case) -> None:
    case.change(f"UPDATE esbank_events SET metadata = '{{}}' WHERE {FIRST_EVENT}")


def with_a_part_missing(case: Case) -> None:
    case.change(
        "DELETE FROM esbank_events WHERE position ="
        " (SELECT max(position) FROM esbank_events GROUP BY append HAVING count(*) > 1 LIMIT 1)"
    )


def with_a_hole(case: Case) -> None:
    case.change(f"UPDATE esbank_events SET version = version + 1000 WHERE {LAST_EVENT}")


def recorded_earlier(case: Case) -> None:
    case.change(f"UPDATE esbank_events SET recorded_at = 1 WHERE {LAST_EVENT}")


def stored_at_another_version_than_it_had_seen(case: Case) -> None:
    for path, begun in list(case.entries("began")):
        case.replace(path, begun, seen=[seen + 5 for seen in begun["seen"]])


def told_of_a_version_long_past(case: Case) -> None:
    path, entry = max(case.entries("looked"), key=lambda one: one[1]["version"])
    case.add(path, {**entry, "version": 0, "times": [10**18, 10**18 + 1]})


def told_of_a_version_to_come(case: Case) -> None:
    path, entry = max(case.entries("looked"), key=lambda one: one[1]["version"])
    case.add(path, {**entry, "times": [1, 2]})


def told_of_a_version_that_never_was(case: Case) -> None:
    path, entry = first(case, "looked")
    case.add(path, {**entry, "version": 10**6})


def refused_for_a_version_it_expected(case: Case) -> None:
    path, entry = first(case, "conflicted")
    case.replace(path, entry, expected=str(entry["actual"]))


def refused_for_what_it_did_not_expect(case: Case) -> None:
    path, entry = first(case, "conflicted")
    case.replace(path, entry, expected=str(entry["actual"] + 1))


def refused_though_it_expected_nothing(case: Case) -> None:
    path, entry = first(case, "conflicted")
    case.replace(path, entry, expected=str(ANY_VERSION))


def refused_for_a_stream_of_others(case: Case) -> None:
    path, entry = first(case, "conflicted")
    case.replace(path, entry, stream="Elsewhere-1", actual=0)


def acknowledged_before_what_precedes_it(case: Case) -> None:
    path, entry = max(case.entries("answered"), key=lambda one: one[1]["positions"][0])
    case.replace(path, entry, times=[1, 2])


def answered_otherwise_the_second_time(case: Case) -> None:
    path, entry = first(case, "answered")
    case.add(path, {"type": "began", "number": entry["number"], "at": 1, "seen": [0, 0, 0, 0]})
    case.add(path, {**entry, "positions": [position + 1 for position in entry["positions"]]})


def refused_the_second_time(case: Case) -> None:
    path, entry = first(case, "answered")
    _, look = first(case, "looked")
    case.add(path, {"type": "began", "number": entry["number"], "at": 1, "seen": [0, 0, 0, 0]})
    told = {"times": look["times"], "stream": look["stream"], "expected": "12345", "actual": look["version"]}
    case.add(path, {"type": "conflicted", "number": entry["number"], **told})


def missed_by_a_follower(case: Case) -> None:
    case.followed(lambda lines: [*lines[:5], *lines[6:]])


def seen_twice(case: Case) -> None:
    case.followed(lambda lines: [*lines[:5], *lines[4:]])


def seen_in_another_order(case: Case) -> None:
    case.followed(lambda lines: [lines[1], lines[0], *lines[2:]])


def not_seen_to_the_end(case: Case) -> None:
    case.followed(lambda lines: lines[:-1])


def seen_beyond_the_end(case: Case) -> None:
    case.followed(lambda lines: [*lines, lines[0]])


def read_otherwise_by_itself(case: Case) -> None:
    """Hide the end of a stream from whoever reads it by its index."""
    case.change("UPDATE esbank_events SET version = 0 WHERE version = 1 AND stream = 1")


def counted_twice_by_the_view(case: Case) -> None:
    case.change("UPDATE torture_tally SET events = events + 1 WHERE stream = (SELECT min(stream) FROM torture_tally)")


def missing_in_the_view(case: Case) -> None:
    case.change("DELETE FROM torture_tally WHERE stream = (SELECT min(stream) FROM torture_tally)")


def without_its_row(case: Case) -> None:
    case.change("DELETE FROM torture_rows WHERE event_id = (SELECT min(event_id) FROM torture_rows)")


def a_row_without_its_event(case: Case) -> None:
    case.change("INSERT INTO torture_rows SELECT substr(max(event_id), 1, 35) || 'f' FROM torture_rows")


def with_another_digest(case: Case) -> None:
    case.change(f"UPDATE esbank_events SET digest = zeroblob(32) WHERE {FIRST_EVENT}")


def never_acknowledged(case: Case) -> None:
    for path in case.records.glob("writer-*.log"):
        path.write_bytes(b"")


def first(case: Case, tag: str) -> tuple[Path, dict[str, Any]]:
    return next(iter(case.entries(tag)))


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (gone, Check.KEPT),
        (told_another_version, Check.KEPT),
        (told_another_position, Check.KEPT),
        (made_by_nobody, Check.INVITED),
        (there_twice, Check.INVITED),
        (refused_and_stored, Check.INVITED),
        (with_other_data, Check.WHOLE),
        (with_other_metadata, Check.WHOLE),
        (with_a_part_missing, Check.WHOLE),
        (with_a_hole, Check.NUMBERED),
        (recorded_earlier, Check.NUMBERED),
        (stored_at_another_version_than_it_had_seen, Check.EXPECTED),
        (told_of_a_version_long_past, Check.JUSTIFIED),
        (told_of_a_version_to_come, Check.JUSTIFIED),
        (told_of_a_version_that_never_was, Check.JUSTIFIED),
        (refused_for_a_version_it_expected, Check.JUSTIFIED),
        (refused_for_what_it_did_not_expect, Check.JUSTIFIED),
        (refused_though_it_expected_nothing, Check.JUSTIFIED),
        (refused_for_a_stream_of_others, Check.JUSTIFIED),
        (acknowledged_before_what_precedes_it, Check.ORDERED),
        (answered_otherwise_the_second_time, Check.REPEATED),
        (refused_the_second_time, Check.REPEATED),
        (missed_by_a_follower, Check.FOLLOWED),
        (seen_twice, Check.FOLLOWED),
        (seen_in_another_order, Check.FOLLOWED),
        (not_seen_to_the_end, Check.FOLLOWED),
        (seen_beyond_the_end, Check.FOLLOWED),
        (read_otherwise_by_itself, Check.READ),
        (counted_twice_by_the_view, Check.VIEWS),
        (missing_in_the_view, Check.VIEWS),
        (without_its_row, Check.ROWS),
        (a_row_without_its_event, Check.ROWS),
        (with_another_digest, Check.DIGESTS),
        (never_acknowledged, Check.PROCESSES),
    ],
)
def test_what_was_changed_is_found(case: Case, change: Callable[[Case], None], broken: Check) -> None:
    change(case)

    assert broken in case.judge()


def test_an_append_that_is_refused_only_when_it_comes_again_was_invited(case: Case) -> None:
    refused_the_second_time(case)

    assert Check.INVITED not in case.judge()
