"""What an argument such as ``esbank.bank:BankAccount`` stands for."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import Any

__all__ = ["load_target"]


def load_target(target: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import what ``module:name`` stands for; raises ``ValueError`` that says what is wrong with it."""
    module, separator, name = target.partition(":")
    if not separator or not module or not name:
        raise ValueError(f"{target!r} is no target: write module:name, as in esbank.bank:BankAccount")
    try:
        return reduce(getattr, name.split("."), import_module(module))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"{target}: {error}; run the command where the module can be imported") from error
    except AttributeError as error:
        raise ValueError(f"{target}: {error}") from error
