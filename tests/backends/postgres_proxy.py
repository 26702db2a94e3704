"""A connection to a PostgreSQL server that fails when a test wants it to."""

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_READY: Final = b"Z\x00\x00\x00\x05"
"""What the server says when it has done all that was asked for, before one letter for the state of the transaction."""


class Proxy:
    """Stands before a server. Loses the next requests that contain some bytes, or the answers to them."""

    def __init__(self, dsn: str) -> None:
        given = conninfo_to_dict(dsn)
        self._server = (str(given.get("host", "localhost")), int(given.get("port") or 5432))
        self._folder = Path(tempfile.mkdtemp(prefix="esbank-proxy-"))
        self.dsn = make_conninfo(dsn, host=str(self._folder), port=5432, sslmode="disable")
        self._marker = b""
        self._left = 0
        self._what: Literal["request", "answer"] = "request"
        self._then: Callable[[], object] = list
        self.lost = 0
        self._mutex = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._folder / ".s.PGSQL.5432"))
        self._listening.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_request(self, marker: bytes, *, times: int = 1, then: Callable[[], object] = list) -> None:
        """Close the connection instead of handing on a request that has `marker`; do something before."""
        self._marker, self._left, self._what, self._then = marker, times, "request", then

    def lose_answer(self, marker: bytes, *, times: int = 1, then: Callable[[], object] = list) -> None:
        """Close the connection instead of handing on the answer to a request that has `marker`; do something before."""
        self._marker, self._left, self._what, self._then = marker, times, "answer", then

    def close(self) -> None:
        for one in (self._listening, *self._sockets):
            _close(one)
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = self._connect()
                self._sockets += (client, server)
                losing = threading.Event()
                threading.Thread(target=self._hand_on_requests, args=(client, server, losing), daemon=True).start()
                threading.Thread(target=self._hand_on_answers, args=(client, server, losing), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._server
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _hand_on_requests(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        try:
            with suppress(OSError):
                while data := client.recv(1 << 20):
                    if self._is_to_lose(data):
                        if self._what == "request":
                            self._then()
                            break
                        losing.set()
                    server.sendall(data)
        finally:
            _close(server)
            _close(client)

    def _hand_on_answers(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        answer = b""
        try:
            with suppress(OSError):
                while data := server.recv(1 << 20):
                    if losing.is_set():
                        answer += data
                        if answer[-6:-1] == _READY:
                            self._then()
                            break
                    else:
                        client.sendall(data)
        finally:
            _close(client)
            _close(server)

    def _is_to_lose(self, data: bytes) -> bool:
        with self._mutex:
            if self._left and self._marker in data:
                self._left -= 1
                self.lost += 1
                return True
        return False


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
