"""When to take a snapshot of an aggregate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from attrs import field, frozen
from typing_extensions import override

__all__ = ["ByHand", "EveryNEvents", "NoSnapshots", "OnEvents", "SnapshotPolicy"]


class SnapshotPolicy(ABC):
    """Says after an append whether it is time for a snapshot; ``a | b`` takes one when either of them would."""

    @abstractmethod
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        """Tell whether to take a snapshot now.

        `last` is the version of the snapshot at hand, 0 when there is none; `version` the version that the stream has
        come to, and `events` what was appended to come there.
        """

    def __or__(self, other: SnapshotPolicy) -> SnapshotPolicy:
        return _Either(self, other)


@frozen
class _Either(SnapshotPolicy):
    first: SnapshotPolicy
    second: SnapshotPolicy

    @override
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        return self.first.is_due(last=last, version=version, events=events) or self.second.is_due(
            last=last, version=version, events=events
        )


def _positive(_instance: object, _attribute: object, value: int) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"EveryNEvents takes an int from 1, not {value!r}")


@frozen
class EveryNEvents(SnapshotPolicy):
    """Take one as soon as `n` events have come since the last: a load then never replays more than `n` events.

    Raises ``ValueError`` for an `n` below 1.
    """

    n: int = field(validator=_positive)

    @override
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        """Tell whether `n` events have come since the snapshot at hand."""
        return version - last >= self.n


@frozen(init=False)
class OnEvents(SnapshotPolicy):
    """Take one as soon as an event of one of these classes has come, such as the one that closes the books."""

    classes: tuple[type, ...]

    def __init__(self, *classes: type) -> None:
        if not classes or not all(isinstance(cls, type) for cls in classes):
            raise TypeError(f"OnEvents takes classes of events, as in OnEvents(AccountClosed), not {classes!r}")
        object.__setattr__(self, "classes", classes)

    @override
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        """Tell whether one of the events is of one of the classes."""
        return any(isinstance(event, self.classes) for event in events)


@frozen
class ByHand(SnapshotPolicy):
    """Take one when ``Repository.snapshot`` is called, and else only in place of one that has become useless."""

    @override
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        """Say no."""
        return False


@frozen
class NoSnapshots(SnapshotPolicy):
    """Take none, and use none: right for streams that stay short."""

    @override
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        """Say no."""
        return False
