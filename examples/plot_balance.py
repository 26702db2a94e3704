"""Draw the balance of accounts over time, with the time below zero marked, and write it as a PNG.

    python examples/plot_balance.py DATABASE ACCOUNT [ACCOUNT ...] [--picture balance.png]

The database is a file that ``examples/import_transactions.py`` or ``examples/bank_demo.py`` has left. Each account has
a panel of its own, since their currencies may differ; time is when things happened, in UTC. It takes matplotlib::

    pip install 'esbank[plot]'
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

from statement import Account, NoSuchAccount, read_account

from esbank import EsbankError
from esbank.backends.sqlite import SQLiteEventStore


class CannotDraw(Exception):
    """There is nothing to draw, or nothing to draw with."""


def main() -> None:
    """Draw the accounts into a file."""
    parser = argparse.ArgumentParser(description="Draw the balance of accounts over time.")
    parser.add_argument("database", type=Path, help="the SQLite file of the bank")
    parser.add_argument("accounts", metavar="account", nargs="+", help="the id of an account")
    parser.add_argument(
        "--picture", type=Path, default=Path("balance.png"), help="the PNG to write (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        with SQLiteEventStore(arguments.database, create=False) as store:
            accounts = [read_account(store, account_id) for account_id in arguments.accounts]
        draw(accounts).savefig(arguments.picture, format="png", dpi=150)
    except (CannotDraw, NoSuchAccount, EsbankError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(arguments.picture)


def balances_of(account: Account) -> dict[datetime, Decimal]:
    """Say what the balance was from each moment on; of several movements in one moment the last counts."""
    return {movement.at: movement.balance for movement in account.movements}


def below_zero(balances: dict[datetime, Decimal], end: datetime) -> list[tuple[datetime, datetime]]:
    """Say from when to when a balance was below zero; what still is by the end, is until the end."""
    times: list[tuple[datetime, datetime]] = []
    since: datetime | None = None
    for moment, balance in balances.items():
        if balance < 0 and since is None:
            since = moment
        elif balance >= 0 and since is not None:
            times.append((since, moment))
            since = None
    if since is not None:
        times.append((since, end))
    return times


def title_of(account: Account, times: list[tuple[datetime, datetime]]) -> str:
    """Say whose account it is, and how long and how far it was below zero."""
    title = f"account {account.account_id} of {account.owner}"
    if not times:
        return title
    days = sum((end - since for since, end in times), timedelta()) / timedelta(days=1)
    return f"{title}: {days:,.1f} days below zero, down to {min(balances_of(account).values()):,}"


def draw(accounts: list[Account]) -> Any:  # noqa: ANN401 - a figure of matplotlib, which type checkers need not have
    """Draw each account up to the last moment at which anything happened to one of them; raises ``CannotDraw``."""
    for account in accounts:
        if not account.movements:
            raise CannotDraw(f"nothing has happened on account {account.account_id!r}")
    try:
        matplotlib = import_module("matplotlib.figure")
    except ImportError as error:
        raise CannotDraw(f"{error}; it takes matplotlib: pip install 'esbank[plot]'") from error
    end = max(account.movements[-1].at for account in accounts)
    figure = matplotlib.Figure(figsize=(10, 3 * len(accounts)), layout="constrained")
    panels = figure.subplots(len(accounts), sharex=True, squeeze=False)[:, 0]
    for panel, account in zip(panels, accounts, strict=True):
        draw_account(panel, account, end)
    return figure


def draw_account(panel: Any, account: Account, end: datetime) -> None:  # noqa: ANN401 - axes of matplotlib
    """Draw a balance, which stays as it is until the next movement."""
    balances = balances_of(account)
    times = below_zero(balances, end)
    moments = [*balances, end]
    heights = [float(balance) for balance in balances.values()]  # near enough for a picture
    heights.append(heights[-1])
    panel.step(moments, heights, where="post", color="tab:blue", linewidth=1)
    panel.fill_between(moments, [min(height, 0) for height in heights], step="post", color="tab:red", linewidth=0)
    for since, until in times:
        panel.axvspan(since, until, color="tab:red", alpha=0.15)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_title(title_of(account, times), loc="left", fontsize="medium", parse_math=False)
    panel.set_ylabel(account.currency)
    panel.yaxis.set_major_formatter("{x:,.10g}")


if __name__ == "__main__":
    main()
