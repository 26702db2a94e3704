"""Group commit by itself: who shares a call with whom, who gets which outcome, and that nobody is left waiting."""

import linecache
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank.backends import _group_commit
from esbank.backends._group_commit import GroupCommit
from esbank.testing.conformance._given import in_threads

PATIENCE = 5.0
BIG = 1_000


class Interruption(BaseException):
    """What Ctrl-C does, without being it."""


class SharedFailure(Exception):
    """What those get that shared a call with a leader that failed."""


class Calls:
    """Takes calls as a database would: notes them, and answers the first one only when it is let go."""

    def __init__(self, *, most: int = BIG, held: bool = False) -> None:
        self.group = GroupCommit[str, str](self.run, most=most, after_failure=SharedFailure)
        self.seen: list[list[str]] = []
        self.threads: list[threading.Thread] = []
        self.failures: dict[str, BaseException] = {}
        self.inside = threading.Event()
        self.go_on = threading.Event()
        if not held:
            self.go_on.set()

    def run(self, works: Sequence[str]) -> Sequence[str]:
        self.seen.append(list(works))
        self.threads.append(threading.current_thread())
        self.inside.set()
        assert self.go_on.wait(PATIENCE)
        for work in works:
            if work in self.failures:
                raise self.failures[work]
        return [f"{work} done" for work in works]


class Submission:
    """A thread that has a piece of work done."""

    def __init__(self, submit: Callable[[], str]) -> None:
        self.outcome: str | BaseException | None = None
        self._submit = submit
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._submit()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            self.outcome = error

    def end(self) -> str | BaseException | None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "it is left waiting"
        return self.outcome


def waiting(calls: Calls) -> int:
    return len(calls.group._waiting)  # noqa: SLF001  # there is no other way to know that somebody waits


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@contextmanager
def busy(calls: Calls) -> Iterator[Submission]:
    """Let a leader be in a call for as long as the block lasts, so that others wait."""
    leader = Submission(partial(calls.group.submit, "first", frozenset()))
    assert calls.inside.wait(PATIENCE)
    try:
        yield leader
    finally:
        calls.go_on.set()


def submit_behind(calls: Calls, *works: tuple[str, Iterable[Hashable], int]) -> list[Submission]:
    """Have pieces of work wait in this order."""
    submissions: list[Submission] = []
    for work, names, weight in works:
        there = waiting(calls)
        submissions.append(Submission(partial(calls.group.submit, work, frozenset(names), weight)))
        until(lambda there=there: waiting(calls) > there)
    return submissions


def test_a_lone_caller_goes_straight_through() -> None:
    calls = Calls()

    assert calls.group.submit("a", frozenset({1})) == "a done"
    assert calls.group.submit("b", frozenset({1})) == "b done"

    assert calls.seen == [["a"], ["b"]]
    assert calls.threads == [threading.current_thread()] * 2


def test_what_waits_shares_the_next_call_in_the_order_in_which_it_came() -> None:
    calls = Calls(held=True)
    with busy(calls) as leader:
        others = submit_behind(calls, *((str(number), {number}, 1) for number in range(10)))

    assert leader.end() == "first done"
    assert [other.end() for other in others] == [f"{number} done" for number in range(10)]
    assert calls.seen == [["first"], [str(number) for number in range(10)]]


def test_pieces_that_name_the_same_never_share_a_call_and_keep_their_order() -> None:
    calls = Calls(held=True)
    with busy(calls):
        others = submit_behind(
            calls, ("a1", "a", 1), ("a2", "a", 1), ("b1", "b", 1), ("a3c1", "ac", 1), ("c2", "c", 1), ("d1", "d", 1)
        )

    assert all(str(other.end()).endswith("done") for other in others)
    assert calls.seen == [["first"], ["a1", "b1", "d1"], ["a2"], ["a3c1"], ["c2"]]


def test_a_call_takes_no_more_than_it_can_carry() -> None:
    calls = Calls(most=10, held=True)
    with busy(calls):
        others = submit_behind(calls, ("4", "a", 4), ("6", "b", 6), ("1", "c", 1), ("99", "d", 99), ("2", "e", 2))

    assert [other.end() for other in others] == ["4 done", "6 done", "1 done", "99 done", "2 done"]
    assert calls.seen == [["first"], ["4", "6"], ["1", "2"], ["99"]]


def test_a_call_takes_a_few_hundred_pieces_at_most() -> None:
    calls = Calls(held=True)
    with busy(calls):
        others = submit_behind(calls, *((str(number), {number}, 1) for number in range(260)))

    assert [other.end() for other in others] == [f"{number} done" for number in range(260)]
    assert [len(call) for call in calls.seen] == [1, 256, 4]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.frozensets(st.sampled_from("abcd"), max_size=3), st.integers(1, 7)), max_size=12))
def test_whatever_waits_is_called_once_within_the_limit_and_never_beside_its_like(
    pieces: list[tuple[frozenset[str], int]],
) -> None:
    calls = Calls(most=6, held=True)
    with busy(calls):
        works = [(str(number), names, weight) for number, (names, weight) in enumerate(pieces)]
        others = submit_behind(calls, *works)

    assert [other.end() for other in others] == [f"{work} done" for work, _, _ in works]
    seen = [[int(work) for work in call] for call in calls.seen[1:]]
    assert sorted(work for call in seen for work in call) == list(range(len(pieces)))
    for call in seen:
        assert call == sorted(call)
        assert len(call) == 1 or sum(pieces[work][1] for work in call) <= 6
        named = [name for work in call for name in pieces[work][0]]
        assert len(named) == len(set(named))
    for name in "abcd":
        with_name = [work for call in seen for work in call if name in pieces[work][0]]
        assert with_name == sorted(with_name)


def test_a_failure_is_everybodys_in_the_call_and_nobody_elses() -> None:
    calls = Calls(held=True)
    failure = calls.failures["b"] = ValueError("no")
    with busy(calls) as leader:
        failed = submit_behind(calls, ("a", "a", 1), ("b", "b", 1), ("c", "c", 1))
        (later,) = submit_behind(calls, ("b2", "b", 1))

    assert leader.end() == "first done"
    outcomes = [one.end() for one in failed]
    assert outcomes[0] is failure
    assert all(isinstance(outcome, SharedFailure) for outcome in outcomes[1:])
    assert outcomes[1] is not outcomes[2]
    assert all(outcome.args == (failure,) for outcome in outcomes[1:] if isinstance(outcome, SharedFailure))
    assert later.end() == "b2 done"
    assert calls.group.submit("a", frozenset("a")) == "a done"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_call_that_answers_too_little_or_too_much_leaves_nobody_waiting(count: int) -> None:
    calls = Calls(held=True)
    answers = [["first done"], ["?"] * count]
    group = calls.group = GroupCommit[str, str](
        lambda works: calls.run(works) and answers.pop(0), most=BIG, after_failure=SharedFailure
    )
    with busy(calls):
        others = submit_behind(calls, ("a", "a", 1), ("b", "b", 1))

    outcomes = [other.end() for other in others]
    assert isinstance(outcomes[0], ValueError)
    assert outcomes[1] == "?" if count > 2 else isinstance(outcomes[1], SharedFailure)
    answers.append(["c done"])
    assert group.submit("c", frozenset()) == "c done"


def test_a_leader_that_is_interrupted_leaves_nobody_waiting() -> None:
    calls = Calls(held=True)
    interruption = calls.failures["a"] = Interruption()
    with busy(calls):
        leader, other = submit_behind(calls, ("a", "a", 1), ("b", "b", 1))
        (later,) = submit_behind(calls, ("a2", "a", 1))

    assert leader.end() is interruption
    outcome = other.end()
    assert isinstance(outcome, SharedFailure)
    assert outcome.args == (interruption,)
    assert later.end() == "a2 done"


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Give a way to interrupt the main thread from another one."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interruption

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident
    assert main is not None
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot signal a thread")


@needs_signals
def test_a_waiter_that_is_interrupted_before_its_work_has_begun_withdraws_it() -> None:
    calls = Calls(held=True)

    def interrupt_and_go_on(interrupt: Callable[[], None]) -> None:
        until(lambda: waiting(calls) == 2)
        interrupt()
        until(lambda: waiting(calls) == 1)
        calls.go_on.set()

    with busy(calls) as leader, interruptible() as interrupt:
        (other,) = submit_behind(calls, ("b", "b", 1))
        helper = threading.Thread(target=interrupt_and_go_on, args=(interrupt,), daemon=True)
        helper.start()
        with pytest.raises(Interruption):
            calls.group.submit("mine", frozenset())
        helper.join(PATIENCE)

    assert leader.end() == "first done"
    assert other.end() == "b done"
    assert calls.seen == [["first"], ["b"]]
    assert calls.group.submit("c", frozenset()) == "c done"


@needs_signals
def test_a_waiter_that_is_interrupted_while_others_do_its_work_holds_nobody_up() -> None:
    calls = Calls(held=True)
    second = threading.Event()

    def run(works: Sequence[str]) -> Sequence[str]:
        outcomes = calls.run(works)
        if "mine" in works:
            assert second.wait(PATIENCE)
        return outcomes

    calls.group = GroupCommit[str, str](run, most=BIG, after_failure=SharedFailure)

    def interrupt_in_the_second_call(interrupt: Callable[[], None]) -> None:
        until(lambda: waiting(calls) == 2)
        calls.go_on.set()
        until(lambda: len(calls.seen) == 2)
        interrupt()

    with busy(calls), interruptible() as interrupt:
        (leader,) = submit_behind(calls, ("b", "b", 1))
        helper = threading.Thread(target=interrupt_in_the_second_call, args=(interrupt,), daemon=True)
        helper.start()
        with pytest.raises(Interruption):
            calls.group.submit("mine", frozenset())
        helper.join(PATIENCE)
        second.set()

    assert leader.end() == "b done"
    assert calls.seen == [["first"], ["b", "mine"]]
    assert calls.group.submit("c", frozenset()) == "c done"


def interrupt_at(step: int, where: list[str]) -> Callable[[FrameType, str, Any], Any]:
    """Make a trace function that raises once, at that line of group commit, and then says which one it was.

    Python itself cannot be interrupted where a ``with`` statement gives its lock back, nor by the mere word ``try``.
    """
    left = step

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401  # as sys.settrace wants it
        nonlocal left
        if frame.f_code.co_filename != _group_commit.__file__:
            return None
        line = linecache.getline(_group_commit.__file__, frame.f_lineno).strip()
        if event == "line" and not line.startswith(("with ", "try:")) and not where:
            left -= 1
            if left < 0:
                where.append(f"{frame.f_code.co_name}: {line}")
                raise Interruption
        return trace

    return trace


def lead_and_be_interrupted(step: int) -> list[str]:
    """Interrupt a leader at a step, with others in its call and behind it; return where, and nothing at its end."""
    where: list[str] = []
    calls = Calls(held=True)

    def lead() -> str:
        sys.settrace(interrupt_at(step, where))
        try:
            return calls.group.submit("mine", frozenset("a"))
        finally:
            sys.settrace(None)

    with busy(calls) as first:
        leader = Submission(lead)
        until(lambda: waiting(calls) == 1 or not leader.thread.is_alive())
        others = submit_behind(calls, ("b", "b", 1), ("c", "c", 1), ("a2", "a", 1))
    outcomes = [one.end() for one in (leader, *others)]

    assert first.end() == "first done"
    assert all(isinstance(outcome, str | Interruption | SharedFailure) for outcome in outcomes), (where, outcomes)
    assert isinstance(outcomes[0], Interruption) is bool(where)
    assert calls.group.submit("last", frozenset("abc")) == "last done"
    return where


def test_a_leader_may_be_interrupted_at_any_step_and_nobody_is_left_waiting() -> None:
    steps = 0
    while lead_and_be_interrupted(steps):
        steps += 1

    assert steps > 30


def test_every_one_of_many_threads_gets_its_own_outcome() -> None:
    refused = SharedFailure("refused")

    def run(works: Sequence[str]) -> Sequence[str]:
        if any(work.endswith("7") for work in works) and len(works) > 1:
            raise refused
        time.sleep(0.0002)
        return [f"{work} done" for work in works]

    group = GroupCommit[str, str](run, most=40, after_failure=lambda error: SharedFailure(*error.args))

    def submit_many(thread: int) -> list[str]:
        outcomes: list[str] = []
        for number in range(100):
            work = f"{thread}-{number}"
            try:
                outcome = group.submit(work, frozenset({number % 5, thread}), weight=1 + number % 3)
            except SharedFailure as error:
                assert error.args == refused.args  # noqa: PT017  # most calls do not fail
                continue
            assert outcome == f"{work} done"
            outcomes.append(outcome)
        return outcomes

    outcomes = in_threads([lambda thread=thread: submit_many(thread) for thread in range(32)])

    assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
    assert sum(len(outcome) for outcome in outcomes if isinstance(outcome, list)) > 320
    assert group.submit("last", frozenset()) == "last done"


def test_what_a_thread_submits_in_the_middle_of_something_else_is_done_at_once() -> None:
    def run(works: Sequence[str]) -> Sequence[str]:
        return [group.submit("inner", frozenset()) if work == "outer" else f"{work} done" for work in works]

    group = GroupCommit[str, str](run, most=BIG, after_failure=SharedFailure)

    (outcome,) = in_threads([partial(group.submit, "outer", frozenset[Hashable]())])

    assert outcome == "inner done"
    assert not group.is_busy
