"""What an argument such as ``esbank.bank:BankAccount`` stands for."""

from __future__ import annotations

import traceback
from functools import reduce
from importlib import import_module
from typing import Any

__all__ = ["load_target"]


def load_target(target: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import what ``module:name`` stands for; raises ``ValueError`` that says what is wrong with it."""
    module, separator, name = target.partition(":")
    if not separator or not module or not name:
        raise ValueError(f"{target!r} is no target: write module:name, as in esbank.bank:BankAccount")
    if module.startswith("."):
        raise ValueError(f"{target}: write the whole name of the module, without a dot before it")
    try:
        imported = import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"{target}: {error}; run the command where the module can be imported") from error
        raise ValueError(f"{target}: the module cannot be imported: {_where(error)}") from error
    try:
        return reduce(getattr, name.split("."), imported)
    except AttributeError as error:
        raise ValueError(f"{target}: {error}") from error


def _where(error: Exception) -> str:
    """Say what went wrong, and in which line of the module or of what it imports."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
