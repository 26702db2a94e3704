"""What was measured, as tables in Markdown: medians, and ratios that are the median of the ratios of the rounds."""

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.rounds import Figures, Measured, Row, Settings, Table

NOTHING = "–"  # noqa: RUF001 - a dash


class Ratio(NamedTuple):
    """How many times as fast the subject is as another, in all rounds."""

    median: float
    least: float
    most: float
    other: str

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


def report(table: Table, figures: Figures, settings: Settings) -> str:
    """Write one table."""
    titles = [title for title in table.contenders if any(rounds.get(title) for rounds in figures.values())]
    compared = {heading: [one for one in others if one in titles] for heading, others in table.compared.items()}
    compared = {heading: others for heading, others in compared.items() if others}
    rows = [row for row in table.rows_in(settings) if row.name in figures]
    headings = [table.title, *titles, *(f"{table.subject} / {heading}" for heading in compared)]
    return markdown(
        headings,
        [
            [
                f"{count_in(row, settings)}{row.title}",
                *(shown(figures[row.name].get(title), row) for title in titles),
                *(
                    shown_ratio(ratio_to_best(figures[row.name], table.subject, others), is_one=len(others) == 1)
                    for others in compared.values()
                ),
            ]
            for row in rows
        ],
    )


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column is text and whose others are numbers."""
    ruler = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, ruler, *rows])


def count_in(row: Row, settings: Settings) -> str:
    """Begin the title of a row that says how long it took with how many there were."""
    return f"{row.size(settings):,} " if row.in_seconds else ""


def shown(rounds: Sequence[Measured] | None, row: Row) -> str:
    """Write what one contender came to."""
    if not rounds:
        return NOTHING
    if row.in_seconds:
        return f"{statistics.median(one.seconds for one in rounds):.2f} s"
    return f"{rate(rounds):,.0f}"


def rate(rounds: Sequence[Measured]) -> float:
    """Return how many there were in a second."""
    return statistics.median(one.count / one.seconds for one in rounds)


def best(found: dict[str, list[Measured]], titles: Iterable[str]) -> str | None:
    """Name the fastest of those contenders that could do it."""
    able = [title for title in titles if found.get(title)]
    return max(able, key=lambda title: rate(found[title]), default=None)


def ratio_to_best(found: dict[str, list[Measured]], subject: str, others: Iterable[str]) -> Ratio | None:
    """Compare the subject with the fastest of the others, round by round."""
    other = best(found, others)
    if other is None or not found.get(subject):
        return None
    rounds = zip(found[subject], found[other], strict=False)  # who is slow was not asked in all of them
    ratios = [theirs.seconds / ours.seconds for ours, theirs in rounds]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), other)


def shown_ratio(ratio: Ratio | None, *, is_one: bool) -> str:
    """Write a ratio, and whose it is if that could be several."""
    if ratio is None:
        return NOTHING
    return str(ratio) if is_one else f"{ratio} {ratio.other}"
