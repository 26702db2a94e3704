"""The libraries' table as a picture: for each row esbank, the bare driver and the best peer, as bars on a log scale."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.rounds import Figures, Measured, Row, Settings, Table
from benchmarks.tables import best, rate

COLOURS = ("#9aa0a6", "#1a73e8", "#f29900")
HEIGHT_OF_BAR = 0.26
INCHES_OF_ROW = 0.62


def draw(table: Table, figures: Figures, settings: Settings, path: Path) -> None:
    """Draw all rows that were measured."""
    rows = [row for row in table.rows_in(settings) if row.name in figures]
    bare, peers = table.compared.values()
    figure = Figure(figsize=(10, 1.2 + INCHES_OF_ROW * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        found = figures[row.name]
        contenders = (best(found, bare), table.subject, best(found, peers))
        for number, title in enumerate(contenders):
            if title is not None:
                draw_bar(axes, place, number, found[title], title if number else "")
    label(axes, rows)
    handles = [Patch(color=colour) for colour in COLOURS]
    figure.legend(handles, ["bare driver", "esbank", "best peer"], loc="outside upper center", ncols=len(COLOURS))
    figure.savefig(path, dpi=110)


def draw_bar(axes: Axes, place: int, number: int, rounds: list[Measured], title: str) -> None:
    """Draw one bar, and say beside it what it is."""
    height = place + (number - 1) * HEIGHT_OF_BAR
    axes.barh(height, rate(rounds), HEIGHT_OF_BAR, color=COLOURS[number])
    is_peer = number == len(COLOURS) - 1
    axes.annotate(
        f"{rate(rounds):,.0f}{f'  {title}' if is_peer else ''}",
        (rate(rounds), height),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=7,
    )


def label(axes: Axes, rows: list[Row]) -> None:
    """Name the rows."""
    axes.set_xscale("log")
    axes.set_xlabel("per second, log scale")
    axes.set_yticks(range(len(rows)), [row.title for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
