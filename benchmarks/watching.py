"""Look at what runs, about a thousand times in a second, and count whose code it is.

A profiler that notes each call makes small functions look slow; to look from time to time slows nothing down. Python
takes notice of a timer at calls and at the turns of loops, and not before C code has returned. So a look counts for all
ticks that are due, and a commit that waits for the disk counts for as long as it takes; but an operation or two may
count for the part that is called next.
"""

import signal
import time
from collections import Counter
from functools import cache
from pathlib import Path
from types import FrameType

import esbank
from benchmarks import views
from benchmarks.contender import Work

INTERVAL = 0.000_97
"""Seconds between looks; an odd number, so as not to keep step with what is looked at."""
DISK = "waiting for the disk (`COMMIT`)"
READS = "statements that read"
WRITES = "statements that write"
STORE = "the store's own code"
DIGESTS = "digests"
CODEC = "codec"
REPOSITORY = "repository, cache, snapshots"
PROJECTION = "projection"
DOMAIN = "the domain's own code"
REST = "the rest"
PARTS = (DISK, READS, WRITES, STORE, DIGESTS, CODEC, REPOSITORY, PROJECTION, DOMAIN, REST)

SOURCE = Path(esbank.__file__).parent
CODE = {
    SOURCE / "store" / "_digests.py": DIGESTS,
    SOURCE / "store": STORE,
    SOURCE / "backends": STORE,
    SOURCE / "codec": CODEC,
    SOURCE / "repository.py": REPOSITORY,
    SOURCE / "aggregate.py": REPOSITORY,
    SOURCE / "snapshots.py": REPOSITORY,
    SOURCE / "_loading.py": REPOSITORY,
    SOURCE / "_cache.py": REPOSITORY,
    SOURCE / "projection": PROJECTION,
    SOURCE / "bank": DOMAIN,
    Path(views.__file__): DOMAIN,
}
"""Whose code is where. What is nowhere here, such as the standard library, works for whoever has called it."""
CONNECTION = str(SOURCE / "backends" / "_sqlite_connection.py")
EXECUTING = frozenset({"rows", "run", "many"})
"""The methods in which SQLite works; their `sql` is what it works at."""


def watch(work: Work) -> Counter[str]:
    """Do something, and count by its parts the ticks that it takes."""
    ticks: Counter[str] = Counter()
    started = time.perf_counter()

    def look(_signal: int, frame: FrameType | None) -> None:
        part = part_of(frame)
        due = int((time.perf_counter() - started) / INTERVAL)
        ticks[part] += due - ticks.total()

    before = signal.signal(signal.SIGALRM, look)
    signal.siginterrupt(signal.SIGALRM, False)  # noqa: FBT003 - the disk is not to be disturbed
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return ticks


def part_of(frame: FrameType | None) -> str:
    """Name the part that a frame belongs to, or else the next one outwards that belongs to any."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == CONNECTION and code.co_name in EXECUTING:
            return part_of_statement(frame.f_locals["sql"])
        part = part_of_file(code.co_filename)
        if part is not None:
            return part
        frame = frame.f_back
    return REST


@cache
def part_of_statement(sql: str) -> str:
    """Name the part that a statement belongs to."""
    verb = sql.split(maxsplit=1)[0]
    if verb == "COMMIT":
        return DISK
    return READS if verb in {"SELECT", "WITH", "PRAGMA"} else WRITES


@cache
def part_of_file(name: str) -> str | None:
    """Name the part that a file belongs to, if it belongs to any."""
    file = Path(name)
    return next((part for path, part in CODE.items() if path in (file, *file.parents)), None)
