"""What the views know: all accounts, the movements of one, and how the views themselves are.

A view is some moments behind the log. Who has just written, and wants to see it, says so with `at_least`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from litestar import get
from litestar.di import NamedDependency

from esbank import ProjectorState

from .answers import Accounts, Health, ListedAccount, Transaction, Transactions, View
from .description import Described
from .parameters import AccountId, After, AfterAccount, AtLeast, Limit
from .problems import problems
from .service import Service

__all__ = ["list_accounts", "list_transactions", "show_health"]

_NOT_WELL: Final = {ProjectorState.STOPPED, ProjectorState.OUTDATED}


@get(
    "/accounts",
    operation_id="listAccounts",
    operation_class=Described,
    summary="List all accounts",
    description="Page by page, from a view that may be some moments behind.",
    responses=problems(404, 422, 503),
    sync_to_thread=True,
)
def list_accounts(
    service: NamedDependency[Service], after: AfterAccount = None, limit: Limit = 100, at_least: AtLeast = 0
) -> Accounts:
    """List accounts."""
    rows = service.list_accounts(after=after or "", limit=limit + 1, at_least=at_least)
    accounts = [ListedAccount.of(row) for row in rows[:limit]]
    more = len(rows) > limit
    return Accounts(accounts, f"/accounts?{urlencode({'after': accounts[-1].id, 'limit': limit})}" if more else None)


@get(
    "/accounts/{account_id:str}/transactions",
    operation_id="listTransactions",
    operation_class=Described,
    summary="List the movements of an account",
    description="In order, page by page, from a view that may be some moments behind.",
    responses=problems(404, 422, 503),
    sync_to_thread=True,
)
def list_transactions(
    account_id: AccountId,
    service: NamedDependency[Service],
    after: After = 0,
    limit: Limit = 100,
    at_least: AtLeast = 0,
) -> Transactions:
    """List movements of an account."""
    rows = service.transactions(account_id, after=after, limit=limit + 1, at_least=at_least)
    transactions = [Transaction.of(row) for row in rows[:limit]]
    more = len(rows) > limit
    url = f"/accounts/{account_id}/transactions?after={transactions[-1].version}&limit={limit}" if more else None
    return Transactions(transactions, url)


@get(
    "/health",
    operation_id="showHealth",
    operation_class=Described,
    summary="Show how the service is",
    description="Whether the store answers, and how far behind the views are.",
    responses=problems(503),
    sync_to_thread=True,
)
def show_health(service: NamedDependency[Service]) -> Health:
    """Say whether the store answers, and how far behind the views are."""
    views = service.views()
    is_well = all(view.state not in _NOT_WELL for view in views)
    return Health("ok" if is_well else "lists are not kept up to date", [View.of(view) for view in views])
