"""Old data stay readable: new fields take their defaults, and no code of a class runs while it is read."""

from decimal import Decimal
from typing import ClassVar, NoReturn
from uuid import UUID

import pytest
from attrs import Factory, define, field, frozen

from esbank import EventCodec, EventDecodingError, EventRegistry
from esbank.store import NO_METADATA, StoredEvent, StreamId


@define
class Contact:
    name: str
    phones: list[str] = field(factory=list)


@frozen
class Registered:
    """Began with `name` alone."""

    name: str
    country: str = "EG"
    limit: Decimal | None = None
    tags: tuple[str, ...] = ("new",)
    contacts: list[Contact] = field(factory=list)
    display: str = field(default=Factory(lambda self: self.name.title(), takes_self=True))
    shown: str = field(init=False, default=Factory(lambda self: f"{self.display} ({self.country})", takes_self=True))


@frozen
class Counted:
    """Would not let itself be made with what is stored."""

    made: ClassVar[list[int]] = []
    value: int

    def __attrs_post_init__(self) -> None:
        Counted.made.append(self.value)
        if self.value < 0:
            raise ValueError("no longer allowed")


@frozen
class OwnInit:
    value: int

    def __init__(self) -> NoReturn:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnInit) and other.value == self.value

    def __hash__(self) -> int:
        return self.value


@frozen
class WithPart:
    part: Counted


def read(cls: type, data: str) -> object:
    stored = StoredEvent(StreamId("Any", "1"), 1, 1, UUID(int=1), cls.__name__, 1, data, NO_METADATA, 0)
    return EventCodec(EventRegistry(cls)).decode(stored)


# Text as it is written is read on a short cut, and with a space on the long way.
OLD = ['{"name":"alice smith"}', '{"name": "alice smith"}']


@pytest.mark.parametrize("data", OLD)
def test_a_field_that_the_data_do_not_have_takes_its_default(data: str) -> None:
    event = read(Registered, data)

    assert event == Registered("alice smith")
    assert (event.country, event.limit, event.tags) == ("EG", None, ("new",))


@pytest.mark.parametrize("data", OLD)
def test_a_default_can_be_made_of_the_fields_before_it(data: str) -> None:
    event = read(Registered, data)

    assert event.display == "Alice Smith"
    assert event.shown == "Alice Smith (EG)"


@pytest.mark.parametrize("data", OLD)
def test_every_event_gets_a_default_of_its_own(data: str) -> None:
    one, other = read(Registered, data), read(Registered, data)

    assert one.contacts == other.contacts == []
    assert one.contacts is not other.contacts


@pytest.mark.parametrize(
    "data",
    ['{"name":"a","contacts":[{"name":"b"}]}', '{"contacts": [{"name": "b"}], "name": "a"}'],
)
def test_a_part_takes_its_defaults_too(data: str) -> None:
    assert read(Registered, data).contacts == [Contact("b", [])]


@pytest.mark.parametrize("data", ['{"name":"a","limit":null}', '{"name": "a", "limit": null}'])
def test_null_is_a_value_and_not_a_missing_one(data: str) -> None:
    assert read(Registered, data).limit is None


@pytest.mark.parametrize("data", ['{"name":"a","country":null}', '{"name": "a", "country": null}'])
def test_null_does_not_stand_for_the_default(data: str) -> None:
    with pytest.raises(EventDecodingError, match=r"field country.*expected str, got NoneType"):
        read(Registered, data)


@pytest.mark.parametrize("data", ['{"country":"EG"}', '{"country": "EG"}'])
def test_a_field_without_a_default_must_be_there(data: str) -> None:
    with pytest.raises(EventDecodingError, match=r"field name.*it is missing, and the field has no default"):
        read(Registered, data)


@pytest.mark.parametrize("data", ['{"value":-1}', '{"value": -1}'])
def test_reading_does_not_run_what_runs_after_init(data: str) -> None:
    before = len(Counted.made)

    assert read(Counted, data).value == -1
    assert len(Counted.made) == before


@pytest.mark.parametrize("data", ['{"part":{"value":-1}}', '{"part": {"value": -1}}'])
def test_reading_does_not_run_it_for_a_part_either(data: str) -> None:
    assert read(WithPart, data).part.value == -1


def test_reading_does_not_run_a_hand_written_init() -> None:
    assert read(OwnInit, '{"value":3}').value == 3
