"""Mutants that change nothing that anybody could see, each with the reason: they are not tried, and not counted."""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scripts.mutants.mutations import Mutant

LISTED: Final = Path(__file__).with_name("equivalent.toml")


class Equivalents:
    """Those that are listed, known by their module, function and change, wherever they stand.

    Ends the program if the lines of one are no longer in its module.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        listed = tomllib.loads(LISTED.read_text())["mutants"]
        self._known = {(one["module"], one["function"], change.strip()) for one in listed for change in one["changes"]}
        for module, function, change in self._known:
            lines = {f"- {line.strip()}" for line in sources.get(module, "").splitlines()}
            if module in sources and not {line for line in change.splitlines() if line.startswith("- ")} <= lines:
                sys.exit(f"{LISTED.name} has a mutant of {module}, {function}, that is no longer there:\n{change}")

    def __contains__(self, mutant: Mutant) -> bool:
        return (mutant.module, mutant.function, mutant.change) in self._known
