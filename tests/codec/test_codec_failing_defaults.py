"""A default that fails is an error at the event that needs it, however many events are read together."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from attrs import Factory, define, frozen

from esbank import (
    Aggregate,
    EventCodec,
    EventEnvelope,
    EventRegistry,
    ProjectionError,
    ProjectionRunner,
    Projector,
    Repository,
    applies,
    projects,
)
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import NewEvent, StoredEvent, StreamId, Transaction

BILL = StreamId("Bill", "1")


@frozen
class Split:
    total: Decimal
    ways: int
    share: Decimal = Factory(lambda self: self.total / self.ways, takes_self=True)


@define
class Bill(Aggregate[Any, Split]):
    category: ClassVar[str] = "Bill"
    splits: int = 0

    @applies(Split)
    def _split(self, _event: Split) -> None:
        self.splits += 1


class Splits(Projector):
    name = "Splits"
    tables: ClassVar = {"splits": "(version INTEGER)"}

    @projects(Split)
    def _split(self, envelope: EventEnvelope[Split], tx: Transaction) -> None:
        tx.execute("INSERT INTO {splits} VALUES (:version)", {"version": envelope.version})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteEventStore]:
    with SQLiteEventStore(tmp_path / "a.db") as store:
        # The seventh is nobody's: a default that is made of other fields fails.
        split = [NewEvent("Split", f'{{"total":"10","ways":{0 if n == 7 else n}}}') for n in range(1, 11)]
        store.append(BILL, split, expected_version=0)
        yield store


def test_a_default_that_fails_is_told_of_the_event_that_lacks_the_field(store: SQLiteEventStore) -> None:
    with pytest.raises(ArithmeticError) as raised:
        Repository(store, Bill).load("1")

    assert "Bill-1 version 7" in raised.value.__notes__[0]


def test_a_projector_stops_at_the_event_whose_default_fails(store: SQLiteEventStore) -> None:
    with pytest.raises(ProjectionError) as raised:
        ProjectionRunner(store, [Splits()]).catch_up()

    assert raised.value.version == 7


def test_envelopes_come_up_to_the_event_whose_default_fails(store: SQLiteEventStore) -> None:
    envelopes = EventCodec(EventRegistry(Split)).envelopes(store.read(BILL))

    assert [next(envelopes).version for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ArithmeticError):
        next(envelopes)


def digits_of(price: "Price | PricedFlat") -> int:
    """Look something up; raise ``StopIteration`` for what is unheard of."""
    return next(digits for code, digits in (("EUR", 2), ("JPY", 0)) if code == price.code)


@frozen
class Price:
    code: str
    digits: int = Factory(digits_of, takes_self=True)


@frozen
class Priced:
    price: Price | None


@frozen
class PricedFlat:
    code: str
    digits: int = Factory(digits_of, takes_self=True)


@pytest.mark.parametrize("unheard", [0, 3, 299])
@pytest.mark.parametrize(("cls", "data"), [(Priced, '{"price":{"code":"%s"}}'), (PricedFlat, '{"code":"%s"}')])
def test_a_stop_iteration_of_a_default_is_an_error_and_no_end(cls: type, data: str, unheard: int) -> None:
    codec = EventCodec(EventRegistry(cls))
    events = [
        StoredEvent(BILL, n + 1, n + 1, bytes(16), cls.__name__, 1, data % ("XXX" if n == unheard else "EUR"), "{}", 0)
        for n in range(300)
    ]
    envelopes = codec.envelopes(events)

    for version in range(1, unheard + 1):
        envelope = next(envelopes)
        assert envelope.version == version
        assert attrs.asdict(envelope.event)
    with pytest.raises(RuntimeError):
        next(envelopes)


def test_a_stop_iteration_of_a_default_stops_a_projector_there(tmp_path: Path) -> None:
    class Prices(Projector):
        name = "Prices"
        tables: ClassVar = {"prices": "(version INTEGER)"}

        @projects(PricedFlat)
        def _priced(self, envelope: EventEnvelope[PricedFlat], tx: Transaction) -> None:
            tx.execute("INSERT INTO {prices} VALUES (:version)", {"version": envelope.version})

    # The first is written with spaces, so all of its page are read one by one.
    data = ['{ "code":"EUR"}', *(f'{{"code":"{"XXX" if n == 7 else "EUR"}"}}' for n in range(2, 601))]
    with SQLiteEventStore(tmp_path / "a.db") as store:
        store.append(BILL, [NewEvent("PricedFlat", one) for one in data], expected_version=0)

        with pytest.raises(ProjectionError) as raised:
            ProjectionRunner(store, [Prices()]).catch_up()

    assert raised.value.version == 7
