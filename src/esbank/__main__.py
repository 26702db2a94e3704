"""``python -m esbank``: the commands for whoever looks after a store; see ``esbank.cli``."""

import sys

_NEEDED = ("cyclopts", "rich")


def main() -> int:
    """Run a command; without what the commands need, say how to get it."""
    try:
        from esbank.cli import main as run  # noqa: PLC0415 - it may not be installed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(f"The commands need {' and '.join(_NEEDED)}; install them: pip install 'esbank[cli]'\n")
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
