"""The commands of ``python -m esbank``.

They exit with 0 when all is well, with 1 when they have found something, and with 2 when they could not do their work.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Final

from cyclopts import App, CycloptsError

from esbank.cli import _copy, _projections, _schema, _torture, _verify
from esbank.cli._terminal import complain
from esbank.errors import EsbankError

__all__ = ["main"]

_app: Final = App(
    name="python -m esbank",
    help="Look after event stores. A STORE is the path of a SQLite file, or a URL such as sqlite:///bank.db or "
    "postgresql://host/database.",
    version=f"esbank {metadata.version('esbank')}",
    result_action="return_value",
)
_app.command(_verify.verify)
_app.command(_copy.copy)
_app.command(_torture.torture)
_app.command(_schema.app)
_app.command(_projections.app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments`, by default those of the process; return its exit code."""
    try:
        code: int | None = _app(arguments, exit_on_error=False)
    except CycloptsError:
        return 2  # it has been explained
    except (EsbankError, OSError, ValueError) as error:
        complain(str(error))
        return 2
    return code or 0
