"""What may come of bad input: it is taken, or it is refused by an error that somebody can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from esbank import EsbankError
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import StreamId

if TYPE_CHECKING:
    from tests.doubles import Store  # programs use this too, from where there is no package of tests

_DRIVERS = {"attr", "cattrs", "json", "msgspec", "psycopg", "psycopg_pool", "sqlite3"}


def refusal(call: Callable[[], object], *kinds: type[Exception]) -> Exception | None:
    """Make a call; return the error that refuses it, None if it was taken.

    An error of another kind, by default neither ours nor one for a wrong argument, is a failure of the test.
    """
    kinds = kinds or (EsbankError, ValueError, TypeError)
    try:
        call()
    except kinds as error:
        refused = error
    else:
        return None
    assert not isinstance(refused, UnicodeError), f"{refused!r} does not say what to mend"
    assert type(refused).__module__.partition(".")[0] not in _DRIVERS, f"{refused!r} is a driver's own"
    assert str(refused)
    return refused


def refused(entry: Callable[[Any], object], values: Iterable[Any], *kinds: type[Exception]) -> list[Any]:
    """Give an entry some values, one after the other; return those that it refuses."""
    return [value for value in values if refusal(lambda: entry(value), *kinds) is not None]  # noqa: B023 - called at once


def contents(store: Store) -> list[Any]:
    """List all that a store holds: streams and snapshots too."""
    events = list(store.read_all())
    found: list[Any] = [(event, event.metadata_text, event.digest) for event in events]
    for stream in dict.fromkeys(event.stream for event in events):
        found += [(stream, store.version(stream), store.load_snapshot(stream))]
    found += [[list(store.streams(category)) for category in sorted({event.stream.category for event in events})]]
    if isinstance(store, SQLiteEventStore):
        found += store.query("SELECT category, key FROM esbank_streams ORDER BY stream")
    return found


ACCOUNT = StreamId("Account", "1")
