"""Do one thing once, in a process of its own: ``python -m benchmarks.measure module:Class method folder number…``.

So no contender warms another, and imports are not counted. Prints what was measured as JSON. The numbers are the
method's arguments; the first is how many times the work counts.
"""

import gc
import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Do it."""
    contender_name, method, folder, *numbers = sys.argv[1:]
    contender = load(contender_name)(Path(folder))
    try:
        work = getattr(contender, method)(*map(int, numbers))
        gc.collect()
        started = time.perf_counter()
        if work is not None:
            work()
        seconds = time.perf_counter() - started
        measured = {"seconds": seconds, "count": int(numbers[0]), "peak": peak_memory(), "noted": contender.noted}
        print(json.dumps(measured))
    finally:
        contender.close()


def load(name: str) -> Any:  # noqa: ANN401 - whatever class is named
    """Import the class that ``module:Class`` names."""
    module, _, class_name = name.partition(":")
    return getattr(importlib.import_module(module), class_name)


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, ru_maxrss begins with what the parent had when it started this process.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
