"""One account: commands on it, what it is, what it was, and its events."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import RawBody
from litestar.response import ServerSentEvent

from esbank import StorageError
from esbank.bank import OpenAccount

from .answers import Account, AccountEvent, Events, Executed
from .commands import read_command
from .conditions import etag, is_current
from .description import Described, DescribedCommand
from .parameters import (
    AccountId,
    After,
    Caller,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    LastEventId,
    Limit,
    OccurredUntil,
    RecordedUntil,
    Version,
    moment_of,
)
from .problems import UnsupportedMediaType, problems
from .service import Service
from .streams import Streams

__all__ = ["AccountController"]

_JSON: Final = "application/json"
_ETAG: Final = ResponseHeader(name="ETag", description="The version of the account.", documentation_only=True)


class AccountController(Controller):
    """The handlers of what begins with the path of an account.

    In one class, because Litestar 2.25 puts a handler into a thread twice when another joins it on its path later.
    """

    path = "/accounts/{account_id:str}"

    @post(
        operation_id="execute",
        operation_class=DescribedCommand,
        summary="Execute a command on an account",
        description="With an `Idempotency-Key` of its own, a command may be sent again, whatever has happened.",
        status_code=200,
        responses={
            201: ResponseSpec(Executed, generate_examples=False, description="The account was opened"),
            **problems(400, 404, 409, 412, 413, 415, 422, 503),
        },
        response_headers=[_ETAG],
        sync_to_thread=True,
    )
    def execute(
        self,
        account_id: AccountId,
        body: RawBody,
        request: Request[Any, Any, Any],
        service: NamedDependency[Service],
        caller: NamedDependency[Caller],
        idempotency_key: IdempotencyKey = None,
        if_match: IfMatch = None,
    ) -> Response[Executed]:
        """Execute a command on an account."""
        if request.content_type[0] != _JSON:
            raise UnsupportedMediaType
        command = read_command(body)
        executed = service.execute(
            account_id, command, metadata=caller.metadata, command_id=idempotency_key, if_match=if_match
        )
        answer = Executed.after(account_id, executed.state, executed.version, executed.position)
        headers = {"ETag": etag(executed.version)}
        if isinstance(command, OpenAccount):
            return Response(answer, status_code=201, headers={**headers, "Location": f"/accounts/{account_id}"})
        return Response(answer, headers=headers)

    @get(
        operation_id="readAccount",
        operation_class=Described,
        summary="Show an account",
        description="As it is, at a version, by what was known by a moment, or by what had happened by a moment.",
        responses={
            304: ResponseSpec(None, description="The reader has this version already"),
            **problems(404, 422, 503),
        },
        response_headers=[_ETAG],
        sync_to_thread=True,
    )
    def read_account(
        self,
        account_id: AccountId,
        service: NamedDependency[Service],
        version: Version = 0,
        recorded_until: RecordedUntil = None,
        occurred_until: OccurredUntil = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response[Account]:
        """Show an account as it is, or as it was."""
        loaded = service.account(
            account_id,
            version=version or None,
            recorded_until=moment_of(recorded_until),
            occurred_until=moment_of(occurred_until),
        )
        if version or recorded_until or occurred_until:
            # No tag: what was must not be taken for what is, in an If-Match.
            return Response(Account.of(account_id, loaded.state, loaded.version))
        headers = {"ETag": etag(loaded.version)}
        if is_current(if_none_match, loaded.version):
            return Response[Any](None, status_code=304, headers=headers)
        return Response(Account.of(account_id, loaded.state, loaded.version), headers=headers)

    @get(
        "/events",
        operation_id="readEvents",
        operation_class=Described,
        summary="List the events of an account",
        description="In order, page by page.",
        responses=problems(404, 422, 503),
        sync_to_thread=True,
    )
    def read_events(
        self, account_id: AccountId, service: NamedDependency[Service], after: After = 0, limit: Limit = 100
    ) -> Events:
        """List events of an account."""
        envelopes = service.events(account_id, after=after, limit=limit + 1)
        events = [AccountEvent.of(envelope) for envelope in envelopes[:limit]]
        more = len(envelopes) > limit
        url = f"/accounts/{account_id}/events?after={events[-1].version}&limit={limit}" if more else None
        return Events(events, url)

    @get(
        "/events/stream",
        operation_id="streamEvents",
        operation_class=Described,
        summary="Follow the events of an account",
        description="Server-sent events: those after `after` and `Last-Event-ID`, and then each new one.",
        media_type="text/event-stream",
        responses=problems(404, 422, 503),
    )
    async def stream_events(
        self,
        account_id: AccountId,
        service: NamedDependency[Service],
        streams: NamedDependency[Streams],
        after: After = 0,
        last_event_id: LastEventId = 0,
    ) -> ServerSentEvent:
        """Send the events of an account as they come."""
        with suppress(StorageError):  # the stream waits for the store; a browser would not ask again after a 503
            await sync_to_thread(service.events, account_id, after=0, limit=1)  # a stranger is told so before it begins
        return ServerSentEvent(streams.of(account_id, after=max(after, last_event_id)))
