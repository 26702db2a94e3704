"""Programs of calls that Hypothesis makes up, to find one in which a store does not do what it promises.

A subclass says how to open a store in a folder; pytest and unittest collect its ``TestCase``::

    class MyEventStoreMachine(EventStoreMachine):
        can_be_reopened = True

        def open_store(self, folder: Path) -> EventStore:
            return MyEventStore(folder / "events")

    TestMyEventStore = MyEventStoreMachine.TestCase

Each program appends, repeats, reads and follows, and all that the store answers is compared with a model in lists.
Snapshots, tables and transactions are tried where the store has them. When an answer is wrong, Hypothesis looks for the
shortest program that shows it, and prints that. How many programs there are, and how long, say Hypothesis' settings, as
in ``TestMyEventStore.settings = settings(max_examples=1000)``.

It finds what nobody has thought of, in what one thread can do. ``esbank.testing.conformance`` has the races, long logs
and wrong arguments. The module needs Hypothesis and nothing else.
"""

from __future__ import annotations

from hypothesis.stateful import precondition, rule

from esbank.testing.state_machine._model import EventStoreModel
from esbank.testing.state_machine._optional import Snapshots, Tables
from esbank.testing.state_machine._reads import Reads
from esbank.testing.state_machine._store import HAS_EVENTS

__all__ = ["EventStoreMachine", "EventStoreModel"]


class EventStoreMachine(Snapshots, Tables, Reads):
    """Drives an event store against a model; subclass it, and say in `open_store` how to open one.

    With `can_be_reopened`, programs also close the store and open it again in the same folder. A subclass may add rules
    of its own; it has the `store` and the `model`.
    """

    @HAS_EVENTS
    @precondition(lambda self: self.can_be_reopened)
    @rule()
    def reopen(self) -> None:
        """Close the store and open it again."""
        identity = self.store.identity
        self.store.close()
        self.store = self.open_store(self.folder)
        self.expect("the identity of the store", self.store.identity, identity)
        self.check_log()
        self.check_snapshots()
        self.check_notes()
        for subscription in self.subscriptions:
            self.subscribe_again(subscription)
