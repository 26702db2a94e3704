"""Who, why and in which conversation: said once around some commands, and kept with every event of theirs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from attrs import evolve

from esbank._json import Json
from esbank.store import NO_METADATA, Metadata

__all__ = ["context", "in_context"]

_current: Final[ContextVar[Metadata]] = ContextVar("esbank.context", default=NO_METADATA)


@contextmanager
def context(
    *,
    actor: str | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    extra: Mapping[str, Json] | None = None,
) -> Generator[None]:
    """Say who acts, in which conversation and because of what, for all events that are made inside the block.

    ::

        with esbank.context(actor="alice", correlation_id=request.id):
            accounts.execute("acc-001", Deposit(Decimal(5)))

    Blocks nest: the inner one adds to the outer one, and wins where both speak. What a command's own `metadata` say
    wins over both. Each thread and each asyncio task has its own; a task begins with that of whoever made it, a thread
    without any. Works as a decorator too. Raises ``TypeError`` and ``ValueError`` for what cannot be stored.
    """
    inner = Metadata(correlation_id, causation_id, actor, extra=extra or {})
    inner.to_json()  # refused here, rather than at the first event
    token = _current.set(in_context(inner))
    try:
        yield
    finally:
        _current.reset(token)


def in_context(metadata: Metadata) -> Metadata:
    """Fill in what `metadata` do not say themselves."""
    around = _current.get()
    if around is NO_METADATA:
        return metadata
    if metadata is NO_METADATA:
        return around
    return evolve(
        metadata,
        correlation_id=around.correlation_id if metadata.correlation_id is None else metadata.correlation_id,
        causation_id=around.causation_id if metadata.causation_id is None else metadata.causation_id,
        actor=around.actor if metadata.actor is None else metadata.actor,
        extra={**around.extra, **metadata.extra},
    )
