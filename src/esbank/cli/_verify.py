"""``verify``: whether a store still holds what was written."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from esbank.cli._stores import StoreArgument, open_store
from esbank.cli._terminal import count, progress_bar, say
from esbank.verification import Head, Verification
from esbank.verification import verify as verify_store

__all__ = ["verify"]


def verify(
    store: StoreArgument,
    /,
    *,
    head: Annotated[str | None, Parameter(help="What an earlier run has printed, to notice what is missing.")] = None,
) -> int:
    """Compute every digest of a store again, and name the first broken event of each stream.

    Prints the head of the store: keep it where nobody who can write to the store can reach it, and give it to a later
    run.
    """
    expected = None if head is None else Head.parse(head.removeprefix("head "))
    with open_store(store) as opened, progress_bar() as bar:
        task = bar.add_task("Verifying", total=opened.head())
        verification = verify_store(
            opened, head=expected, progress=lambda reached, _last: bar.update(task, completed=reached)
        )
    _report(verification)
    return 0 if verification.ok else 1


def _report(verification: Verification) -> None:
    for event in verification.broken:
        say(f"broken: {event}", style="red")
    if verification.head_problem is not None:
        say(f"broken: {verification.head_problem}", style="red")
    counted = f"{count(verification.events, 'event')} in {count(verification.streams, 'stream')}"
    if not verification.ok:
        say(f"{counted}: not as they were written. Keep the store as it is, and find out why.")
        return
    say(f"{counted}: all as they were written.", style="green")
    if verification.head is not None:
        say(f"head {verification.head}")
