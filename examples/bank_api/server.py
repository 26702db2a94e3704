"""One process that serves: uvicorn, with streams that end when it is told to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from litestar import Litestar
from typing_extensions import override

from .application import Settings, create_application, end_streams

__all__ = ["Server", "listen", "serving"]

_BACKLOG: Final = 2048
_LONGEST_GOODBYE: Final = 30
"""How many seconds requests have to end once the server is told to stop."""


class Server(uvicorn.Server):
    """Serves an application on a socket.

    uvicorn waits for the requests that are open before it lets the application know that it is to end, and a stream
    would be open for ever. So the application is told first.
    """

    def __init__(self, settings: Settings) -> None:
        self._application: Litestar = create_application(settings)
        super().__init__(
            uvicorn.Config(
                self._application,
                lifespan="on",
                ws="none",
                log_config=None,  # whoever runs it says what is to be logged
                access_log=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_LONGEST_GOODBYE,
            )
        )

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, and then all the rest."""
        end_streams(self._application)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Open a socket for servers to share; port 0 is any that is free. Raises ``OSError``."""
    # Said to be TCP, or asyncio would not turn Nagle's algorithm off, and each answer would wait 40 ms for nothing.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


@contextmanager
def serving(settings: Settings, host: str = "127.0.0.1", port: int = 0) -> Generator[str]:
    """Serve in a thread for as long as the block lasts, as tests do; give the URL."""
    listening = listen(host, port)
    server = Server(settings)
    thread = threading.Thread(target=server.run, args=([listening],), name="server")
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            if not thread.is_alive():
                raise RuntimeError("the server did not start; the log says why")
        yield f"http://{host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
