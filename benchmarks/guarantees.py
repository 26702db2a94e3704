"""What each guarantee of esbank costs: esbank with it, and without."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.contender import AMOUNT, BATCH, BY, PAID_AT, PAYMENT, Contender, Work
from benchmarks.contenders.esbank import Esbank, Ledger, Paid
from benchmarks.rounds import Row, Settings, Table, measure
from benchmarks.tables import report
from esbank import Aggregate, EventCodec, EventRegistry
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount, Deposited
from esbank.store import NO_STREAM, StoredEvent, StreamId

DEPOSITED = Deposited(AMOUNT, AMOUNT, BY)
PAID = Paid(PAYMENT, AMOUNT, PAID_AT, BY)


class With(Contender):
    """esbank as it is."""

    title = "as it is"

    def digests_command(self, count: int) -> Work:
        """Deposit."""
        return self.esbank().command_cached(count)

    def digests_batches(self, count: int) -> Work:
        """Deposit many times at once."""
        return self.esbank().batches(count)

    durability_command = digests_command
    triggers_command = digests_command
    triggers_batches = digests_batches

    def decode(self, count: int) -> Work:
        """Decode deposits, strictly."""
        return decode_strictly(BankAccount, DEPOSITED, count)

    def decode_rich(self, count: int) -> Work:
        """Decode events with more kinds of values, strictly."""
        return decode_strictly(Ledger, PAID, count)

    def esbank(self, **options: Any) -> Esbank:  # noqa: ANN401 - whatever a store takes
        """Use a store with these options."""
        contender = Esbank(self.folder, **options)
        self.opened.callback(contender.close)
        return contender


class Without(With):
    """esbank without the guarantee that a row is about."""

    title = "without"

    def digests_command(self, count: int) -> Work:
        """Deposit; no event is sealed."""
        return self.esbank(digests=False).command_cached(count)

    def digests_batches(self, count: int) -> Work:
        """Deposit many times at once; no event is sealed."""
        return self.esbank(digests=False).batches(count)

    def durability_command(self, count: int) -> Work:
        """Deposit; a loss of power may take the last of it."""
        return self.esbank(durability="normal").command_cached(count)

    def triggers_command(self, count: int) -> Work:
        """Deposit; the database would let anybody change events."""
        make_without_triggers(self.folder / "esbank.db")
        return self.esbank().command_cached(count)

    def triggers_batches(self, count: int) -> Work:
        """Deposit many times at once; the database would let anybody change events."""
        make_without_triggers(self.folder / "esbank.db")
        return self.esbank().batches(count)

    def decode(self, count: int) -> Work:
        """Decode deposits with msgspec, which coerces, and skips what it does not know."""
        return decode_laxly(BankAccount, DEPOSITED, count)

    def decode_rich(self, count: int) -> Work:
        """Decode events with more kinds of values with msgspec."""
        return decode_laxly(Ledger, PAID, count)


def make_without_triggers(path: Path) -> None:
    """Make a store, and take its triggers away."""
    SQLiteEventStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")


def decode_strictly(aggregate: type[Aggregate[Any, Any]], event: object, count: int) -> Work:
    """Decode an event many times, a page at a time, as repositories and projectors do."""
    codec = EventCodec(EventRegistry(aggregate))
    stored = stored_many_times(codec, event, count)

    def work() -> None:
        for _envelope in codec.envelopes(stored):
            pass

    return work


def decode_laxly(aggregate: type[Aggregate[Any, Any]], event: object, count: int) -> Work:
    """Decode an event many times, by msgspec alone."""
    codec = EventCodec(EventRegistry(aggregate))
    stored = stored_many_times(codec, event, count)
    decoders = {type(event).__name__: msgspec.json.Decoder(type(event), strict=False)}

    def work() -> None:
        for one in stored:
            decoders[one.type].decode(one.data)

    return work


def stored_many_times(codec: EventCodec, event: object, count: int) -> list[StoredEvent]:
    """Store an event many times, and read that back."""
    stream = StreamId("Any", "stream")
    store = MemoryEventStore()
    store.append(stream, [codec.encode(event) for _ in range(count)], expected_version=NO_STREAM)
    return list(store.read(stream))


TABLE = Table(
    "per second",
    With.title,
    {cls.title: f"benchmarks.guarantees:{cls.__name__}" for cls in (With, Without)},
    (
        Row("digests", "digests: durable commands", 1_000, 20, "digests_command"),
        Row("digests-batches", f"digests: events of {BATCH} commands at once", 5_000, BATCH, "digests_batches"),
        Row("triggers", "append-only triggers: durable commands", 1_000, 20, "triggers_command"),
        Row(
            "triggers-batches",
            f"append-only triggers: events of {BATCH} commands at once",
            5_000,
            BATCH,
            "triggers_batches",
        ),
        Row("durability", "commits that survive a loss of power: commands", 1_000, 20, "durability_command"),
        Row("strictness", "strict decoding: events", 20_000, 200, "decode"),
        Row("strictness-rich", "strict decoding: events of more kinds of values", 20_000, 200, "decode_rich"),
    ),
    compared={Without.title: [Without.title]},
)
TABLES = (TABLE,)


def run(settings: Settings) -> str:
    """Measure."""
    return report(TABLE, measure(TABLE, settings), settings)
