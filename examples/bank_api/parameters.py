"""What requests may say beside their bodies: the parts of a path, queries and headers, each with its bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, TypeAlias

from attrs import frozen
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
    "LastEventId",
    "Limit",
    "Moment",
    "Version",
    "caller_of",
]

_HIGHEST: Final = 2**53 - 1
"""The highest number that every reader of JSON has exactly; no version and no position comes near it."""
_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\n)"
_LINE: Final = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"

AccountId: TypeAlias = Annotated[
    str, PathParameter(pattern=_ID, description="An id of letters, digits, dots, dashes and underscores.")
]
AfterAccount: TypeAlias = Annotated[
    str | None, QueryParameter(name="after", pattern=_ID, description="The last account of the page before.")
]
After: TypeAlias = Annotated[int, QueryParameter(ge=0, le=_HIGHEST, description="The last version of the page before.")]
Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=1000, description="How many there may be on a page.")]
Version: TypeAlias = Annotated[
    int | None, QueryParameter(ge=1, le=_HIGHEST, description="The account as it was at this version.")
]
Moment: TypeAlias = Annotated[datetime | None, QueryParameter(description="A moment, with its time zone.")]
AtLeast: TypeAlias = Annotated[
    int | None,
    QueryParameter(
        ge=0, le=_HIGHEST, description="Wait until the list has seen this position, as a command has given it."
    ),
]
IfMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match", max_length=1000, description='The version that the command is for, such as `"3"`.'
    ),
]
IfNoneMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(name="If-None-Match", max_length=1000, description='The version at hand, such as `"3"`.'),
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
    int | None,
    HeaderParameter(name="Last-Event-ID", gt=-1, le=_HIGHEST, description="The last version seen; a browser sends it."),
]


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
