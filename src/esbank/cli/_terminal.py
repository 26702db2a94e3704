"""What the commands say: results to standard output, complaints and progress to standard error."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["complain", "progress_bar", "say"]

_output: Final = Console(highlight=False, markup=False, soft_wrap=True)
_errors: Final = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)


def say(text: str, style: str = "") -> None:
    """Write a line, or several, of a result."""
    _output.print(text, style=style)


def complain(text: str) -> None:
    """Write why the work could not be done."""
    _errors.print(text, style="red")


def progress_bar() -> Progress:
    """Make a progress bar, which shows where a person looks on."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_errors,
        transient=True,
        disable=not _errors.is_terminal,
    )
