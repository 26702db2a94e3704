"""A shopping basket: a domain for tests, with lists and nested objects in its events and in its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from attrs import Factory, define, field, frozen

from esbank import Aggregate, applies, event, handles


@frozen
class BasketCommand:
    pass


@frozen
class Add(BasketCommand):
    sku: str
    quantity: int = 1


@frozen
class AddEach(BasketCommand):
    """Add several, one event for each."""

    skus: list[str]


@frozen
class Fill(BasketCommand):
    """Put these in, and take out whatever was in before."""

    skus: list[str]


@frozen
class Ensure(BasketCommand):
    """Add it unless it is in already."""

    sku: str


@frozen
class AddNumbered(BasketCommand):
    """Add something that is named for how many there are: on another state, it does another thing."""


@frozen
class Note(BasketCommand):
    text: str


@frozen
class CheckOut(BasketCommand):
    pass


@frozen
class BasketEvent:
    pass


@event(name="BasketAdded")
@frozen
class Added(BasketEvent):
    sku: str
    quantity: int = 1


@event(name="BasketFilled")
@frozen
class Filled(BasketEvent):
    skus: list[str]


@define
class Remark:
    """Part of an event and of the state; it can change."""

    text: str
    tags: list[str] = Factory(list)


@event(name="BasketNoted")
@frozen
class Noted(BasketEvent):
    remark: Remark


@event(name="BasketCheckedOut")
@frozen
class CheckedOut(BasketEvent):
    pass


@define(eq=False)
class BasketRefusal(Exception):
    sku: str = ""


class BasketIsFull(BasketRefusal):
    pass


class BasketIsEmpty(BasketRefusal):
    pass


class BasketIsCheckedOut(BasketRefusal):
    pass


@define
class Basket(Aggregate[BasketCommand, BasketEvent]):
    category: ClassVar[str] = "Basket"
    limit: ClassVar[int] = 5000

    skus: list[str] = field(factory=list)
    quantities: dict[str, int] = field(factory=dict)
    remarks: list[Remark] = field(factory=list)
    checked_out: bool = False

    @handles(Add)
    def add(self, command: Add) -> Iterator[BasketEvent]:
        self.require_room(command.sku)
        yield Added(command.sku, command.quantity)

    @handles(AddEach)
    def add_each(self, command: AddEach) -> Iterator[BasketEvent]:
        for sku in command.skus:
            self.require_room(sku)
            yield Added(sku)

    @handles(Fill)
    def fill(self, command: Fill) -> Iterator[BasketEvent]:
        yield Filled(command.skus)

    @handles(Ensure)
    def ensure(self, command: Ensure) -> Iterator[BasketEvent]:
        if command.sku not in self.skus:
            yield Added(command.sku)

    @handles(AddNumbered)
    def add_numbered(self, _: AddNumbered) -> Iterator[BasketEvent]:
        yield Added(f"sku {len(self.skus)}")

    @handles(Note)
    def note(self, command: Note) -> Iterator[BasketEvent]:
        yield Noted(Remark(command.text))

    @handles(CheckOut)
    def check_out(self, _: CheckOut) -> Iterator[BasketEvent]:
        if self.checked_out:
            raise BasketIsCheckedOut
        if not self.skus:
            raise BasketIsEmpty
        yield CheckedOut()

    def require_room(self, sku: str) -> None:
        if self.checked_out:
            raise BasketIsCheckedOut(sku)
        if len(self.skus) >= self.limit:
            raise BasketIsFull(sku)

    @applies(Added)
    def _added(self, event: Added) -> None:
        self.skus.append(event.sku)
        self.quantities[event.sku] = self.quantities.get(event.sku, 0) + event.quantity

    @applies(Filled)
    def _filled(self, event: Filled) -> None:
        self.skus = event.skus
        self.quantities = dict.fromkeys(event.skus, 1)

    @applies(Noted)
    def _noted(self, event: Noted) -> None:
        for remark in self.remarks:
            remark.tags.append("older")
        self.remarks.append(event.remark)

    @applies(CheckedOut)
    def _checked_out(self, _: CheckedOut) -> None:
        self.checked_out = True


@define
class SmallBasket(Basket):
    """A basket that takes three, from now on; it may hold more from before."""

    category: ClassVar[str] = "Basket"
    limit: ClassVar[int] = 3
