"""The suite that every event store must pass, for whoever writes one.

A backend's test is a class of a few lines, with a fixture that gives each test a fresh, empty store::

    class TestMyEventStore(EventStoreConformance):
        has_snapshots = False
        is_shared_by_processes = True

        @pytest.fixture
        def store(self, tmp_path: Path) -> Iterator[MyEventStore]:
            self.path = tmp_path / "events"
            with MyEventStore(self.path) as store:
                yield store

        def open_elsewhere(self) -> Callable[[], MyEventStore]:
            return partial(MyEventStore, self.path)

Every promise of ``esbank.store.EventStore`` is a test, named as a sentence. Optional capabilities are flags: what a
store does not claim is skipped, and what it claims it must have. Threads and processes race in earnest; what is stuck,
or dies, fails its test within a minute. What is a backend's own, such as a full disk or a lost connection, is for tests
of its own. The suite needs pytest and nothing else.

Rails Event Store's ``event_repository_lint.rb`` and fsspec's ``tests/abstract`` are models.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "_appends",
            "_checkpoints",
            "_claims",
            "_closing",
            "_copies",
            "_correlated",
            "_digests",
            "_elsewhere",
            "_given",
            "_inline",
            "_many",
            "_processes",
            "_races",
            "_reads",
            "_repeats",
            "_snapshots",
            "_stored",
            "_subscriptions",
            "_transaction_races",
            "_transactions",
            "_views",
        )
    )
)

# Below what they wait for: pytest explains a failed assert only in modules it was told of before they are imported.
from esbank.testing.conformance._appends import Appends  # noqa: E402
from esbank.testing.conformance._checkpoints import Checkpoints  # noqa: E402
from esbank.testing.conformance._claims import Claims  # noqa: E402
from esbank.testing.conformance._closing import Closing  # noqa: E402
from esbank.testing.conformance._copies import Copies  # noqa: E402
from esbank.testing.conformance._correlated import ReadsOfConversations  # noqa: E402
from esbank.testing.conformance._digests import Digests  # noqa: E402
from esbank.testing.conformance._inline import InlineHandlers  # noqa: E402
from esbank.testing.conformance._many import AppendsToManyStreams  # noqa: E402
from esbank.testing.conformance._processes import Processes  # noqa: E402
from esbank.testing.conformance._races import Races  # noqa: E402
from esbank.testing.conformance._reads import Reads, ReadsOfTheLog  # noqa: E402
from esbank.testing.conformance._repeats import Repeats  # noqa: E402
from esbank.testing.conformance._snapshots import Snapshots  # noqa: E402
from esbank.testing.conformance._stored import StoredEvents, StreamNames  # noqa: E402
from esbank.testing.conformance._subscriptions import Subscriptions  # noqa: E402
from esbank.testing.conformance._transaction_races import TransactionRaces  # noqa: E402
from esbank.testing.conformance._transactions import Transactions  # noqa: E402
from esbank.testing.conformance._views import Views  # noqa: E402

__all__ = ["EventStoreConformance"]


class EventStoreConformance(
    Appends,
    AppendsToManyStreams,
    Repeats,
    Reads,
    ReadsOfTheLog,
    ReadsOfConversations,
    StoredEvents,
    StreamNames,
    Digests,
    Races,
    Subscriptions,
    Snapshots,
    Views,
    Claims,
    Checkpoints,
    InlineHandlers,
    Transactions,
    TransactionRaces,
    Copies,
    Processes,
    Closing,
):
    """Subclass it, name the class ``Test…``, and give it a fixture ``store``: a fresh and empty ``EventStore``.

    The fixture closes the store afterwards, also when a test has closed it already. Each flag says what the store can
    do; two of them want a method as well.
    """

    has_digests: ClassVar[bool] = True
    """Whether each event has a digest: the store was not made with ``digests=False``."""
    has_snapshots: ClassVar[bool] = True
    """Whether the store keeps snapshots: it is a ``SnapshotStore``."""
    has_views: ClassVar[bool] = True
    """Whether the store keeps views, and lets one at a time hold a name: it is a ``ViewStore``."""
    has_queries_during_transactions: ClassVar[bool] = True
    """Whether views are queried beside an open transaction; else a query waits for it, and is refused inside it."""
    has_transactions: ClassVar[bool] = True
    """Whether appends can share a transaction with the caller's own tables: the store is a ``TransactionalStore``."""
    has_exclusive_transactions: ClassVar[bool] = False
    """Whether such a transaction can keep every other writer out: the store is an ``ExclusiveStore``."""
    can_be_copied: ClassVar[bool] = True
    """Whether its log can be given away, and another one taken just as it is: the store is a ``PortableLog``."""
    has_inline: ClassVar[bool] = False
    """Whether the store takes inline handlers; then `open_inline` says how to open one with some."""
    is_shared_by_processes: ClassVar[bool] = False
    """Whether several processes can open one store; then `open_elsewhere` says how another process does."""
