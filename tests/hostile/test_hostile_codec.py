"""Stored data of any sort, and values of any sort in events: read and written exactly, or refused with the field."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hostile_events import CODEC, FIELDS, Everything, stored
from hostile_outcomes import refused
from hostile_values import ANYTHING, DECIMALS, FEW_OR_MANY, JSON, UNPRINTABLE, anything, explore, json_values, texts
from hypothesis import strategies as st

from esbank import EsbankError, EventDecodingError, EventEncodingError, UnknownEventType


def around(field: str, text: str) -> Iterator[str]:
    """Put a text where a field's value is, in all the ways in which data come."""
    yield f'{{"{field}":{text}}}'
    yield f'{{ "{field}" : {text} }}'
    yield f'{{"{field}":[{text}]}}'
    yield f'{{"{field}":{{"number":{text}}}}}'
    yield f'{{"{field}":{text}'
    yield f'{{"{field}":{text},"{field}":{text}}}'


def read(data: object) -> None:
    """Read data; what is read can be written, and then read again as the same."""
    event = CODEC.decode(stored(data))
    text = CODEC.encode(event).data

    assert CODEC.encode(CODEC.decode(stored(text))).data == text


@pytest.mark.parametrize("field", FIELDS)
def test_data_that_do_not_fit_a_field_are_refused(field: str) -> None:
    data = [whole for text in JSON for whole in around(field, text)]

    assert refused(read, data, EventDecodingError)


def test_data_that_are_no_object_of_the_event_are_refused() -> None:
    data = [whole for text in JSON for whole in (text, f"\ufeff{text}", f'{{"no such field":{text}}}', f"[{text}]")]

    assert refused(read, data, EventDecodingError) == data


@pytest.mark.parametrize("data", [b"{}", b"\xff", b'{"text":"\xff"}', b"", 1, 1.5, None, bytearray(b"{}")], ids=repr)
def test_data_that_are_no_text_are_refused(data: object) -> None:
    with pytest.raises(EventDecodingError, match="expected JSON text"):
        CODEC.decode(stored(data))


@pytest.mark.parametrize("text", JSON, ids=range(len(JSON)))
def test_old_data_are_refused_on_their_way_through_an_upcaster(text: str) -> None:
    for whole in (text, f'{{"label":{text}}}', f'{{"label":"","numbers":{text}}}'):
        for data in refused(lambda data: CODEC.decode(stored(data, schema_version=1)), [whole], EventDecodingError):
            assert data == whole


def test_a_type_and_a_schema_version_of_any_sort_are_refused() -> None:
    names = [value for value in ANYTHING if isinstance(value, (str, bytes, int, float))]

    assert refused(lambda name: CODEC.decode(stored("{}", name)), names, UnknownEventType) == names
    versions = [value for value in names if value not in {1, 2}]
    assert refused(lambda it: CODEC.decode(stored("{}", "Everything", it)), versions, EventDecodingError) == versions


@pytest.mark.parametrize("field", FIELDS)
def test_a_value_that_does_not_fit_its_field_is_refused(field: str) -> None:
    def write(value: object) -> None:
        event = Everything(**{field: value})
        again = CODEC.decode(stored(CODEC.encode(event).data))

        assert getattr(again, field) == value
        assert type(getattr(again, field)) is type(value)

    values = [*ANYTHING, *DECIMALS, *UNPRINTABLE]
    values += [kind([value]) for kind in (list, tuple) for value in values]
    values += [{"key": value} for value in values[: len(ANYTHING)]]

    assert refused(write, values, EventEncodingError)


@FEW_OR_MANY
def test_whatever_is_stored_is_read_exactly_or_refused(examples: int) -> None:
    data = st.dictionaries(st.sampled_from(FIELDS) | texts, json_values, max_size=4)

    @explore(examples, data=data, ascii_only=st.booleans(), cut=st.integers(0, 60), put=texts)
    def _(data: dict[str, object], ascii_only: bool, cut: int, put: str) -> None:  # noqa: FBT001 - hypothesis gives it
        text = json.dumps(data, ensure_ascii=ascii_only)

        refused(read, [text, text[:-cut], text[:cut] + put + text[cut:]], EventDecodingError)


@FEW_OR_MANY
def test_whatever_an_event_holds_is_written_exactly_or_refused(examples: int) -> None:
    @explore(examples, field=st.sampled_from(FIELDS), value=anything)
    def _(field: str, value: object) -> None:
        refused(lambda value: read(CODEC.encode(Everything(**{field: value})).data), [value], EventEncodingError)


@FEW_OR_MANY
def test_whatever_a_command_holds_gets_a_fingerprint_or_is_refused(examples: int) -> None:
    @explore(examples, field=st.sampled_from(FIELDS), value=anything)
    def _(field: str, value: object) -> None:
        refused(lambda value: CODEC.fingerprint([Everything(**{field: value})]), [value], EsbankError)
