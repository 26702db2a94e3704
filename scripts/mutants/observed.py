"""Which tests run which lines, and how long they take: so that a mutant meets those that can notice it."""

from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from coverage import CoverageData

from scripts.mutants.mutations import Mutant

BUDGET: Final = 30
"""The seconds of tests that a mutant gets at first; if it survives, it can get all of them later."""
LONGEST: Final = 10
"""The seconds above which a test is kept for later."""


class Observed:
    """What the tests of a part do when nothing is changed."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))

    def add(self, notes: dict[str, Any]) -> None:
        """Add what `take_notes` has returned."""
        names = list(notes["seconds"])
        self._seconds |= notes["seconds"]
        for module, lines in notes["lines"].items():
            for line, tests in lines.items():
                self._lines[module][int(line)].update(names[test] for test in tests)

    def tests_for(self, mutant: Mutant, *, thorough: bool) -> dict[str, float]:
        """Choose the tests that run the line that has changed, the quickest first, with their seconds.

        For a line that runs at import, or in another process only, those that run anything of the module; to be
        thorough, all others after them.
        """
        lines = self._lines[mutant.module]
        names = lines[mutant.line] or set().union(*lines.values())
        others = self._seconds.keys() - names if thorough or not names else set()
        chosen: dict[str, float] = {}
        for name in (*sorted(names, key=self._by_seconds), *sorted(others, key=self._by_seconds)):
            seconds = self._seconds[name]
            if thorough or not chosen or (seconds < LONGEST and sum(chosen.values()) + seconds < BUDGET):
                chosen[name] = seconds
        return chosen

    def _by_seconds(self, name: str) -> tuple[float, str]:
        return self._seconds[name], name


def take_notes(seconds: dict[str, float], data: CoverageData, package: Path) -> dict[str, Any]:
    """Return how long tests take, and which of them, by their index, run each line of the package."""
    index = {name: number for number, name in enumerate(seconds)}
    lines: dict[str, dict[int, list[int]]] = {}
    for file in data.measured_files():
        by_line = data.contexts_by_lineno(file)
        lines[str(Path(file).relative_to(package))] = {
            line: sorted({index[name] for context in contexts if (name := context.rpartition("|")[0]) in index})
            for line, contexts in by_line.items()
        }
    return {"seconds": seconds, "lines": lines}
