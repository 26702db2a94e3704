"""Run every contender through the same work, round by round, and print the medians as a Markdown table.

Within a round the contenders take turns, so that whatever else the machine does hits them all; a ratio is the median of
the ratios of the rounds.
"""

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = 5
COMMANDS = 1_000
EVENTS = 10_000

WORK: dict[str, tuple[int, Callable[[Any], object]]] = {
    f"{COMMANDS:,} commands on an account, each durable": (COMMANDS, lambda contender: contender.commands(COMMANDS)),
    f"{EVENTS:,} events in one append": (EVENTS, lambda contender: contender.fill(EVENTS)),
    "replay of the account": (COMMANDS + EVENTS, lambda contender: contender.replay()),
    "the log read and decoded": (COMMANDS + EVENTS, lambda contender: contender.read_log()),
}


def main() -> None:
    """Measure and print."""
    modules = [module for name in ("bare", "ours", "peer") if (module := load(name)) is not None]
    seconds: dict[str, dict[str, list[float]]] = {title: {module.NAME: [] for module in modules} for title in WORK}
    for number in range(1, ROUNDS + 1):
        print(f"round {number} of {ROUNDS}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            contenders = {module.NAME: module.Contender(Path(folder)) for module in modules}
            for title, (_, work) in WORK.items():
                for name, contender in contenders.items():
                    started = time.perf_counter()
                    work(contender)
                    seconds[title][name].append(time.perf_counter() - started)
            for contender in contenders.values():
                contender.close()
    print_table(seconds)


def load(name: str) -> Any:  # noqa: ANN401 - modules of one shape
    """Import a contender, if its package is installed."""
    try:
        return importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return None


def print_table(seconds: dict[str, dict[str, list[float]]]) -> None:
    """Print rates per second, and esbank's as a ratio to each of the others'."""
    names = list(next(iter(seconds.values())))
    others = [name for name in names if name != "esbank"]
    print("| work, per second |", " | ".join(names), "|", " | ".join(f"esbank / {name}" for name in others), "|")
    print("| --- |", " | ".join(["---:"] * (len(names) + len(others))), "|")
    for title, by_name in seconds.items():
        count = WORK[title][0]
        rates = [f"{count / statistics.median(by_name[name]):,.0f}" for name in names]
        ratios = [
            [other / ours for other, ours in zip(by_name[name], by_name["esbank"], strict=True)] for name in others
        ]
        shown = [f"{statistics.median(ratio):.2f} ({min(ratio):.2f}-{max(ratio):.2f})" for ratio in ratios]
        print(f"| {title} |", " | ".join(rates), "|", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
