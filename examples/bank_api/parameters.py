"""What requests may say beside their bodies: the parts of a path, queries and headers, each with its bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, TypeAlias

from attrs import frozen
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from esbank import Metadata

__all__ = [
    "AccountId",
    "After",
    "AfterAccount",
    "AtLeast",
    "Caller",
    "IdempotencyKey",
    "IfMatch",
    "IfNoneMatch",
    "InvalidMoment",
    "LastEventId",
    "Limit",
    "OccurredUntil",
    "RecordedUntil",
    "Version",
    "caller_of",
    "moment_of",
]

_HIGHEST: Final = 2**53 - 1
"""The highest number that every reader of JSON has exactly; no version and no position comes near it."""
_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\n)"
_MOMENT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
"""As RFC 3339 has it, with a time zone; the framework would take a number for the seconds since 1970."""
_IS_MOMENT: Final = {"format": "date-time"}
_LINE: Final = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"

AccountId: TypeAlias = Annotated[
    str, PathParameter(pattern=_ID, description="An id of letters, digits, dots, dashes and underscores.")
]
AfterAccount: TypeAlias = Annotated[
    str | None,
    # Not only an id that this service would give: an account may have been opened by another program.
    QueryParameter(
        name="after", max_length=512, pattern=r"^[^\x00]*$", description="The last account of the page before."
    ),
]
After: TypeAlias = Annotated[int, QueryParameter(ge=0, le=_HIGHEST, description="The last version of the page before.")]
Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=1000, description="How many there may be on a page.")]
Version: TypeAlias = Annotated[
    int, QueryParameter(ge=0, le=_HIGHEST, description="The account as it was at this version; 0 is as it is now.")
]
RecordedUntil: TypeAlias = Annotated[
    str | None,
    QueryParameter(pattern=_MOMENT, schema_extra=_IS_MOMENT, description="By what had been recorded by this moment."),
]
OccurredUntil: TypeAlias = Annotated[
    str | None,
    QueryParameter(pattern=_MOMENT, schema_extra=_IS_MOMENT, description="By what had happened by this moment."),
]
AtLeast: TypeAlias = Annotated[
    int,
    QueryParameter(ge=0, le=_HIGHEST, description="Wait until the list has seen the event that a command put here."),
]
IfMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        examples=[Example(value='"3"')],
        description="The version that the command is for, as a tag.",
    ),
]
IfNoneMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="If-None-Match",
        examples=[Example(value='"3"')],
        description="The version that the reader has, as a tag.",
    ),
]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=_LINE,
        description="A new one for each command, and the same for each time that it is sent.",
    ),
]
LastEventId: TypeAlias = Annotated[
    int,
    HeaderParameter(name="Last-Event-ID", ge=0, le=_HIGHEST, description="The last version seen; a browser sends it."),
]


class InvalidMoment(Exception):
    """A text that looks like a moment, and is none."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"{self.text} never was"


def moment_of(text: str | None) -> datetime | None:
    """Read a moment. Raises `InvalidMoment`, as for the 30th of February."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise InvalidMoment(text) from error


@frozen
class Caller:
    """Who has sent a request, in which conversation, as the headers say."""

    actor: str | None
    correlation_id: str | None

    @property
    def metadata(self) -> Metadata:
        """What is to be known about the events of a command of theirs."""
        return Metadata(actor=self.actor, correlation_id=self.correlation_id)


def caller_of(
    actor: Annotated[
        str | None,
        HeaderParameter(
            name="X-Actor",
            min_length=1,
            max_length=200,
            pattern=_LINE,
            description="Who is asking; in place of a proof of it, which a real service needs.",
        ),
    ] = None,
    correlation_id: Annotated[
        str | None,
        HeaderParameter(
            name="X-Correlation-ID",
            min_length=1,
            max_length=200,
            pattern=_LINE,
            description="The conversation that the command belongs to.",
        ),
    ] = None,
) -> Caller:
    """Take from the headers who has sent a request."""
    return Caller(actor, correlation_id)
