"""Compares a store with the records of those who used it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import groupby, takewhile
from typing import Final
from uuid import UUID

from attrs import frozen

from esbank.errors import NoDigests, StorageError
from esbank.store import EventStore, ExpectedVersion, StoredEvent, StreamId, ViewStore, is_expected
from esbank.testing.torture._findings import Check, Findings
from esbank.testing.torture._followers import Follower
from esbank.testing.torture._linearizability import Made, contradictions
from esbank.testing.torture._plan import END, Name, Plan, Way, make_plan, name_of
from esbank.testing.torture._records import Attempt, Records, read_records
from esbank.testing.torture._task import Task
from esbank.testing.torture._views import Fold
from esbank.testing.torture._witnesses import Witness
from esbank.verification import verify

__all__ = ["Judgement", "judge"]

_STEP: Final = 1000


@frozen
class Judgement:
    """What was found in the log, and which promises were checked."""

    records: Records
    events: int
    streams: int
    followed: int
    checks: frozenset[Check]


def judge(
    store: EventStore, task: Task, until: int, findings: Findings, progress: Callable[[int], object]
) -> Judgement:
    """Go through the log up to a position, and compare it with what everybody has put down."""
    records = read_records(task.folder, findings)
    if not records.acknowledged:
        findings.add(Check.PROCESSES, "no append was acknowledged, so there is nothing to judge")
    judge = _Judge(task, records)
    with ExitStack() as files:
        witnesses = [Witness(one, files.enter_context(task.record(one.value).open("rb"))) for one in Follower]
        log = takewhile(lambda event: event.position <= until, store.read_all())
        judge.check_log(log, witnesses, progress)
    judge.check_promises()
    judge.check_streams(store)
    checks = set(Check) - {Check.VIEWS, Check.ROWS, Check.DIGESTS}
    if isinstance(store, ViewStore):
        judge.check_view(store)
        checks.add(Check.VIEWS)
        if task.transactions:
            judge.check_rows(store)
            checks.add(Check.ROWS)
    if judge.check_digests(store):
        checks.add(Check.DIGESTS)
    followed = sum(witness.seen for witness in witnesses)
    return Judgement(records, judge.events, judge.streams, followed, frozenset(checks))


class _Judge:
    """Keeps what the log says, as far as it was read, beside the records."""

    def __init__(self, task: Task, records: Records) -> None:
        self._task = task
        self._records = records
        self._find = records.findings.add
        self._versions: dict[StreamId, int] = {}
        self._history: defaultdict[str, list[Made]] = defaultdict(list)
        self._tally: defaultdict[str, Fold] = defaultdict(Fold)
        self._in_transactions: set[str] = set()
        self._position = 0
        self._recorded_at = datetime.min.replace(tzinfo=UTC)
        self._last_begun: tuple[int, Name | None] = (-1, None)
        self.events = 0

    @property
    def streams(self) -> int:
        """How many streams were appended to."""
        return len(self._versions)

    def check_log(
        self, log: Iterable[StoredEvent], witnesses: Sequence[Witness], progress: Callable[[int], object]
    ) -> None:
        """Check every event and every append as it comes, and what followers saw."""
        watched = self._watch(log, witnesses, progress)
        for name, events in groupby(watched, key=lambda event: name_of(event.event_id)[0]):
            self._check_append(name, list(events))
        for witness in witnesses:
            problem = witness.dismiss()
            if problem is not None:
                self._find(Check.FOLLOWED, problem)

    def check_promises(self) -> None:
        """Check what was told to writers, once all of the log is known."""
        for name, attempt in self._records.attempts.items():
            if attempt.answer is not None and not attempt.is_found:
                self._find(Check.KEPT, f"{self._said(name)} was acknowledged, and is not in the log")
            self._check_refusals(name, attempt)
        for stream in sorted(self._history.keys() | self._records.seen.keys()):
            for problem in contradictions(self._history[stream], self._records.seen[stream]):
                self._find(Check.JUSTIFIED, f"{stream}: {problem}")

    def check_streams(self, store: EventStore) -> None:
        """Read each stream by itself, and compare it with what the log has of it."""
        for stream, version in self._versions.items():
            fold = Fold()
            try:
                for event in store.read(stream, up_to=version):
                    fold.add(event.event_id.hex)
            except StorageError as error:
                self._find(Check.READ, str(error))
                continue
            if fold != self._tally[str(stream)]:
                problem = f"{stream} reads as {fold}, the log gives {self._tally[str(stream)]}"
                self._find(Check.READ, problem)

    def check_view(self, views: ViewStore) -> None:
        """Compare the view with a fold of the log."""
        rows = {stream: Fold(*fold) for stream, *fold in views.query("SELECT * FROM torture_tally")}
        for stream in sorted(rows.keys() | self._tally.keys()):
            if rows.get(stream) != self._tally.get(stream):
                problem = f"{stream}: the view has {rows.get(stream)}, the log gives {self._tally.get(stream)}"
                self._find(Check.VIEWS, problem)

    def check_rows(self, views: ViewStore) -> None:
        """Compare the rows that were written together with events with these events."""
        rows = {event_id for (event_id,) in views.query("SELECT event_id FROM torture_rows")}
        for event_id in sorted(rows ^ self._in_transactions):
            name, index = name_of(UUID(event_id))
            problem = "has a row, and is not in the log" if event_id in rows else "is in the log, and has no row"
            self._find(Check.ROWS, f"event {index} of {self._said(name)} {problem}")

    def check_digests(self, store: EventStore) -> bool:
        """Compute all digests again; tell whether there are any."""
        try:
            broken = verify(store).broken
        except NoDigests:
            return False
        for event in broken:
            self._find(Check.DIGESTS, str(event))
        return True

    def _watch(
        self, log: Iterable[StoredEvent], witnesses: Sequence[Witness], progress: Callable[[int], object]
    ) -> Iterator[StoredEvent]:
        """Check each event for itself, and pass on those that writers have appended."""
        for event in log:
            if event.position <= self._position:
                self._find(Check.NUMBERED, f"position {event.position} comes after position {self._position}")
            if event.recorded_at < self._recorded_at:
                self._find(Check.NUMBERED, f"position {event.position} was recorded before what precedes it")
            self._position, self._recorded_at = event.position, event.recorded_at
            for witness in witnesses:
                witness.compare(event)
            if event.stream in END:
                continue
            self.events += 1
            if self.events % _STEP == 0:
                progress(event.position)
            self._tally[str(event.stream)].add(event.event_id.hex)
            yield event

    def _check_append(self, name: Name, events: list[StoredEvent]) -> None:
        where = f"positions {events[0].position} to {events[-1].position}"
        attempt = self._records.attempts.get(name)
        if attempt is None:
            self._check_versions(events)
            self._find(Check.INVITED, f"{where} hold {name}, which nobody has made")
            return
        plan = make_plan(self._task.seed, name, transactions=self._task.transactions)
        before = [self._versions.get(stream, 0) for stream in plan.streams]
        self._check_versions(events)
        if attempt.is_found:
            self._find(Check.INVITED, f"{where} hold {self._said(name)}, parts of which come before, elsewhere")
            return
        attempt.is_found = True
        if attempt.is_refused:
            self._find(Check.INVITED, f"{where} hold {self._said(name)}, which was refused")
        self._check_content(name, plan, events)
        self._check_expectations(name, plan, attempt, before)
        self._check_answer(name, plan, attempt, events)
        self._check_order(name, attempt)
        for part in plan.parts:
            made = Made(self._versions.get(part.stream, 0), attempt.begun, attempt.ended, name)
            self._history[str(part.stream)].append(made)
        if plan.way is Way.TRANSACTION:
            self._in_transactions.update(str(event.event_id) for event in events)

    def _check_versions(self, events: list[StoredEvent]) -> None:
        for event in events:
            last = self._versions.get(event.stream, 0)
            if event.version != last + 1:
                self._find(Check.NUMBERED, f"{event.stream} version {event.version} comes after version {last}")
            self._versions[event.stream] = event.version

    def _check_content(self, name: Name, plan: Plan, events: list[StoredEvent]) -> None:
        expected = [
            (stream, new.event_id, new.type, new.schema_version, new.data, new.metadata) for stream, new in plan.events
        ]
        found = [
            (event.stream, event.event_id, event.type, event.schema_version, event.data, event.metadata)
            for event in events
        ]
        if len(found) < len(expected):
            self._find(
                Check.WHOLE,
                f"{self._said(name)} has {len(expected)} events, and {len(found)} are in one place, up to position "
                f"{events[-1].position}",
            )
        elif found != expected:
            self._find(Check.WHOLE, f"{self._said(name)}, up to position {events[-1].position}, is not as it was made")

    def _check_expectations(self, name: Name, plan: Plan, attempt: Attempt, before: list[int]) -> None:
        for (stream, expected), actual in zip(_expectations(plan, attempt), before, strict=True):
            if not is_expected(expected, actual):
                problem = f"{self._said(name)} expected {stream} at {expected}, and was stored when it was at {actual}"
                self._find(Check.EXPECTED, problem)

    def _check_refusals(self, name: Name, attempt: Attempt) -> None:
        """Check that each refusal names what the append did expect, and something else that is there instead."""
        if not attempt.refusals:
            return
        plan = make_plan(self._task.seed, name, transactions=self._task.transactions)
        expectations = {str(stream): expected for stream, expected in _expectations(plan, attempt)}
        for refused in attempt.refusals:
            expected = expectations.get(refused.stream)
            told = f"{name} was refused because {refused.stream} is at {refused.actual}, expected {refused.expected}"
            if expected is None:
                self._find(Check.JUSTIFIED, f"{told}; it expected nothing of that stream")
            elif refused.expected != str(expected) or is_expected(expected, refused.actual):
                self._find(Check.JUSTIFIED, f"{told}; it expected {expected}")

    def _check_answer(self, name: Name, plan: Plan, attempt: Attempt, events: list[StoredEvent]) -> None:
        if attempt.answer is None:
            return
        last = {event.stream: event for event in events}
        found = [(last[part.stream].version, last[part.stream].position) for part in plan.parts if part.stream in last]
        told = list(zip(attempt.answer.versions, attempt.answer.positions, strict=True))
        if found != told:
            problem = f"{self._said(name)} was told (version, position) {told}, and is at {found}"
            self._find(Check.KEPT, problem)

    def _check_order(self, name: Name, attempt: Attempt) -> None:
        last_begun, earlier = self._last_begun
        if earlier is not None and attempt.ended < last_begun:
            problem = f"{self._said(name)} was acknowledged before {self._said(earlier)} began, and comes after it"
            self._find(Check.ORDERED, problem)
        self._last_begun = max((last_begun, earlier), (attempt.begun, name), key=lambda one: one[0])

    def _said(self, name: Name) -> str:
        """Say which append it is, with where it went."""
        plan = make_plan(self._task.seed, name, transactions=self._task.transactions)
        return f"{name} (to {', '.join(str(part.stream) for part in plan.parts)})"


def _expectations(plan: Plan, attempt: Attempt) -> list[tuple[StreamId, ExpectedVersion]]:
    """Say what the append expects of each stream that has a say in it."""
    expected = [part.expectation.version(seen) for part, seen in zip(plan.parts, attempt.seen, strict=False)]
    if plan.condition is not None:
        expected.append(attempt.seen[-1])
    return list(zip(plan.streams, expected, strict=True))
