"""``copy``: move a store into another database, or into a file and out of it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from esbank.cli._stores import open_source, open_target
from esbank.cli._terminal import count, progress_bar, say
from esbank.transfer import Copy, copy_events

__all__ = ["copy"]


def copy(
    source: Annotated[str, Parameter(name="SOURCE", help="A STORE, or a file of events, whose name ends in .jsonl.")],
    target: Annotated[str, Parameter(name="TARGET", help="The same; it is made when it is not there.")],
    /,
) -> int:
    """Copy the events of a store, or go on with a copy that was interrupted, and compare both.

    Ids, versions, positions, times, digests, order and what was appended together stay as they are. Views and snapshots
    are left behind.
    """
    with open_source(source) as opened, open_target(target, opened) as made, progress_bar() as bar:
        copying = bar.add_task("Copying", total=opened.head())
        comparing = bar.add_task("Comparing", total=opened.head())
        tasks = {"copying": copying, "comparing": comparing}
        done = copy_events(
            opened, made, progress=lambda step, reached, last: bar.update(tasks[step], completed=reached, total=last)
        )
    _report(done)
    return 0 if done.ok else 1


def _report(done: Copy) -> None:
    say(f"{count(done.copied, 'event')} copied.")
    comparison = done.comparison
    if comparison.difference is not None:
        say(f"different: {comparison.difference}", style="red")
        verb = "is" if comparison.events == 1 else "are"
        say(f"{count(comparison.events, 'event')} before that {verb} the same. Keep both, and find out why.")
        return
    compared = f"{count(comparison.events, 'event')} in {count(comparison.appends, 'append')}"
    say(f"{compared}: the target holds what the source held.", style="green")
