"""Group commit: what waits for the database goes to it together, so that many share the price of one commit.

The first to come leads: it takes what waits behind it, makes one call for all, and hands each its outcome. Whoever
comes meanwhile waits, and the first of those leads next. So a lone caller goes straight through, and nobody waits for
a clock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["GroupCommit"]

W = TypeVar("W")
R = TypeVar("R")

_MOST: Final = 256


class _Waiting(Generic[W, R]):
    """A piece of work on its way. Its lock is opened when its thread has something to do: to lead, or to go home."""

    __slots__ = ("error", "follower", "group", "has_gone", "is_done", "names", "outcome", "turn", "weight", "work")

    outcome: R

    def __init__(self, work: W, names: frozenset[Hashable], weight: int) -> None:
        self.work = work
        self.names = names
        self.weight = weight
        self.group: Sequence[_Waiting[W, R]] = ()
        self.follower: _Waiting[W, R] | None = None
        self.is_done = False
        self.error: BaseException | None = None
        self.has_gone = False
        self.turn = threading.Lock()
        self.turn.acquire()

    def wake(self) -> None:
        """Let its thread go on; no harm is done to one that is awake."""
        if self.turn.locked():
            self.turn.release()


class GroupCommit(Generic[W, R]):
    """Lets threads share calls of `run`, which takes several pieces of work and returns an outcome for each, in order.

    Two pieces that name the same thing never share a call, and go in the order in which they came. A call takes no more
    than `most` by weight, but one piece at least. When `run` raises, whoever leads gets that, and each of the others
    what `after_failure` makes of it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[W]], Sequence[R]],
        *,
        most: int,
        after_failure: Callable[[BaseException], BaseException],
    ) -> None:
        self._run = run
        self._most = most
        self._after_failure = after_failure
        self._mutex = threading.Lock()
        self._waiting: deque[_Waiting[W, R]] = deque()
        self._leader: _Waiting[W, R] | None = None
        self._submitting: set[int] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a piece of work that is submitted now would have to wait."""
        return self._leader is not None

    def submit(self, work: W, names: frozenset[Hashable], weight: int = 1) -> R:
        """Have a piece of work done, alone or with others; return its outcome."""
        thread = threading.get_ident()
        if thread in self._submitting:
            # In a signal handler: what its thread waits for may wait for its thread.
            (outcome,) = self._run([work])
            return outcome
        try:
            self._submitting.add(thread)
            return self._submit(work, names, weight)
        finally:
            self._submitting.discard(thread)

    def _submit(self, work: W, names: frozenset[Hashable], weight: int) -> R:
        mine: _Waiting[W, R] = _Waiting(work, names, weight)
        try:
            with self._mutex:
                if self._leader is None:  # nobody waits either, and it goes alone
                    mine.group = [mine]
                    self._leader = mine
                else:
                    self._waiting.append(mine)
            if self._leader is not mine:
                mine.turn.acquire()
            if not mine.is_done:
                self._lead(mine)
        except BaseException as error:
            mine.error = error
            raise
        finally:
            try:
                self._leave(mine)
            except BaseException:  # an interrupt
                self._leave(mine)
                raise
        if mine.error is not None:
            raise mine.error
        return mine.outcome

    def _lead(self, mine: _Waiting[W, R]) -> None:
        if not mine.group:
            with self._mutex:
                self._take(mine)
        outcomes = self._run([one.work for one in mine.group])
        for one, outcome in zip(mine.group, outcomes, strict=True):
            one.outcome = outcome
            one.is_done = True

    def _take(self, mine: _Waiting[W, R]) -> None:
        """Take from those that wait, in their order, what may go together; the first is the leader's own."""
        group: list[_Waiting[W, R]] = []
        left: deque[_Waiting[W, R]] = deque()
        names: set[Hashable] = set()
        weight = 0
        for one in self._waiting:
            fits = len(group) < _MOST and weight + one.weight <= self._most and names.isdisjoint(one.names)
            if fits or not group:
                group.append(one)
                weight += one.weight
            else:
                left.append(one)
            names |= one.names
        mine.group = group
        self._waiting = left

    def _leave(self, mine: _Waiting[W, R]) -> None:
        """Let the others go on, however this ends: the next of those that have shared the call, and the next leader.

        Each wakes the one after it: all at once would fight for the interpreter. An interrupt may come anywhere, so all
        of this may be done twice.
        """
        self._settle(mine)
        with self._mutex:
            mine.has_gone = True
            if mine in self._waiting:  # interrupted before anybody has begun it
                self._waiting.remove(mine)
            if self._leader is mine:
                self._leader = self._waiting[0] if self._waiting else None
            if self._leader is not None:
                self._leader.wake()
            follower = mine.follower
            while follower is not None and follower.has_gone:
                follower = follower.follower
            if follower is not None:
                follower.wake()

    def _settle(self, mine: _Waiting[W, R]) -> None:
        """See that all that have shared a call with its leader have an answer, and a follower to wake."""
        before = mine
        for one in mine.group:
            if one is mine:
                continue
            if not one.is_done:
                one.error = self._after_failure(mine.error or KeyboardInterrupt())
                one.is_done = True
            before.follower = one
            before = one
