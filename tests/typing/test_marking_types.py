"""A method that is marked with the class of something else is a type error."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, assert_type

from attrs import define, frozen

from esbank import Aggregate, EventEnvelope, Projector, applies, event, handles, projects
from esbank.store import Transaction


@frozen
class Command:
    pass


@frozen
class Open(Command):
    pass


@frozen
class Close(Command):
    pass


@frozen
class DoorEvent:
    pass


@event
@frozen
class Opened(DoorEvent):
    by: str = ""


@event(name="Closed", schema_version=2)
@frozen
class Closed(DoorEvent):
    by: str = ""


@define
class Door(Aggregate[Command, DoorEvent]):
    """Everything as it should be."""

    category: ClassVar[str] = "Door"
    moves: int = 0

    @handles(Open)
    def open(self, _: Open) -> Iterator[DoorEvent]:
        yield Opened()

    @handles(Close)
    def close(self, _: Close) -> list[DoorEvent]:
        return [Closed()]

    @applies(Opened, Closed)
    def _moved(self, event: Opened | Closed) -> None:
        assert_type(event.by, str)
        self.moves += 1


class Moves(Projector):
    """Everything as it should be."""

    tables: ClassVar[Mapping[str, str]] = {"moves": "(by TEXT)"}

    @projects(Opened, Closed)
    def _moved(self, envelope: EventEnvelope[Opened | Closed], tx: Transaction) -> None:
        assert_type(envelope.event, Opened | Closed)
        tx.execute("INSERT INTO {moves} VALUES (:by)", {"by": envelope.event.by})


class LooseMoves(Projector):
    """A method may take more than it is marked with."""

    @projects(Opened)
    def _moved(self, envelope: EventEnvelope[DoorEvent], _: Transaction) -> None:
        assert_type(envelope.event, DoorEvent)


@define
class WrongDoor(Aggregate[Command, DoorEvent]):
    category: ClassVar[str] = "WrongDoor"

    @handles(Open)  # type: ignore[arg-type]
    def open(self, _: Close) -> Iterator[DoorEvent]:
        yield Opened()

    @handles(Close)  # type: ignore[arg-type]
    def close(self, _: Close) -> None:
        pass

    @applies(Opened)  # type: ignore[arg-type]
    def _opened(self, event: Closed) -> None:
        pass


class WrongMoves(Projector):
    @projects(Opened)  # type: ignore[arg-type]
    def _opened(self, envelope: EventEnvelope[Closed], tx: Transaction) -> None:
        pass

    @projects(Closed)  # type: ignore[arg-type]
    def _closed(self, event: Closed, tx: Transaction) -> None:
        pass


def test_marking_leaves_classes_and_methods_what_they_were() -> None:
    assert_type(Opened("me"), Opened)
    assert_type(Closed(by="me"), Closed)
    assert_type(list(Door().open(Open())), list[DoorEvent])
    assert_type(Door.event_classes(), tuple[type[DoorEvent], ...])
    assert Door.event_classes() == (Opened, Closed)


def test_handling_and_applying_take_what_the_aggregate_is_of() -> None:
    door = Door()
    for happened in door.handle(Open()):
        assert_type(happened, DoorEvent)
        door.apply(happened)

    assert door.moves == 1


def test_what_type_checkers_refuse_is_only_marked() -> None:
    # At run time the marks are all there is, so these classes exist.
    assert WrongDoor.event_classes() == (Opened,)
    assert set(WrongMoves.event_classes()) == {Opened, Closed}
    assert set(Moves.event_classes()) == {Opened, Closed}
    assert LooseMoves.event_classes() == (Opened,)
