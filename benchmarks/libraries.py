"""esbank, the bare driver and the peers at the same work."""

from benchmarks.contender import ACCOUNTS, BATCH, LOG_ACCOUNTS, SNAPSHOT_EVERY, TAIL
from benchmarks.rounds import Row, Settings, Table, measure
from benchmarks.tables import report

OURS, BARE = "esbank", "bare driver"
PEERS = {
    "eventsourcing": "benchmarks.contenders.eventsourcing:Eventsourcing",
    "eventsource-py": "benchmarks.contenders.eventsource_py:EventsourcePy",
    "event-sourcery": "benchmarks.contenders.event_sourcery:EventSourcery",
    "aett": "benchmarks.contenders.aett:Aett",
    "UmaDB": "benchmarks.contenders.umadb:UmaDB",
}
CONTENDERS = {
    BARE: "benchmarks.contenders.bare:BareDriver",
    OURS: "benchmarks.contenders.esbank:Esbank",
    **PEERS,
}

ROWS = (
    Row("command", f"durable commands, on {ACCOUNTS} accounts in turn", 1_000, 20, "command"),
    Row("command-cached", "the same, the accounts in a cache", 1_000, 20, "command_cached"),
    Row("command-in-ram", "the same as the first, on a file in memory", 1_000, 20, "command", in_ram=True),
    Row("cached-in-ram", "the same in a cache, on a file in memory", 1_000, 20, "command_cached", in_ram=True),
    Row("threads-8", "durable appends of one event, 8 threads", 3_200, 32, "threads", arguments=(8,)),
    Row("threads-32", "durable appends of one event, 32 threads", 3_200, 32, "threads", arguments=(32,)),
    Row("batches", f"events of {BATCH} commands at once, durable", 5_000, BATCH, "batches"),
    Row("replay", "events of one account, loaded", 10_000, 100, "replay", fill="fill_stream"),
    Row("replay-rich", "events of more kinds of values, loaded", 10_000, 100, "replay_rich", fill="fill_rich_stream"),
    Row(
        "snapshots",
        f"loads of an account from a snapshot and {TAIL} events",
        1_000,
        3,
        "load_snapshots",
        fill="fill_snapshots",
    ),
    Row("log", f"events of {LOG_ACCOUNTS} accounts, from the log, folded", 20_000, 2_000, "read_log", fill="fill_log"),
    Row(
        "deposits",
        f"durable deposits on one account, a snapshot every {SNAPSHOT_EVERY}",
        1_000,
        60,
        "deposits",
        in_seconds=True,
    ),
    Row("memory-command", "commands, in memory", 2_000, 20, "memory_command"),
    Row("memory-replay", "events of one account, loaded, in memory", 10_000, 100, "memory_replay"),
)

TABLE = Table(
    "per second, or seconds",
    OURS,
    CONTENDERS,
    ROWS,
    compared={BARE: [BARE], "best peer": list(PEERS)},
    guests=frozenset(PEERS),
)
TABLES = (TABLE,)


def run(settings: Settings) -> str:
    """Measure, and draw the picture if it is to be kept."""
    figures = measure(TABLE, settings)
    if settings.write is not None:
        from benchmarks.picture import draw  # noqa: PLC0415 - matplotlib is needed for nothing else

        draw(TABLE, figures, settings, settings.write / "ratios.png")
    return report(TABLE, figures, settings)
