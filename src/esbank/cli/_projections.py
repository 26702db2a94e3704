"""``projections``: the views of projectors, from outside of the program that queries them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Final, TypeAlias, cast

from cyclopts import App, Parameter

from esbank.cli._stores import StoreArgument, open_store
from esbank.cli._targets import load_target
from esbank.cli._terminal import progress_bar, say, show_table
from esbank.projection import ProjectionRunner, Projector, ProjectorState, ProjectorStatus

__all__ = ["app"]

app: Final = App(
    name="projections",
    help="See where projectors are, run them, let them go on, rebuild their views, skip an event.",
    help_epilogue="Each command shows where the projectors are, and exits with 1 if one has stopped or is out of date.",
)

Targets: TypeAlias = Annotated[
    str,
    Parameter(name="TARGET", help="A projector, as module:name: its class, an object of it, or a list of these."),
]
Views: TypeAlias = Annotated[
    str | None, Parameter(help="The store that has the views, where it is not the one with the events.")
]
Only: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(name="--only", negative="", help="The name of a projector; give it several times for several."),
]

_STYLES: Final = {
    ProjectorState.CURRENT: "green",
    ProjectorState.BEHIND: "yellow",
    ProjectorState.NEW: "yellow",
    ProjectorState.RETRYING: "yellow",
    ProjectorState.STOPPED: "red",
    ProjectorState.OUTDATED: "red",
}


@app.command
def status(store: StoreArgument, /, *targets: Targets, views: Views = None) -> int:
    """Show where each projector is."""
    with _runner(store, targets, views) as runner:
        return _show(runner.status())


@app.command
def run(
    store: StoreArgument,
    /,
    *targets: Targets,
    views: Views = None,
    rebuild_outdated: Annotated[bool, Parameter(help="Rebuild first what other versions have made.")] = False,
) -> int:
    """Keep all views up to date until it is told to stop, by Ctrl-C or SIGTERM."""
    with _runner(store, targets, views) as runner, _until_told_to_stop() as stop:
        say("Running. Stop with Ctrl-C.")
        runner.run(stop, rebuild_outdated=rebuild_outdated)
        return _show(runner.status())


@app.command
def rebuild(
    store: StoreArgument,
    /,
    *targets: Targets,
    views: Views = None,
    only: Only = (),
    resume: Annotated[bool, Parameter(help="Go on with a rebuild that was interrupted.")] = False,
) -> int:
    """Make views anew from the first event, while readers keep the old ones."""
    with _runner(store, targets, views) as runner:
        with _progress("Rebuilding") as progress:
            runner.rebuild(*only, resume=resume, progress=progress)
        return _show(runner.status())


@app.command
def resume(store: StoreArgument, /, *targets: Targets, views: Views = None, only: Only = ()) -> int:
    """Let projectors that have stopped try again: what failed was mended."""
    with _runner(store, targets, views) as runner:
        runner.resume(*only)
        return _show(runner.status())


@app.command
def skip(
    store: StoreArgument,
    /,
    *targets: Targets,
    position: Annotated[int, Parameter(help="The position of the event, as the status shows it.")],
    reason: Annotated[str, Parameter(help="Why; it is kept.")],
    by: Annotated[str, Parameter(help="Who wants that; it is kept.")],
    views: Views = None,
    only: Annotated[str | None, Parameter(help="The name of the projector, where there are several.")] = None,
) -> int:
    """Let a projector pass over one event, on purpose."""
    with _runner(store, targets, views) as runner:
        runner.skip(position, reason, projector=only, by=by)
        return _show(runner.status())


@contextmanager
def _runner(store: str, targets: Sequence[str], views: str | None) -> Generator[ProjectionRunner]:
    projectors = list(_projectors(targets))
    with open_store(store) as events:
        if views is None:
            yield ProjectionRunner(events, projectors)
            return
        with open_store(views) as other:
            yield ProjectionRunner(events, projectors, views=other)


def _projectors(targets: Sequence[str]) -> Generator[Projector]:
    if not targets:
        raise ValueError("name the projectors, as in esbank.bank:AccountDetails")
    for target in targets:
        found: object = load_target(target)
        several = cast("Iterable[object]", found) if isinstance(found, Iterable) else (found,)
        for one in several:
            if isinstance(one, Projector):
                yield one
            elif isinstance(one, type) and issubclass(one, Projector):
                yield _object_of(one, target)
            else:
                raise ValueError(f"{target} is no projector: {one!r:.60}")  # noqa: TRY004 - a mistake on the command line


def _object_of(projector: type[Projector], target: str) -> Projector:
    try:
        return projector()
    except TypeError as error:
        raise ValueError(f"{target}: {error}; name an object of the class") from error


@contextmanager
def _until_told_to_stop() -> Generator[threading.Event]:
    """Set the event on Ctrl-C and SIGTERM, so that what is being done is finished."""
    stop = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {one: signal.signal(one, tell) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _progress(what: str) -> Generator[Callable[[int, int], None]]:
    with progress_bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda reached, last: bar.update(task, completed=reached, total=last)


def _show(found: Sequence[ProjectorStatus]) -> int:
    """Show where projectors are; return the exit code that this deserves."""
    show_table(
        ("projector", "state", "position", "head", "behind", "for", "untold", "skipped"),
        [
            (
                (
                    one.projector,
                    one.state.value,
                    f"{one.position or 0:,}",
                    f"{one.head or 0:,}",
                    f"{one.behind:,}",
                    _duration(one.seconds_behind),
                    f"{one.untold:,}",
                    f"{one.skipped:,}",
                ),
                _STYLES[one.state],
            )
            for one in found
        ],
        numbers_from=2,
    )
    for one in found:
        if one.failed_position is not None:
            say(f"{one.projector} failed at position {one.failed_position:,}: {one.error}", style="red")
    return 1 if any(one.state in {ProjectorState.STOPPED, ProjectorState.OUTDATED} for one in found) else 0


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    if seconds < 7200:  # noqa: PLR2004 - two hours
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
