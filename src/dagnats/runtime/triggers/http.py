"""Webhooks and HTTP triggers, from a request to an answer. Knows no web framework.

The HTTP server hands over every request below ``/hooks/`` and ``/api/``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Mapping
from urllib.parse import unquote

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, DagnatsError, InvalidError
from dagnats.model.codec import ABSENT, parse_json, raw
from dagnats.model.event import EventType
from dagnats.model.trigger import HttpTrigger, TriggerDef, WebhookTrigger
from dagnats.runtime.triggers import signature
from dagnats.runtime.triggers.answers import (
    RETRY_AFTER_S,
    HttpRequest,
    HttpResponse,
    accepted,
    ended_badly,
    envelope_data,
    refusal,
)
from dagnats.runtime.triggers.debounce import Debouncer, Event
from dagnats.runtime.triggers.firing import FIRINGS, Fire, Firing, fresh_run_id, run_id_of
from dagnats.runtime.triggers.waiting import Waiting
from dagnats.telemetry.context import clean_traceparent
from dagnats.wire import msgids
from dagnats.wire.stores import Stores
from dagnats.wire.subjects import is_key

__all__ = ["HttpRequest", "HttpResponse", "HttpTriggers"]

log = logging.getLogger("dagnats.triggers")

MAX_WEBHOOK = 1 << 20
"""Largest body of a webhook, in bytes (``engine.md`` HOOK-1)."""

TELL_S = 1.0
"""How often the log says that requests cannot start runs, in seconds."""

HOOKS, API = "/hooks", "/api"

IDEMPOTENCY_KEY = "idempotency-key"
"""Header that makes a webhook harmless to repeat, if the sender gives it."""


class _RefusedError(Exception):
    """A request that starts nothing, and its answer."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


class _Call(Struct, frozen=True):
    """A request that found its trigger, with its headers by lower-case name, the first of each."""

    request: HttpRequest
    trigger: TriggerDef
    headers: Mapping[str, str]


def served_at(trigger: TriggerDef) -> tuple[str, str]:
    """The method and path a trigger answers on; a path outside of its place is put below it."""
    if trigger.webhook is not None:
        return "POST", _below(HOOKS, trigger.webhook.path)
    assert trigger.http is not None
    return trigger.http.method, _below(API, trigger.http.path)


def _below(place: str, path: str) -> str:
    path = unquote(path)
    return path if path.startswith(f"{place}/") else place + path


class HttpTriggers:
    """Answers requests.

    Args:
        stores: the connection.
        firing: publishes what fires.
        debouncer: holds back what is to be debounced.
    """

    def __init__(self, stores: Stores, firing: Firing, debouncer: Debouncer) -> None:
        self._stores = stores
        self._firing = firing
        self._debouncer = debouncer
        self._places: dict[str, tuple[str, str]] = {}
        self._routes: dict[str, dict[str, dict[str, TriggerDef]]] = {}

    async def start(self) -> None:
        """Nothing to begin: the HTTP server asks."""

    async def stop(self) -> None:
        """Answer that there is nothing from now on."""
        self._places.clear()
        self._routes.clear()

    async def add(self, trigger: TriggerDef, written: int, *, live: bool) -> None:
        """Answer for a trigger that is new or has changed.

        Args:
            trigger: the definition.
            written: not needed here.
            live: not needed here.
        """
        del written, live
        await self.remove(trigger)
        method, path = self._places[trigger.id] = served_at(trigger)
        there = self._routes.setdefault(path, {}).setdefault(method, {})
        there[trigger.id] = trigger
        if len(there) > 1:
            about = {"trigger_id": trigger.id, "route": f"{method} {path}"}
            log.warning("several triggers have one route", extra={"about": about})

    async def remove(self, trigger: TriggerDef) -> None:
        """A trigger is gone or disabled."""
        place = self._places.pop(trigger.id, None)
        if place is None:
            return
        method, path = place
        there = self._routes[path]
        del there[method][trigger.id]
        if not there[method]:
            del there[method]
        if not there:
            del self._routes[path]

    def routes(self) -> list[TriggerDef]:
        """The triggers that answer now, their secrets included."""
        return [
            trigger
            for methods in self._routes.values()
            for triggers in methods.values()
            for trigger in triggers.values()
        ]

    def body_limit(self, method: str, path: str) -> int:
        """How many bytes a body may have that goes there."""
        found = self._routes.get(path, {}).get(method)
        return _limit(_first(found)) if found else MAX_WEBHOOK

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request. Cancelling this does not cancel the run it has started."""
        try:
            call = self._admit(request)
            if call.trigger.webhook is not None:
                return await self._webhook(call, call.trigger.webhook)
            assert call.trigger.http is not None
            return await self._exchange(call, call.trigger.http)
        except _RefusedError as refused:
            return refused.response

    # --- what is refused ----------------------------------------------------------------------

    def _admit(self, request: HttpRequest) -> _Call:
        methods = self._routes.get(request.path)
        if methods is None:
            raise _RefusedError(refusal(404, f"nothing answers on {request.path[:128]}"))
        found = methods.get(request.method)
        if found is None:
            allow = {"Allow": ", ".join(sorted(methods))}
            raise _RefusedError(refusal(405, "method not allowed", allow))
        headers: dict[str, str] = {}
        for name, value in request.headers:
            headers.setdefault(name.lower(), value)
        call = _Call(request, _first(found), headers)
        _check(call)
        return call

    def _too_large(self, data: bytes) -> None:
        if not self._firing.fits(data):
            limit = self._stores.bus.max_payload
            text = f"request of {len(data)} bytes exceeds the limit of {limit} bytes of a message"
            raise _RefusedError(refusal(413, text))

    # --- webhooks -----------------------------------------------------------------------------

    async def _webhook(self, call: _Call, webhook: WebhookTrigger) -> HttpResponse:
        data = _json_body(call)
        self._too_large(bytes(data))
        seen = await self._claim_signature(call, webhook)
        try:
            return await self._take(call, data)
        except DagnatsError as error:
            if seen:
                with contextlib.suppress(DagnatsError):
                    await self._stores.http_idempotency.delete(seen)
            raise _unavailable(call, error) from None

    async def _claim_signature(self, call: _Call, webhook: WebhookTrigger) -> str:
        """Take a timestamped signature out of use; the key under which it is remembered."""
        if webhook.signature != signature.TIMESTAMPED:
            return ""
        digest = call.headers[signature.HEADER].removeprefix("sha256=")
        key = f"seen.{call.trigger.id}.{digest}"
        try:
            await self._stores.http_idempotency.create(key, b"")
        except ConflictError:
            FIRINGS.add(1, "webhook", "error")
            raise _RefusedError(refusal(409, "signature was used before")) from None
        except DagnatsError as error:
            raise _unavailable(call, error) from None
        return key

    async def _take(self, call: _Call, data: Raw) -> HttpResponse:
        trigger, now = call.trigger, time.time_ns()
        if trigger.debounce is not None:
            await self._debouncer.take(trigger, "webhook", [Event(data, now, _trace(call))])
            return accepted("")
        run_id = fresh_run_id()
        if given := call.headers.get(IDEMPOTENCY_KEY, ""):
            run_id = run_id_of("webhook", trigger.id, given)
            if await self._is_known(run_id):
                return accepted(run_id)
        msg_id = f"trigger.{trigger.id}.{run_id}"
        await self._fire(call, "webhook", run_id, msg_id, data)
        return accepted(run_id)

    async def _fire(self, call: _Call, kind: str, run_id: str, msg_id: str, data: Raw) -> None:
        now = time.time_ns()
        fire = Fire(
            trigger=call.trigger,
            kind=kind,
            at=now,
            run_id=run_id,
            msg_id=msg_id,
            data=data,
            trace_parent=_trace(call),
        )
        await self._firing.fire([fire], now)

    async def _is_known(self, run_id: str) -> bool:
        if await self._stores.runs.get(f"run.{run_id}") is not None:
            return True
        return await self._stores.history.first(run_id) is not None

    # --- request and response -----------------------------------------------------------------

    async def _exchange(self, call: _Call, http: HttpTrigger) -> HttpResponse:
        data = raw(envelope_data(call.request))
        self._too_large(bytes(data))
        try:
            run_id, msg_id, fresh = await self._identity(call, http)
            async with Waiting(self._stores, run_id) as waiting:
                if fresh or not await self._is_known(run_id):
                    await self._fire(call, "http", run_id, msg_id, data)
                try:
                    async with asyncio.timeout(http.timeout_ms / 1000):
                        return await waiting.answer()
                except TimeoutError:
                    return ended_badly(504, "workflow_timeout", run_id)
        except DagnatsError as error:
            raise _unavailable(call, error) from None

    async def _identity(self, call: _Call, http: HttpTrigger) -> tuple[str, str, bool]:
        """Run id and message id, and whether this request is the first with its key.

        A claim stays when its request fails: whoever repeats that starts the run under its id.
        """
        given = call.headers.get(http.idempotency_header.lower(), "")
        run_id, trigger_id = fresh_run_id(), call.trigger.id
        if not http.idempotency_header or not given:
            return run_id, msgids.event(run_id, EventType.WORKFLOW_STARTED), True
        if not is_key(f"claim.{trigger_id}.{given}"):
            given = "sha256-" + hashlib.sha256(given.encode(errors="surrogatepass")).hexdigest()
        key, bucket, fresh = f"claim.{trigger_id}.{given}", self._stores.http_idempotency, True
        try:
            await bucket.create(key, run_id.encode())
        except ConflictError:
            entry = await bucket.get(key)
            if entry is None:
                raise  # It expired just now; the caller may try again.
            run_id, fresh = entry.value.decode(errors="replace"), False
        return run_id, msgids.http_start(trigger_id, given), fresh


def _first(triggers: Mapping[str, TriggerDef]) -> TriggerDef:
    """Of several on one route always the same one, on every server."""
    return triggers[min(triggers)]


def _limit(trigger: TriggerDef) -> int:
    return trigger.http.max_body_bytes if trigger.http is not None else MAX_WEBHOOK


def _check(call: _Call) -> None:
    """Size and signature."""
    trigger, body = call.trigger, call.request.body
    kind = "webhook" if trigger.webhook is not None else "http"
    if len(body) > _limit(trigger):
        FIRINGS.add(1, kind, "error")
        raise _RefusedError(refusal(413, f"request body too large (max {_limit(trigger)} bytes)"))
    webhook, http = trigger.webhook, trigger.http
    secret = webhook.secret if webhook else http.secret if http else ""
    mode = webhook.signature if webhook else ""
    problem = signature.problem(secret, mode, call.headers, body, time.time())
    if problem:
        FIRINGS.add(1, kind, "error")
        raise _RefusedError(refusal(401, problem))


def _json_body(call: _Call) -> Raw:
    body = call.request.body
    if not body:
        return ABSENT
    try:
        parse_json(body)
    except InvalidError as error:
        FIRINGS.add(1, "webhook", "error")
        raise _RefusedError(refusal(400, f"request body is {error.message}")) from None
    return Raw(body)


def _trace(call: _Call) -> str:
    return clean_traceparent(call.headers.get("traceparent", ""))


class _Told:
    """When somebody was last told that requests fail."""

    at = 0.0

    @classmethod
    def now(cls) -> bool:
        """Whether it is time to tell it again."""
        now = time.monotonic()
        if now - cls.at < TELL_S:
            return False
        cls.at = now
        return True


def _unavailable(call: _Call, error: DagnatsError) -> _RefusedError:
    about = {"trigger_id": call.trigger.id, "error": error.message}
    # One line of many requests that fail together; the metric counts them all.
    level = logging.WARNING if _Told.now() else logging.DEBUG
    log.log(level, "request could not start a run", extra={"about": about})
    FIRINGS.add(1, "webhook" if call.trigger.webhook else "http", "error")
    headers = {"Retry-After": RETRY_AFTER_S}
    return _RefusedError(refusal(503, "failed to publish event: try again", headers))
