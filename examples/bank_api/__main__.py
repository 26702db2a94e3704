"""Serve the bank: ``python -m examples.bank_api [--store FILE-OR-URL] [--host HOST] [--port PORT] [--workers N]``."""

from __future__ import annotations

import argparse
import sys

from esbank import StorageError

from .application import Settings
from .server import listen
from .workers import log_to_terminal, serve, serve_in_processes


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m examples.bank_api", description="Serve the bank over HTTP.")
    parser.add_argument("--store", default="bank.db", help="a SQLite file, or postgresql://host/database")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; nobody proves here who they are")
    parser.add_argument("--port", type=int, default=8080, help="0 is any that is free")
    parser.add_argument("--workers", type=int, default=1, help="how many processes")
    parser.add_argument("--keep-alive", type=float, default=15.0, metavar="SECONDS", help="between signs of life")
    parser.add_argument(
        "--longest-stream", type=float, default=3600.0, metavar="SECONDS", help="until it is to be asked for again"
    )
    arguments = parser.parse_args()
    if arguments.workers < 1:
        parser.error(f"{arguments.workers} processes serve nobody")
    log_to_terminal()
    settings = Settings(arguments.store, keep_alive=arguments.keep_alive, longest_stream=arguments.longest_stream)
    try:
        settings.open_store().close()  # so that what is wrong with it is said once, and by no worker
        listening = listen(arguments.host, arguments.port)
    except (StorageError, OSError, OverflowError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    with listening:
        host, port = listening.getsockname()[:2]
        print(f"The bank is on http://{host}:{port}, and described on http://{host}:{port}/docs", flush=True)
        if arguments.workers == 1:
            serve(settings, listening)
        else:
            serve_in_processes(settings, listening, arguments.workers)


if __name__ == "__main__":
    main()
