"""Where the time goes: in a durable command, in a replay, and in the rebuild of a view."""

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.contender import ACCOUNTS, SNAPSHOT_EVERY, Work, in_turn
from benchmarks.contenders.esbank import DEPOSIT, Esbank
from benchmarks.rounds import Measured, Row, Settings, Table, measure
from benchmarks.tables import NOTHING, markdown
from benchmarks.views import Views
from benchmarks.watching import PARTS, REST, watch
from esbank import EveryNEvents, Repository
from esbank.bank import BankAccount

LEAST = 0.02
"""The share of the time below which a part is not told apart."""


class Watched(Esbank):
    """esbank, looked at while it works: at each of so many accounts or events, so many times."""

    def profile_command(self, count: int, times: int) -> Work:
        """Deposit, on accounts that are in the cache."""
        return self._watched(self.command_cached(count * times))

    def profile_snapshots(self, count: int, times: int) -> Work:
        """Deposit, on accounts that are loaded from a snapshot and the events after it."""
        self.fill_snapshots(count)
        accounts = Repository(self._open_store(), BankAccount, snapshots=EveryNEvents(SNAPSHOT_EVERY), cache=0)
        keys = in_turn(count, count)

        def work() -> None:
            for key in keys:
                accounts.execute(key, DEPOSIT)

        return self._watched(work, times)

    def profile_replay(self, count: int, times: int) -> Work:
        """Load a long stream."""
        return self._watched(self.replay(count), times)

    def fill_movements(self, count: int) -> None:
        """Write a log to make a view of."""
        self._views().fill_log(count)

    def profile_views(self, count: int, times: int) -> Work:
        """Rebuild the view."""
        return self._watched(self._views().rebuild(count), times)

    def _views(self) -> Views:
        contender = Views(self.folder)
        self.opened.callback(contender.close)
        return contender

    def _watched(self, work: Work, times: int = 1) -> Work:
        def all_of_it() -> None:
            for _ in range(times):
                work()

        return lambda: self.noted.update(watch(all_of_it))


TABLE = Table(
    "microseconds, and their share",
    Watched.title,
    {Watched.title: "benchmarks.profile:Watched"},
    (
        Row("profile-command", "command, cached", ACCOUNTS, 1, "profile_command", arguments=(40,)),
        Row("profile-snapshots", "command, from a snapshot", ACCOUNTS, 2, "profile_snapshots", arguments=(30,)),
        Row("profile-replay", "event of a replay", 10_000, 100, "profile_replay", "fill_stream", (20,)),
        Row("profile-views", "event of a rebuild", 50_000, 500, "profile_views", "fill_movements", (2,)),
    ),
    compared={},
)
TABLES = (TABLE,)


def run(settings: Settings) -> str:
    """Watch, and add up what was seen in all rounds."""
    figures = measure(TABLE, settings)
    columns = {
        row.title: microseconds_of_parts(figures[row.name][Watched.title], *row.arguments)
        for row in TABLE.rows_in(settings)
    }
    parts = [part for part in PARTS if any(part in column for column in columns.values())]
    rows = [[part, *(shown(column, part) for column in columns.values())] for part in parts]
    together = ["together", *(f"{sum(column.values()):,.1f}" for column in columns.values())]
    return markdown([TABLE.title, *columns], [*rows, together])


def microseconds_of_parts(rounds: Sequence[Measured], times: int) -> dict[str, float]:
    """Tell how many microseconds of one command, or event, each part takes; the rest has what is too little to tell."""
    ticks: Counter[str] = Counter()
    for one in rounds:
        ticks.update(one.noted)
    told_apart: Counter[str] = Counter()
    for part, seen in ticks.items():
        told_apart[part if seen >= LEAST * ticks.total() else REST] += seen
    microseconds = 1e6 * sum(one.seconds for one in rounds) / sum(one.count * times for one in rounds)
    return {part: microseconds * seen / ticks.total() for part, seen in told_apart.items()}


def shown(column: Mapping[str, float], part: str) -> str:
    """Write what a part takes."""
    if part not in column:
        return NOTHING
    return f"{column[part]:,.1f} ({column[part] / sum(column.values()):.0%})"
