"""Server-sent events: an account's events as they come, to any number of listeners.

One thread of a process follows the log and wakes the listeners of the account that has changed. So a listener costs a
task, and no thread while it waits. What it reads is always the account's stream, from the version that it has seen: to
be woken once too often, or late, does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Final, Self

import msgspec
from litestar.concurrency import sync_to_thread
from litestar.response import ServerSentEventMessage

from esbank import StorageError
from esbank.bank import BankAccount

from .answers import AccountEvent
from .service import Service

__all__ = ["Streams"]

_log: Final = logging.getLogger("bank_api")
_PAGE: Final = 100
_PAUSE: Final = 1.0
_RECONNECT: Final = 1000
"""How many milliseconds a browser is to wait before it asks again."""


class Streams:
    """The streams of events of one process, on one event loop, and the thread that wakes them.

    A comment goes out after `keep_alive` seconds without an event, so that nobody in between takes the line for dead.
    A stream ends after `longest` seconds: its listener asks again, perhaps another process.
    """

    def __init__(self, service: Service, *, keep_alive: float = 15.0, longest: float = 3600.0) -> None:
        self._service = service
        self._keep_alive = keep_alive
        self._longest = longest
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._ended = threading.Event()
        store = service.store
        self._subscription = store.subscribe(after=store.head(), categories=[BankAccount.category])
        self._thread = threading.Thread(target=self._follow, name="streams")
        self._thread.start()

    async def of(self, account_id: str, *, after: int) -> AsyncGenerator[ServerSentEventMessage]:
        """Send the events of an account after a version, and then each new one, with its version as the id."""
        end = self._loop.time() + self._longest
        yield ServerSentEventMessage(data=None, retry=_RECONNECT)
        with self._listening(account_id) as changed:
            while not self._ended.is_set() and (left := end - self._loop.time()) > 0:
                changed.clear()
                try:
                    envelopes = await sync_to_thread(self._service.events, account_id, after=after, limit=_PAGE)
                except StorageError as error:
                    # It must not end: a browser asks again once, and takes a 503 for the last word.
                    _log.warning("a listener waits for the store: %s", error)
                    yield ServerSentEventMessage(data=None, comment="the store cannot be reached now")
                    await _is_set(changed, min(_PAUSE, left))
                    continue
                for envelope in envelopes:
                    after = envelope.version
                    data = msgspec.json.encode(AccountEvent.of(envelope))
                    yield ServerSentEventMessage(data, event=envelope.type, id=after)
                if not envelopes and not await _is_set(changed, min(self._keep_alive, left)):
                    yield ServerSentEventMessage(data=None, comment="nothing new")

    def end(self) -> None:
        """Let all streams come to their end; for the event loop to call."""
        self._ended.set()
        for account_id in list(self._waiting):
            self._wake(account_id)

    def close(self) -> None:
        """End the streams, and follow the log no longer."""
        self.end()
        self._subscription.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextmanager
    def _listening(self, account_id: str) -> Generator[asyncio.Event]:
        """Give what is set when there may be something new."""
        changed = asyncio.Event()
        others = self._waiting.setdefault(account_id, set())
        others.add(changed)
        try:
            yield changed
        finally:
            others.discard(changed)
            if not others:
                self._waiting.pop(account_id, None)

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                for event in self._subscription:
                    if event.stream.key in self._waiting:
                        self._loop.call_soon_threadsafe(self._wake, event.stream.key)
            except StorageError:
                _log.exception("listeners are not told of new events for a moment")
                self._ended.wait(_PAUSE)

    def _wake(self, account_id: str) -> None:
        for changed in self._waiting.get(account_id, ()):
            changed.set()


async def _is_set(event: asyncio.Event, timeout: float) -> bool:  # noqa: ASYNC109 - what follows is a timeout
    """Wait for an event; tell whether it came in time."""
    try:
        async with asyncio.timeout(timeout):
            return await event.wait()
    except TimeoutError:
        return False
