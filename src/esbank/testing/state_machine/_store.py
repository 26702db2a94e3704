"""A store beside its model, and the names that programs call things by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final, NoReturn
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, multiple, precondition, rule

from esbank.errors import EsbankError
from esbank.store import EventStore, Metadata, NewEvent, StoredEvent, StreamId
from esbank.testing._differences import line_difference
from esbank.testing.state_machine._model import EventStoreModel

__all__ = [
    "CATEGORIES",
    "CONVERSATIONS",
    "EVENT",
    "FEW",
    "HAS_EVENTS",
    "SOME_CATEGORIES",
    "SOME_TYPES",
    "STREAM",
    "StoreMachine",
]

CATEGORIES: Final = ("Account", "Customer")
TYPES: Final = ("Opened", "Moved", "Closed")
CONVERSATIONS: Final = {"Moved": "call-1", "Closed": "call-2"}
"""In which conversation events of a type belong."""

STREAM: Final[Bundle[StreamId]] = Bundle("stream")
EVENT: Final[Bundle[NewEvent]] = Bundle("event")

FEW: Final = st.integers(0, 4)
HAS_EVENTS: Final = precondition(lambda self: self.model.log)
"""Keeps programs from looking at an empty store most of the time."""

SOME_CATEGORIES: Final = st.none() | st.lists(st.sampled_from((*CATEGORIES, "Nobody")), unique=True)
SOME_TYPES: Final = st.none() | st.lists(st.sampled_from((*TYPES, "Nothing")), unique=True)

_MOST: Final = 8


class StoreMachine(RuleBasedStateMachine):
    """Opens a store for each program, and closes it after."""

    can_be_reopened: ClassVar[bool] = False
    """Whether a store that is opened a second time in the same folder has all that was stored the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = TemporaryDirectory(prefix="esbank-")
        self.folder = Path(self._temporary.name)
        try:
            self.store = self.open_store(self.folder)
        except BaseException:
            self._temporary.cleanup()
            raise
        self.model = EventStoreModel()
        self.streams = [StreamId("Account", "1"), StreamId("Account", "2"), StreamId("Customer", "1")]
        self.events: list[NewEvent] = []

    def open_store(self, folder: Path) -> EventStore:
        """Open the store that belongs to a folder, which is empty the first time."""
        raise NotImplementedError("open a store here, such as MyEventStore(folder / 'events')")

    def teardown(self) -> None:
        """Close the store and remove its folder."""
        self.store.close()
        self._temporary.cleanup()

    @initialize(target=STREAM)
    def new_streams(self) -> MultipleResults[StreamId]:
        """Name streams to which nothing was appended."""
        return multiple(*self.streams)

    @initialize(target=EVENT)
    def new_events(self) -> MultipleResults[NewEvent]:
        """Make events that no stream has."""
        return multiple(*[self._new_event(type_) for type_ in TYPES * 2])

    @precondition(lambda self: self.model.log and len(self.events) < _MOST)
    @rule(target=EVENT, event=EVENT)
    def other_event_with_the_same_id(self, event: NewEvent) -> NewEvent:
        """Make an event that no stream can have together with another one."""
        return self._new_event(event.type, event.event_id)

    def fail(self, message: str, cause: Exception | None = None) -> NoReturn:
        """End the program here; Hypothesis takes all that ends in one place for one failure."""
        raise AssertionError(message) from cause

    def expect(self, what: str, actual: object, expected: object) -> None:
        """Fail the program when something is not as the model says."""
        if actual != expected:
            self.fail(f"{what} is {actual!r}, not {expected!r}")

    def expect_error(self, what: str, error: type[Exception], call: Callable[[], object]) -> None:
        """Fail the program when a call does not raise an error of this class."""
        cause: EsbankError | None = None
        try:
            ended = f"returned {call()!r}"
        except error:
            return
        except EsbankError as other:
            ended, cause = f"raised {other!r}", other
        self.fail(f"{what} is a {error.__name__}, but it {ended}", cause)

    def expect_events(self, what: str, actual: Sequence[StoredEvent], expected: Sequence[StoredEvent]) -> None:
        """Fail the program when these are not the events that the model says."""
        if list(actual) != list(expected):
            told = [_tell(event) for event in expected], [_tell(event) for event in actual]
            if told[0] == told[1]:  # it is something small
                told = [repr(event) for event in expected], [repr(event) for event in actual]
            self.fail(f"{what} gives not the events expected (-), but (+):\n{line_difference(*told)}")

    def position_after(self, events: int) -> int | None:
        """Return the position of the last of so many events of the log, or one beyond its end; None for no events."""
        log = self.model.log
        if not events:
            return None
        return log[events - 1].position if events <= len(log) else (self.model.head() or 0) + events

    def _new_event(self, type_: str, event_id: UUID | None = None) -> NewEvent:
        number = len(self.events) + 1
        event = NewEvent(
            type_,
            f'{{"number":{number}}}',
            event_id=event_id or UUID(int=number),
            metadata=Metadata(correlation_id=CONVERSATIONS.get(type_)),
        )
        self.events.append(event)
        return event


def _tell(event: StoredEvent) -> str:
    return f"{event.stream} version {event.version}, position {event.position}: {event.type} {event.data}"
