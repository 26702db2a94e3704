"""What can go wrong, as RFC 9457 has it: a status that says who is to do something, a type that says what it is.

| status | who does what |
| --- | --- |
| 400, 413, 415, 422 | the caller mends the request: it is no JSON, or JSON that makes no sense |
| 404 | there is no such account (yet) |
| 409 | the request makes sense, and the bank refuses it as the account is now |
| 412 | the caller decided on an old version, and decides again |
| 503 | nobody: the same request, with the same key, may be sent again |
| 500 | us |
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from attrs import frozen
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import ResponseSpec

from esbank import (
    CheckpointError,
    CommandIdReused,
    StorageError,
    UnknownOutcome,
    VersionNotFound,
)
from esbank.bank import (
    AccountAlreadyExists,
    AccountIsClosed,
    AccountNotFound,
    InsufficientFunds,
    InvalidAmount,
    InvalidCommand,
    NonZeroBalance,
)

from .answers import Problem
from .commands import InvalidBody, MalformedBody
from .conditions import PreconditionFailed, etag
from .parameters import InvalidMoment
from .service import Busy, NoSuchPosition, ViewBehind

__all__ = ["HANDLERS", "UnsupportedMediaType", "problems"]

_log: Final = logging.getLogger("bank_api")
_MEDIA_TYPE: Final = "application/problem+json"
_RETRY_AFTER: Final = 503
_OURS: Final = 500


class UnsupportedMediaType(Exception):
    """The body is not said to be JSON."""

    def __str__(self) -> str:
        return "send Content-Type: application/json"


@frozen
class _Kind:
    """How a class of exceptions is told: its status, which of its attributes, and what to say in place of its text.

    The text of an exception is for whoever writes the service, and may name what is inside of it.
    """

    status: int
    told: Mapping[str, str] = {}
    detail: str | None = None


_KINDS: Final[Mapping[type[Exception], _Kind]] = {
    MalformedBody: _Kind(400),
    UnsupportedMediaType: _Kind(415),
    InvalidBody: _Kind(422),
    InvalidAmount: _Kind(422, detail="the amount cannot be: {problem}"),
    InvalidCommand: _Kind(422, detail="{field}: {problem}"),
    InvalidMoment: _Kind(422),
    NoSuchPosition: _Kind(404),
    CommandIdReused: _Kind(
        422, detail="this Idempotency-Key was used for another command on this account; give each its own"
    ),
    AccountNotFound: _Kind(404, {"account_id": "account_id"}, "there is no such account, or was none yet by then"),
    VersionNotFound: _Kind(404, {"actual": "version"}, "the account is at version {actual}, and not there yet"),
    AccountAlreadyExists: _Kind(409, {"account_id": "account_id"}),
    AccountIsClosed: _Kind(409, {"account_id": "account_id"}),
    InsufficientFunds: _Kind(409, {"account_id": "account_id", "requested": "requested", "available": "available"}),
    NonZeroBalance: _Kind(409, {"account_id": "account_id", "balance": "balance"}),
    PreconditionFailed: _Kind(412, {"account_id": "account_id", "version": "version"}),
    Busy: _Kind(503),
    ViewBehind: _Kind(503),
    CheckpointError: _Kind(503, detail="the list is not kept up to date now; accounts themselves are all right"),
    UnknownOutcome: _Kind(
        503, detail="nobody knows whether it has happened; send it again with the same Idempotency-Key"
    ),
    StorageError: _Kind(503, detail="the store cannot be used now; send it again, with the same Idempotency-Key"),
}


def _tell(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Tell of an exception that is in the table, or that derives from one that is."""
    cls = next(cls for cls in type(error).__mro__ if cls in _KINDS)
    kind = _KINDS[cls]
    if isinstance(error, StorageError | CheckpointError):
        _log.error("%s", error, exc_info=error)
    members = {name: getattr(error, attribute) for attribute, name in kind.told.items()}
    headers = {"ETag": etag(error.version)} if isinstance(error, PreconditionFailed) and error.version else {}
    detail = str(error) if kind.detail is None else kind.detail.format_map(vars(error))
    return _response(kind.status, cls.__name__, detail, members, headers)


def _tell_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Tell of what the framework refuses: no such path, no such method, a parameter that makes no sense."""
    if isinstance(error, ValidationException):
        errors = [_as_sent(wrong) for wrong in cast("list[dict[str, Any]]", error.extra or [])]
        return _response(422, "InvalidParameter", "a parameter or a header makes no sense", {"errors": errors})
    if error.status_code >= _OURS:
        return _tell_bug(request, error)
    return _response(error.status_code, None, error.detail, {}, error.headers or {})


def _as_sent(wrong: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name a header as it is sent, where the framework has the name of an argument."""
    return {**wrong, "key": wrong["key"].replace("_", "-")} if wrong.get("source") == "header" else wrong


def _tell_bug(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Tell of what nobody has thought of: the log has all of it, the caller nothing."""
    _log.error("a request failed", exc_info=error)
    return _response(500, None, "this is not your fault; the log of the service has more", {})


def _response(
    status: int, name: str | None, detail: str, members: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response[dict[str, Any]]:
    words = "" if name is None else re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
    title = words.capitalize() or HTTPStatus(status).phrase
    problem = {
        "type": f"urn:esbank:{words.replace(' ', '-')}" if words else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        **members,
    }
    retry = {"Retry-After": "1"} if status == _RETRY_AFTER else {}
    return Response(problem, status_code=status, headers={**retry, **(headers or {})}, media_type=_MEDIA_TYPE)


HANDLERS: Final[dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]]] = {
    **dict.fromkeys(_KINDS, _tell),
    HTTPException: _tell_http,
    Exception: _tell_bug,
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Say which problems an operation may answer with."""
    return {
        status: ResponseSpec(
            Problem, generate_examples=False, description=HTTPStatus(status).phrase, media_type=_MEDIA_TYPE
        )
        for status in statuses
    }
