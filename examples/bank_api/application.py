"""The application: handlers, what they need, what they do with errors, and the page that describes it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from attrs import frozen
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from esbank.backends.urls import Store, open_store

from .accounts import AccountController
from .description import CONFIG, PLUGINS
from .lists import list_accounts, list_transactions, show_health
from .parameters import caller_of
from .problems import HANDLERS
from .service import Service
from .streams import Streams

__all__ = ["Settings", "create_application", "end_streams"]

_LONGEST_BODY: Final = 64 * 1024
_SOON: Final = 3.0
"""How many seconds to wait for a connection: who asks is better told to come again than left to wait."""


@frozen
class Settings:
    """What an application is made with; it can be sent to another process.

    `threads` is how many requests of a process may be at work in the store at once; the others wait for their turn.
    """

    store: str
    threads: int = 40
    keep_alive: float = 15.0
    longest_stream: float = 3600.0

    def open_store(self) -> Store:
        """Open the store; raises as ``esbank.backends.urls.open_store`` does."""
        return open_store(self.store, connect_timeout=_SOON)


def create_application(settings: Settings) -> Litestar:
    """Make the application of one process; it opens its store when it starts, and closes it when it ends."""

    @asynccontextmanager
    async def running(application: Litestar) -> AsyncGenerator[None]:
        # Python's own pool has a few threads more than processors; those who wait for a disk need many.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.threads, "request"))
        with (
            settings.open_store() as store,
            Service(store) as service,
            Streams(service, keep_alive=settings.keep_alive, longest=settings.longest_stream) as streams,
        ):
            application.state.update({"service": service, "streams": streams})
            yield

    return Litestar(
        [AccountController, list_accounts, list_transactions, show_health],
        dependencies={
            "service": Provide(_service, sync_to_thread=False),
            "streams": Provide(_streams, sync_to_thread=False),
            "caller": Provide(caller_of, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        lifespan=[running],
        logging_config=None,  # it would add handlers of its own; ours log by the standard library
        openapi_config=CONFIG,
        plugins=[*PLUGINS],
        request_max_body_size=_LONGEST_BODY,
    )


def end_streams(application: Litestar) -> None:
    """Let the streams of an application come to their end, because it is about to stop."""
    streams: Streams = application.state.streams
    streams.end()


def _service(state: State) -> Service:
    service: Service = state.service
    return service


def _streams(state: State) -> Streams:
    streams: Streams = state.streams
    return streams
