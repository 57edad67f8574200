"""One fire of a trigger: the envelope, the message that starts the run, and the record of it."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Sequence

from msgspec import Raw, Struct

from dagnats.model.codec import ABSENT, encode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.spans import RUN_ID, Value
from dagnats.model.times import format_time
from dagnats.model.trigger import TriggerDef, TriggerEnvelope, TriggerFire
from dagnats.telemetry.context import TRACEPARENT
from dagnats.telemetry.metrics import METRICS
from dagnats.telemetry.spans import TRACER, Open
from dagnats.wire import msgids, subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.triggers")

FIRINGS = METRICS.counter(
    "trigger_firings_total",
    "Fires of triggers by kind and outcome (fired, skipped, error).",
    ("type", "outcome"),
)

_RARE = ("cron", "manual")
"""Kinds whose every fire is worth a line in the log; the run they start has its own anyway."""

OVERHEAD = 4096
"""Bytes of a start message that are not the envelope's data: ids, names, headers."""


class Fire(Struct, frozen=True, kw_only=True):
    """A reason to start a run.

    Args:
        trigger: which one fires.
        kind: as in the envelope: ``cron``, ``manual``, ``subject``, ``webhook``, ``http``.
        at: the time it stands for, ns since 1970; a cron fire that is made up for names its minute.
        run_id: of the run to start.
        msg_id: makes a repeat harmless.
        data: the envelope's data, JSON.
        trace_parent: W3C context of who caused it.
    """

    trigger: TriggerDef
    kind: str
    at: int
    run_id: str
    msg_id: str
    data: Raw = ABSENT
    trace_parent: str = ""

    def start(self, trace_parent: str = "") -> Outgoing:
        """The message that starts the run, within the trace given."""
        envelope = TriggerEnvelope(
            trigger=self.kind,
            source=self.trigger.id,
            workflow_id=self.trigger.workflow_id,
            timestamp=format_time(self.at),
            data=self.data,
        )
        event = Event(
            type=EventType.WORKFLOW_STARTED.value,
            run_id=self.run_id,
            timestamp=format_time(self.at),
            payload=raw(envelope),
            trace_parent=trace_parent,
        )
        headers = {TRACEPARENT: trace_parent} if trace_parent else {}
        return Outgoing(subjects.history(self.run_id), encode(event), self.msg_id, headers)

    def record(self, now: int) -> Outgoing:
        """The row of the trigger's history."""
        fire = TriggerFire(
            trigger_id=self.trigger.id,
            workflow_id=self.trigger.workflow_id,
            run_id=self.run_id,
            source=self.kind,
            fired_at=format_time(now),
        )
        return fire_message(fire, self.msg_id)


def _span(fire: Fire) -> Open:
    """The span of a fire: within the trace of what caused it, else perhaps the first of one."""
    about: dict[str, Value] = {
        RUN_ID: fire.run_id,
        "trigger_id": fire.trigger.id,
        "trigger_source": fire.kind,
        "workflow_id": fire.trigger.workflow_id,
    }
    parent = fire.trace_parent
    recorded = TRACER.follows(parent) if parent else TRACER.samples()
    return Open("trigger.fire", "producer", parent, about, recorded=recorded)


def fire_message(fire: TriggerFire, start_id: str) -> Outgoing:
    """A row of a trigger's history; ``start_id`` is the message id of what it tells of."""
    subject = subjects.trigger_fire(fire.trigger_id)
    return Outgoing(subject, encode(fire), msgids.trigger_fire(start_id))


def run_id_of(*cause: object) -> str:
    """The run id of a cause: 32 hex digits, the same for the same cause on every server."""
    text = "\0".join(str(part) for part in cause).encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def fresh_run_id() -> str:
    """A run id for a cause that cannot come twice."""
    return secrets.token_hex(16)


class Firing:
    """Publishes fires.

    Args:
        stores: the connection.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def fits(self, data: bytes) -> bool:
        """Whether a start with this data is within the server's limit."""
        # Embedded JSON escapes a few characters; only a large body needs the exact number.
        limit = self._stores.bus.max_payload - OVERHEAD
        return len(data) <= limit // 6 or len(encode(Raw(data))) <= limit

    async def fire(
        self, fires: Sequence[Fire], now: int, more: Sequence[Outgoing] = ()
    ) -> list[bool]:
        """Start runs and record it; whether each start was new.

        Args:
            fires: what to start.
            now: when the history says it fired, ns since 1970.
            more: messages that go out behind them.

        Raises:
            PublishError: not everything was stored; to repeat it is harmless.
        """
        opened = [_span(fire) for fire in fires]
        starts = [fire.start(span.traceparent) for fire, span in zip(fires, opened, strict=True)]
        records = [fire.record(now) for fire in fires]
        acks = await self._stores.publisher.publish_all([*starts, *records, *more])
        fresh = [not ack.duplicate for ack in acks[: len(starts)]]
        for fire, span, new in zip(fires, opened, fresh, strict=True):
            if new:
                if span.recorded:
                    TRACER.emit(span.closed())
                FIRINGS.add(1, fire.kind, "fired")
                about = {"trigger_id": fire.trigger.id, "run_id": fire.run_id}
                level = logging.INFO if fire.kind in _RARE else logging.DEBUG
                log.log(level, "%s trigger fired", fire.kind, extra={"about": about})
        return fresh

    async def refuse(
        self, trigger: TriggerDef, kind: str, reason: str, cause: str, *, skipped: bool = False
    ) -> None:
        """Record that nothing was started, and why.

        Args:
            trigger: which one.
            kind: as in :class:`Fire`.
            reason: one line.
            cause: tells this from other refusals; the same cause is recorded once.
            skipped: it was meant to be so; otherwise it is an error.
        """
        FIRINGS.add(1, kind, "skipped" if skipped else "error")
        level = logging.INFO if skipped else logging.WARNING
        word = "skipped" if skipped else "failed"
        about = {"trigger_id": trigger.id, "reason": reason}
        log.log(level, "%s trigger %s", kind, word, extra={"about": about})
        fire = TriggerFire(
            trigger_id=trigger.id,
            workflow_id=trigger.workflow_id,
            source=kind,
            fired_at=format_time(time.time_ns()),
            skipped=skipped,
            skip_reason=reason if skipped else "",
            error="" if skipped else reason,
        )
        await self._stores.publisher.publish(fire_message(fire, f"trigger.{trigger.id}.{cause}"))
