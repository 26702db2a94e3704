"""What the commands say: results to standard output, complaints and progress to standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

__all__ = ["complain", "count", "progress_bar", "say", "show_table"]

# Without `emoji=False`, the `:key:` in the name of a stream would become a key.
_output: Final = Console(emoji=False, highlight=False, markup=False, soft_wrap=True)
_errors: Final = Console(emoji=False, highlight=False, markup=False, soft_wrap=True, stderr=True)
_WIDEST: Final = 10_000


def say(text: str, style: str = "") -> None:
    """Write a line, or several, of a result."""
    _output.print(text, style=style)


def complain(text: str) -> None:
    """Write why the work could not be done."""
    _errors.print(text, style="red")


def count(number: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def show_table(titles: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], *, numbers_from: int) -> None:
    """Write a table; each row comes with its style, and the columns from one on hold numbers."""
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=True, justify="right" if number >= numbers_from else "left")
    for cells, style in rows:
        table.add_row(*cells, style=style)
    # As wide as it needs to be: a name in a file or a pipe must not be cut.
    table.width = _output.measure(table, options=_output.options.update_width(_WIDEST)).maximum
    _output.print(table)


def progress_bar() -> Progress:
    """Make a progress bar, which shows where a person looks on."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=_errors,
        transient=True,
        disable=not _errors.is_terminal,
    )


class _Rate(ProgressColumn):
    """How many a second."""

    @override
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")
