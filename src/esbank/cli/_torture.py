"""``torture``: whether a store keeps its promises on this disk or this database, whatever is killed."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from esbank.cli._stores import open_store
from esbank.cli._terminal import progress_bar, say
from esbank.testing.postgres import PostgresServer
from esbank.testing.torture import torture as torture_store

__all__ = ["torture"]

_OWN_SERVER: Final = "embedded-postgres"


def torture(
    store: Annotated[
        str,
        Parameter(
            name="STORE",
            help="A new store: path of a SQLite file, or URL; embedded-postgres starts a server, and kills it too.",
        ),
    ],
    /,
    *,
    seconds: Annotated[float, Parameter(help="For how long.")] = 20.0,
    processes: Annotated[int, Parameter(help="How many processes write, with three threads each.")] = 4,
    seed: Annotated[int | None, Parameter(help="What decides what is appended; by default chance.")] = None,
    records: Annotated[
        Path | None,
        Parameter(help="A folder for what everybody puts down; by default it is kept only if something was found."),
    ] = None,
) -> int:
    """Let processes race for a new store while they are killed with SIGKILL, and check that it keeps its promises.

    Others follow the log, and keep a view. Everything that was acknowledged is put down outside of the store. In the
    end all is compared. What is appended stays in the store, so name one that is not there yet.
    """
    logging.basicConfig(handlers=[logging.NullHandler()])  # a server that is killed makes its driver talk
    with _ended_in_good_order(), _server(store) as (where, server), _progress() as progress:
        open_store(where, create=True).close()
        verdict = torture_store(
            partial(open_store, where),
            seconds=seconds,
            processes=processes,
            seed=seed,
            records=records,
            server=server,
            progress=progress,
        )
    say(str(verdict), style="green" if verdict.ok else "red")
    return 0 if verdict.ok else 1


@contextmanager
def _ended_in_good_order() -> Generator[None]:
    """Take SIGTERM for Ctrl-C, so that processes, server and records go away."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _server(store: str) -> Generator[tuple[str, PostgresServer | None]]:
    """Start a server if one is asked for; it syncs what it writes, as it is going to be killed."""
    if store != _OWN_SERVER:
        yield store, None
        return
    with PostgresServer(settings={"fsync": "on", "full_page_writes": "on"}) as server:
        yield server.dsn, server


@contextmanager
def _progress() -> Generator[Callable[[str, float, float], object]]:
    with progress_bar() as bar:
        task = bar.add_task("Torturing", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=int(done), total=int(total))
