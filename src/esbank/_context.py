"""Who, why and in which conversation: said once around some commands, and kept with every event of theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from attrs import evolve
from typing_extensions import override

from esbank._json import Json
from esbank.store import NO_METADATA, Metadata

__all__ = ["context", "in_context"]

_F = TypeVar("_F", bound=Callable[..., Any])

_said: Final[ContextVar[tuple[Metadata, ...]]] = ContextVar("esbank.context", default=())
"""What the blocks around say, the outermost first."""


class context(ContextDecorator):  # noqa: N801 - it is used like a function
    """Say who acts, in which conversation and because of what, for all events that are made inside the block.

    ::

        with esbank.context(actor="alice", correlation_id=request.id):
            accounts.execute("acc-001", Deposit(Decimal(5)))

    Blocks nest: the inner one adds to the outer one, and wins where both speak. What a command's own `metadata` say
    wins over both. Each thread and each asyncio task has its own; a task begins with that of whoever made it, a thread
    without any. Works on a function too, but not on one that pauses (``async def``, or with ``yield``): that must have
    a block of its own. Raises ``TypeError`` and ``ValueError`` for what cannot be stored.
    """

    def __init__(
        self,
        *,
        actor: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        extra: Mapping[str, Json] | None = None,
    ) -> None:
        self._inner = Metadata(correlation_id, causation_id, actor, extra=extra or {})
        self._inner.to_json()  # refused here, rather than at the first event

    def __enter__(self) -> None:
        _said.set((*_said.get(), self._inner))

    def __exit__(self, *exc_info: object) -> None:
        # Taken out, not reset: blocks in generators end in any order, and may end in another context than they began.
        said = list(_said.get())
        for index in reversed(range(len(said))):
            if said[index] is self._inner:
                del said[index]
                break
        _said.set(tuple(said))

    @override
    def __call__(self, func: _F) -> _F:
        if inspect.iscoroutinefunction(func) or inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(f"a context cannot go on {func.__qualname__}, which pauses: write a with block inside it")
        return super().__call__(func)


def in_context(metadata: Metadata) -> Metadata:
    """Fill in what `metadata` do not say themselves."""
    for said in reversed(_said.get()):
        metadata = said if metadata is NO_METADATA else _filled_in(metadata, said)
    return metadata


def _filled_in(metadata: Metadata, around: Metadata) -> Metadata:
    return evolve(
        metadata,
        correlation_id=around.correlation_id if metadata.correlation_id is None else metadata.correlation_id,
        causation_id=around.causation_id if metadata.causation_id is None else metadata.causation_id,
        actor=around.actor if metadata.actor is None else metadata.actor,
        extra={**around.extra, **metadata.extra},
    )
