"""What workers behind HTTP say about their tasks."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from msgspec import Raw

from dagnats.errors import InvalidError, TooLargeError
from dagnats.model.codec import ABSENT, is_absent, raw
from dagnats.model.event import EventType
from dagnats.model.run import WorkflowRun
from dagnats.model.task import FailureType
from dagnats.server.bridge.tasks import wanted
from dagnats.server.bridge.tickets import Ticket, Tickets
from dagnats.services import runs
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.session import Session
from dagnats.wire.subjects import is_key
from dagnats.worker.link import WorkerLink
from dagnats.worker.outcome import MAX_RETRY_AFTER_MS, MIN_RETRY_AFTER_MS, failed
from dagnats.worker.records import event_message

MAX_PAUSE_MS = 3_600_000
"""Longest pause and longest wait for a signal (``wire.md`` 13.2)."""

PULSE_S = 0.3
"""How often a task that waits for a signal says that it lives, in seconds; no ack wait is shorter
than a second."""


class Resolution(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What happened to a task; which keys matter depends on ``action``.

    Args:
        output: of ``complete`` and ``continue``, any JSON value.
        error: of ``fail``.
        failure_type: of ``fail``: ``retriable`` (default), ``non_retriable`` or ``retry_after``.
        retry_after_ms: of ``fail``, with ``retry_after``.
        name: of the signal, for ``send_signal`` and ``wait_signal``.
        duration_ms: of ``pause``, up to an hour.
        checkpoint: of ``pause``; kept for the next attempt.
        data: of ``checkpoint``, ``stream`` and ``send_signal``.
        run_id: of the run that ``send_signal`` is for.
        timeout_ms: of ``wait_signal``, up to an hour.
    """

    action: str = ""
    output: Raw = ABSENT
    error: str = ""
    failure_type: str = ""
    retry_after_ms: int = 0
    name: str = ""
    duration_ms: int = 0
    checkpoint: Raw = ABSENT
    data: Raw = ABSENT
    run_id: str = ""
    timeout_ms: int = 0


ACTIONS = (
    *("complete", "fail", "continue", "pause", "checkpoint"),
    *("heartbeat", "stream", "send_signal", "wait_signal"),
)


class Results:
    """Turns what workers say into events.

    Args:
        session: the connection.
        link: the same, as a worker uses it.
        tickets: reads the task ids.
    """

    def __init__(self, session: Session, link: WorkerLink, tickets: Tickets) -> None:
        self._session = session
        self._link = link
        self._tickets = tickets

    async def resolve(self, task_id: str, said: Resolution) -> bytes:
        """Do what a worker asks for.

        Saying the same twice is harmless: a worker that got no answer says it again.

        Returns:
            What to answer, as JSON; empty when there is nothing to say.

        Raises:
            NotFoundError: no server of this deployment handed out such a task.
            InvalidError: the request makes no sense.
            TimeoutError: no signal came in time.
        """
        if not said.action:
            raise InvalidError("action is required")
        if said.action not in ACTIONS:
            raise InvalidError(
                f"invalid action: {said.action[:64]}", f"one of {', '.join(ACTIONS)}"
            )
        ticket = self._tickets.read(task_id)
        match said.action:
            case "complete":
                await self._result(ticket, EventType.STEP_COMPLETED, said.output)
            case "continue":
                await self._result(ticket, EventType.STEP_CONTINUE, said.output)
            case "fail":
                await self._result(ticket, EventType.STEP_FAILED, _failure(said))
            case "pause":
                await self._pause(ticket, said)
            case _:
                return await self._meanwhile(ticket, said)
        return b""

    def hand_back(self, task_ids: list[str]) -> None:
        """Tasks nobody has: the queue gives them to the next one."""
        for task_id in task_ids:
            self._tell(self._tickets.read(task_id), b"-NAK")

    async def _meanwhile(self, ticket: Ticket, said: Resolution) -> bytes:
        """What a worker may say while it goes on; each is a sign of life as well."""
        self._tell(ticket, b"+WPI")
        match said.action:
            case "checkpoint":
                await self._checkpoint(ticket, said.data)
            case "stream":
                self._link.stream(ticket.run_id, ticket.step_id, bytes(said.data))
            case "send_signal":
                await self._send_signal(said)
            case "wait_signal":
                return await self._wait_signal(ticket, said)
            case _:
                return await self._heartbeat(ticket)
        return b""

    async def _result(self, ticket: Ticket, kind: EventType, body: Raw) -> None:
        message = event_message(
            kind,
            ticket.payload,
            body,
            worker_id=ticket.worker_id,
            queued_ns=ticket.queued_ns,
        )
        if len(message.data) > self._link.max_event:
            await self._too_large(ticket, len(message.data))
        error = await self._link.outbox.post(message).future
        if error is not None:
            raise error
        self._tell(ticket, b"+ACK")

    async def _too_large(self, ticket: Ticket, size: int) -> None:
        """Trying again gives the same output: the step fails for good, and the worker is told."""
        limit = self._link.max_event
        text = f"output of {size} bytes exceeds the server's limit of {limit} bytes"
        failure = failed(text, FailureType.NON_RETRIABLE, error_type="TooLargeError").failure
        await self._result(ticket, EventType.STEP_FAILED, raw(failure))
        raise TooLargeError(text, "put it elsewhere and return where it is")

    async def _pause(self, ticket: Ticket, said: Resolution) -> None:
        if not 0 < said.duration_ms <= MAX_PAUSE_MS:
            raise InvalidError(f"duration_ms must be in (0, {MAX_PAUSE_MS}]")
        if not is_absent(said.checkpoint):
            await self._checkpoint(ticket, said.checkpoint)
        self._tell(ticket, b'-NAK {"delay":%d}' % (said.duration_ms * 1_000_000))

    async def _checkpoint(self, ticket: Ticket, data: Raw) -> None:
        if is_absent(data):
            raise InvalidError("data is required")
        await self._link.save_checkpoint(f"{ticket.run_id}.{ticket.step_id}", bytes(data))

    async def _heartbeat(self, ticket: Ticket) -> bytes:
        """Nothing, or the news that nobody wants the result any more."""
        run = await self._run(ticket.run_id)
        return b"" if wanted(run, ticket.payload, 2) else b'{"cancelled":true}'

    async def _run(self, run_id: str) -> WorkflowRun | None:
        entry = await self._link.stores.runs.get(RUN_PREFIX + run_id)
        return None if entry is None else entry.value

    async def _send_signal(self, said: Resolution) -> None:
        if not said.run_id or not is_key(said.run_id):
            raise InvalidError("run_id is required")
        if not said.name:
            raise InvalidError("name is required")
        await runs.signal_run(self._session, said.run_id, said.name, bytes(said.data) or b"null")

    async def _wait_signal(self, ticket: Ticket, said: Resolution) -> bytes:
        if not said.name or not is_key(said.name):
            raise InvalidError("name is required")
        if not 0 < said.timeout_ms <= MAX_PAUSE_MS:
            raise InvalidError(f"timeout_ms must be in (0, {MAX_PAUSE_MS}]")
        pulse = asyncio.create_task(self._pulse(ticket))
        try:
            limit = said.timeout_ms / 1000
            return await self._link.take_signal(ticket.run_id, said.name, limit) or b"null"
        finally:
            pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulse

    async def _pulse(self, ticket: Ticket) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            self._tell(ticket, b"+WPI")

    def _tell(self, ticket: Ticket, word: bytes) -> None:
        self._link.bus.publish_soon(ticket.ack, word)


def _failure(said: Resolution) -> Raw:
    kinds = {kind.value for kind in FailureType}
    kind = said.failure_type or FailureType.RETRIABLE.value
    if kind not in kinds:
        raise InvalidError(
            f"invalid failure_type: {kind[:64]}", f"one of {', '.join(sorted(kinds))}"
        )
    if said.retry_after_ms < 0:
        raise InvalidError(f"retry_after_ms is {said.retry_after_ms}", "give a positive number")
    failure = failed(said.error or "failed without a reason", FailureType(kind), error_type="")
    if kind != FailureType.RETRY_AFTER:
        return raw(failure.failure)
    delay = min(max(said.retry_after_ms, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS)
    return raw(msgspec.structs.replace(failure.failure, retry_after_ms=delay))
