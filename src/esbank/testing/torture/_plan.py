"""What each writer appends: decided by a seed alone, so that a writer that was killed can make the very same append.

Every event says in its id which append it is a part of. So whoever reads the log can tell what should be there.
"""

from __future__ import annotations

from enum import Enum
from itertools import starmap
from random import Random
from typing import Final, NamedTuple
from uuid import UUID

from attrs import frozen

from esbank.codec import EventCodec, EventRegistry
from esbank.events import event
from esbank.store import ANY_VERSION, NO_STREAM, STREAM_EXISTS, ExpectedVersion, Metadata, NewEvent, StreamId

__all__ = [
    "CATEGORIES",
    "END",
    "REGISTRY",
    "Expectation",
    "Mark",
    "Name",
    "Part",
    "Plan",
    "Way",
    "make_plan",
    "name_of",
]

CATEGORIES: Final = ("TortureNorth", "TortureSouth")
END: Final = tuple(StreamId(category, "end") for category in CATEGORIES)

_HOT_STREAMS: Final = 4
_APPENDS_IN_A_ROW: Final = 20
_WORDS: Final = ("", "ordinary", "Zürich", "数据", "e\u0301", "'; DROP TABLE", "\\u0000", "🏦" * 20)
_LONG: Final = 20_000


@event(name="TortureMark")
@frozen
class Mark:
    """One event of a torture."""

    writer: int
    number: int
    index: int
    text: str


REGISTRY: Final = EventRegistry(Mark)
_CODEC: Final = EventCodec(REGISTRY)


class Expectation(Enum):
    """What an append expects of a stream; SEEN is the version that the writer has just read."""

    SEEN = "seen"
    ANY_VERSION = ANY_VERSION
    NO_STREAM = NO_STREAM
    STREAM_EXISTS = STREAM_EXISTS

    def version(self, seen: int) -> ExpectedVersion:
        """Say it as a store wants it."""
        return seen if self is Expectation.SEEN else self.value


class Way(Enum):
    """How an append is made."""

    ALONE = "append"
    MANY = "append_many"
    TRANSACTION = "transaction"


@frozen
class Part:
    """The events of one stream, and what is expected of it."""

    stream: StreamId
    expectation: Expectation
    events: tuple[NewEvent, ...]


@frozen
class Plan:
    """One append of a writer; `condition` is a stream that must not have moved since its version was read."""

    way: Way
    parts: tuple[Part, ...]
    condition: StreamId | None

    @property
    def streams(self) -> tuple[StreamId, ...]:
        """All streams that have a say in it."""
        written = tuple(part.stream for part in self.parts)
        return written if self.condition is None else (*written, self.condition)

    @property
    def events(self) -> tuple[tuple[StreamId, NewEvent], ...]:
        """All its events, in their order."""
        return tuple((part.stream, new) for part in self.parts for new in part.events)


class Name(NamedTuple):
    """Which append of which writer; what it is called in every record."""

    writer: int
    number: int

    def event_id(self, index: int) -> UUID:
        """Name the event at an index of the append."""
        return UUID(int=(self.writer << 80) | (self.number << 16) | index)

    def __str__(self) -> str:
        return f"append {self.number} of writer {self.writer}"


def name_of(event_id: UUID) -> tuple[Name, int]:
    """Read from an event's id which append it belongs to, and its place in that."""
    number = event_id.int
    return Name(number >> 80, (number >> 16) & (2**64 - 1)), number & 0xFFFF


def make_plan(seed: int, name: Name, *, transactions: bool) -> Plan:
    """Decide what an append is; the same for the same seed and name."""
    random = Random(f"{seed} {name.writer} {name.number}")  # noqa: S311 - to be repeated, not to be secret
    way = random.choices((Way.ALONE, Way.MANY, Way.TRANSACTION), (75, 20, 5 if transactions else 0))[0]
    how_many = 1 if way is Way.ALONE else random.randint(1, 3)
    *streams, unwritten = _choose_streams(random, name, how_many + 1)
    condition = unwritten if way is Way.MANY and random.random() < 0.5 else None  # noqa: PLR2004 - half of them
    return Plan(way, tuple(_parts(random, name, streams)), condition)


def _choose_streams(random: Random, name: Name, count: int) -> list[StreamId]:
    """Choose different streams: some that all writers want, and some of one writer, of which there are ever more."""
    hot = [StreamId(category, str(number)) for category in CATEGORIES for number in range(_HOT_STREAMS)]
    own = [StreamId(category, f"{name.writer}.{name.number // _APPENDS_IN_A_ROW}") for category in CATEGORIES]
    return random.sample([*hot, *own], count)


def _parts(random: Random, name: Name, streams: list[StreamId]) -> list[Part]:
    index = 0
    parts: list[Part] = []
    for stream in streams:
        count = random.choice((1, 1, 1, 2, 5, 20))
        (expectation,) = random.choices(tuple(Expectation), (70, 15, 5, 10))
        marks = [Mark(*name, index + further, _text(random)) for further in range(count)]
        events = tuple(starmap(_new_event, ((random, name, mark) for mark in marks)))
        parts.append(Part(stream, expectation, events))
        index += count
    return parts


def _new_event(random: Random, name: Name, mark: Mark) -> NewEvent:
    metadata = Metadata(correlation_id=f"{name}", actor=random.choice((None, "torturer")))
    return _CODEC.encode(mark, event_id=name.event_id(mark.index), metadata=metadata)


def _text(random: Random) -> str:
    word = random.choice(_WORDS)
    return word * _LONG if random.random() < 0.001 else word  # noqa: PLR2004 - now and then
