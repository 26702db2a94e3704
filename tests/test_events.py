"""What an event is called in a store, and what surrounds it when it is read."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from attrs import define, frozen

from esbank import DefinitionError, EventCodec, EventEnvelope, EventRegistry, Metadata, event
from esbank.store import StoredEvent, StreamId


@frozen
class Unmarked:
    amount: int = 0


@event
@frozen
class BareAboveFrozen:
    amount: int = 0


@frozen
@event
class BareBelowFrozen:
    amount: int = 0


@event(name="Paid", schema_version=3)
@frozen
class AboveFrozen:
    amount: int = 0


@frozen
@event(name="Paid", schema_version=3)
class BelowFrozen:
    amount: int = 0


@event(name="Paid", schema_version=3)
@define
class AboveDefine:
    amount: int = 0


@define
@event(name="Paid", schema_version=3)
class BelowDefine:
    amount: int = 0


@event(name="Paid", schema_version=3)
@define(slots=False)
class AboveDefineWithoutSlots:
    amount: int = 0


@event(name="Renamed")
@frozen
class OnlyNamed:
    amount: int = 0


@event(schema_version=2)
@frozen
class OnlyVersioned:
    amount: int = 0


@frozen
class PaidByCard(AboveFrozen):
    card: str = ""


@event(name="PaidInCash")
@frozen
class PaidInCash(AboveFrozen):
    pass


OCCURRED = datetime(2024, 2, 29, 12, tzinfo=UTC)
RECORDED = OCCURRED + timedelta(days=1)
STORED = StoredEvent(
    StreamId("Till", "1"),
    2,
    40,
    UUID(int=7),
    "Paid",
    3,
    '{"amount":1}',
    Metadata(actor="alice", occurred_at=OCCURRED),
    RECORDED,
)


@pytest.mark.parametrize(
    ("cls", "name", "schema_version"),
    [
        (Unmarked, "Unmarked", 1),
        (BareAboveFrozen, "BareAboveFrozen", 1),
        (BareBelowFrozen, "BareBelowFrozen", 1),
        (AboveFrozen, "Paid", 3),
        (BelowFrozen, "Paid", 3),
        (AboveDefine, "Paid", 3),
        (BelowDefine, "Paid", 3),
        (AboveDefineWithoutSlots, "Paid", 3),
        (OnlyNamed, "Renamed", 1),
        (OnlyVersioned, "OnlyVersioned", 2),
    ],
)
def test_an_event_is_stored_under_the_name_and_the_version_of_its_mark(
    cls: type, name: str, schema_version: int
) -> None:
    stored = EventCodec(EventRegistry(cls)).encode(cls())

    assert (stored.type, stored.schema_version) == (name, schema_version)


def test_a_subclass_of_an_event_is_another_event_under_its_own_name() -> None:
    registry = EventRegistry(AboveFrozen, PaidByCard, PaidInCash)

    assert registry.names == ("Paid", "PaidByCard", "PaidInCash")


def test_a_subclass_of_an_event_does_not_inherit_the_schema_version() -> None:
    assert EventCodec(EventRegistry(PaidByCard)).encode(PaidByCard()).schema_version == 1


def test_marking_gives_back_the_very_class() -> None:
    assert event(Unmarked) is Unmarked


@pytest.mark.parametrize("name", ["", 1, b"Paid", "nul\0", "\ud800"])
def test_a_name_that_no_store_can_hold_is_refused(name: object) -> None:
    with pytest.raises(DefinitionError, match="name"):
        event(name=name)


@pytest.mark.parametrize("schema_version", [0, -1, True, 1.0, "1", None])
def test_a_schema_version_that_is_no_int_from_1_is_refused(schema_version: object) -> None:
    with pytest.raises(DefinitionError, match="schema version"):
        event(schema_version=schema_version)


def test_only_a_class_can_be_marked() -> None:
    with pytest.raises(DefinitionError, match="@event marks a class, not 'Paid'"):
        event("Paid")


def test_an_envelope_holds_the_event_and_the_stored_event() -> None:
    envelope = EventEnvelope(AboveFrozen(1), STORED)

    assert envelope.event == AboveFrozen(1)
    assert envelope.stored is STORED


@pytest.mark.parametrize(
    "attribute",
    [
        "stream",
        "version",
        "position",
        "event_id",
        "type",
        "schema_version",
        "metadata",
        "recorded_at",
        "occurred_at",
    ],
)
def test_an_envelope_tells_what_the_store_knows(attribute: str) -> None:
    envelope = EventEnvelope(AboveFrozen(1), STORED)

    assert getattr(envelope, attribute) == getattr(STORED, attribute)


def test_an_event_occurred_when_it_says() -> None:
    assert EventEnvelope(AboveFrozen(1), STORED).occurred_at == OCCURRED


def test_an_event_that_does_not_say_when_it_occurred_did_so_when_it_was_recorded() -> None:
    stored = StoredEvent(StreamId("Till", "1"), 2, 40, UUID(int=7), "Paid", 3, "{}", Metadata(), RECORDED)

    assert EventEnvelope(AboveFrozen(1), stored).occurred_at == RECORDED


def test_envelopes_are_equal_when_the_event_and_what_is_stored_are() -> None:
    envelope = EventEnvelope(AboveFrozen(1), STORED)

    assert envelope == EventEnvelope(AboveFrozen(1), STORED)
    assert hash(envelope) == hash(EventEnvelope(AboveFrozen(1), STORED))
    assert envelope != EventEnvelope(AboveFrozen(2), STORED)
    assert envelope != EventEnvelope(BelowFrozen(1), STORED)
