"""The schema lock as a test: a class of events that changed incompatibly fails it."""

from __future__ import annotations

import os

from esbank._schema_lock import Source, compare_schemas, registry_of

__all__ = ["check_schema_lock"]


def check_schema_lock(file: str | os.PathLike[str], *sources: Source) -> None:
    """Compare the events of `sources` with a lock file that ``python -m esbank schema write`` has made.

    ::

        def test_stored_events_stay_readable() -> None:
            check_schema_lock("schema.json", EventRegistry(BankAccount, upcasters=UPCASTERS))

    `sources` are an ``EventRegistry``, or what one is made of: classes, and upcasters. Raises ``AssertionError`` that
    shows what has changed, and says what to do; ``ValueError`` and ``OSError`` when the file cannot be read.
    """
    changes = compare_schemas(file, registry_of(sources))
    if changes:
        raise AssertionError("\n".join((f"{os.fspath(file)} and the code differ:", *map(str, changes))))
