"""Make mutants of a part of the core, try each against its tests, and show those that survive.

What comes of each is kept in build/mutants. A mutant first gets the quickest of the tests that run its line; --again
gives all of them to those that have survived, and goes on with those that were not tried.
"""

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

from attrs import evolve
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scripts.mutants.equivalents import Equivalents
from scripts.mutants.mutations import Mutant, find_mutants, show
from scripts.mutants.parts import PARTS, Part
from scripts.mutants.trials import KEPT, Copy, Outcome


class Results:
    """What has come of the mutants of a part, in a file, so that a run can be interrupted."""

    def __init__(self, path: Path, *, again: bool) -> None:
        self._path = path
        self._outcomes: dict[str, str] = json.loads(path.read_text()) if again and path.exists() else {}

    def of(self, mutant: Mutant) -> str | None:
        """Return what has come of a mutant, None if it was not tried."""
        return self._outcomes.get(str(mutant))

    def keep(self, mutant: Mutant, outcome: str) -> None:
        """Keep what has come of a mutant."""
        self._outcomes[str(mutant)] = outcome
        self._path.write_text(json.dumps(self._outcomes, indent=2))


def main() -> None:
    """Try the mutants of each part that is named, and sum up."""
    parser = argparse.ArgumentParser(prog="python -m scripts.mutants", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}; by default all")
    parser.add_argument("--sample", type=int, help="how many mutants of each part to try; by default all")
    parser.add_argument("--seed", type=int, default=1, help="draws the sample, and the change of a kind at each place")
    parser.add_argument("--workers", type=int, default=1, help="how many to try at the same time")
    parser.add_argument("--again", action="store_true", help="go on, and give all tests to those that have survived")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}, but: {', '.join(PARTS)}")
    os.nice(19)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    console.print(summary({name: try_part(name, options, console) for name in options.parts or PARTS}))


def try_part(name: str, options: argparse.Namespace, console: Console) -> Counter[str]:
    """Try mutants of a part, and count what has come of them."""
    results = Results(KEPT / f"{name}.json", again=options.again)
    with ExitStack() as stack:
        copies = [stack.enter_context(closing(Copy(f"{name}-{number}"))) for number in range(options.workers)]
        sources = copies[0].sources(PARTS[name])
        equivalents = Equivalents(sources)
        mutants = [one for module, source in sources.items() for one in find_mutants(module, source, seed=options.seed)]
        mutants.sort(key=lambda mutant: random.Random(f"{options.seed} {mutant}").random())  # noqa: S311 - no secret
        mutants = mutants[: options.sample]
        counted = [mutant for mutant in mutants if mutant not in equivalents]
        to_try = [mutant for mutant in counted if results.of(mutant) in {None, "survived"}]
        console.print(f"{name}: {len(mutants)} mutants, {len(to_try)} to try, after the tests with nothing changed")
        if to_try:
            try_all(to_try, copies, PARTS[name], results, console)
    survivors = [mutant for mutant in counted if results.of(mutant) == "survived"]
    for mutant in survivors:
        console.print(show(mutant, sources[mutant.module]), "\n")
    counts = Counter(results.of(mutant) for mutant in counted)
    return Counter(equivalent=len(mutants) - len(counted), **counts)


def try_all(mutants: Sequence[Mutant], copies: Sequence[Copy], part: Part, results: Results, console: Console) -> None:
    """Try mutants, each in the next copy that is free."""
    observed = copies[0].observe(part)
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        unchanged = evolve(mutants[0], source=copy.sources(part)[mutants[0].module])
        if copy.test(unchanged, observed.tests_for(unchanged, thorough=False)) != "survived":
            sys.exit("what changes nothing does not survive: the tests fail in another order, or on a machine so busy")
        free.put(copy)

    def attempt(mutant: Mutant) -> tuple[Mutant, Outcome]:
        copy = free.get()
        try:
            return mutant, copy.test(mutant, observed.tests_for(mutant, thorough=results.of(mutant) is not None))
        finally:
            free.put(copy)

    workers = ThreadPoolExecutor(len(copies))
    try:
        with Progress(console=console) as progress:
            bar = progress.add_task("trying", total=len(mutants))
            for done in as_completed([workers.submit(attempt, mutant) for mutant in mutants]):
                results.keep(*done.result())
                survived = sum(results.of(mutant) == "survived" for mutant in mutants)
                progress.update(bar, advance=1, description=f"{survived} survived")
    finally:
        workers.shutdown(cancel_futures=True)


def summary(counts: Mapping[str, Counter[str]]) -> Table:
    """Sum up: the score is the share of those that were killed or ran out of time."""
    table = Table("part", "mutants", "killed", "timed out", "survived", "equivalent", "score")
    for name, count in counts.items():
        caught = count["killed"] + count["timed out"]
        tried = caught + count["survived"]
        numbers = (tried, count["killed"], count["timed out"], count["survived"], count["equivalent"])
        table.add_row(name, *map(str, numbers), f"{caught / max(tried, 1):.1%}")
    return table


if __name__ == "__main__":
    main()
