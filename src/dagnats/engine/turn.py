"""One event applied to one run: the run, the event, the time, and the effects it has."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct

from dagnats.engine.effects import Effect, Emit, SetTimer
from dagnats.engine.flow import Flow, SlotWait
from dagnats.engine.run import Run
from dagnats.model.codec import ABSENT, raw
from dagnats.model.event import Event, EventType
from dagnats.model.times import format_time
from dagnats.model.workflow import WorkflowDef

if TYPE_CHECKING:
    from dagnats.engine.kind import StepError, StepKind

MAX_SNAPSHOT = 8 * 1024 * 1024 - 64 * 1024
"""Bytes of a snapshot where nothing else is said: our embedded server's ``max_payload``, less some
room for errors and headers."""


NONCE_OF_STEP = 16
"""So many digits of a task's nonce name the dispatch of its step; all items of a map share them."""


class Env(Struct):
    """What the machine knows of the world beyond the run.

    Attributes:
        flow: limits across runs.
        definition: looks a registered definition up by name.
        secret: from which nonces and approval tokens are derived, so that applying an event again
            gives the same ones.
        granted: whether steps of a workflow may use the control plane.
        max_depth: levels of nested runs.
        max_bytes: the largest snapshot that can be kept.
    """

    flow: Flow
    definition: Callable[[str], WorkflowDef | None]
    secret: bytes = b""
    granted: Callable[[str], bool] = lambda _: False
    max_depth: int = 3
    max_bytes: int = MAX_SNAPSHOT

    def nonce(self, *parts: object, size: int = 32) -> str:
        """Hex digits nobody without the secret can guess, the same for the same parts."""
        text = "\0".join(str(part) for part in parts).encode()
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest()[:size]


class Turn:
    """One application of the machine.

    Args:
        run: the run, changed in place.
        event: what happened.
        seq: its sequence in the history stream.
        now: when it was recorded, ns since 1970; the machine has no other clock.
        wall: the engine's clock in ns, for rate limits only: after an outage events are old, but
            tasks start now.
        stamp: ``now`` as wire text.
        failed: steps that could not begin, and why; whoever drives the turn fails them.
    """

    __slots__ = ("effects", "env", "event", "failed", "kinds", "now", "run", "seq", "stamp", "wall")

    def __init__(
        self,
        run: Run,
        event: Event,
        seq: int,
        now: int,
        wall: int,
        env: Env,
        kinds: Mapping[str, StepKind],
    ) -> None:
        self.run = run
        self.event = event
        self.seq = seq
        self.now = now
        self.wall = wall
        self.env = env
        self.kinds = kinds
        self.effects: list[Effect] = []
        self.failed: list[tuple[str, StepError]] = []
        self.stamp = format_time(now)

    def do(self, effect: Effect) -> None:
        """Ask the world for something."""
        self.effects.append(effect)

    def event_of(
        self,
        type_: EventType,
        step_id: str = "",
        *,
        run_id: str = "",
        payload: Raw = ABSENT,
        attempt: int = 0,
    ) -> Event:
        """An event of this run (or of ``run_id``), caused now."""
        return Event(
            type=type_.value,
            run_id=run_id or self.run.id,
            step_id=step_id,
            timestamp=self.stamp,
            payload=payload,
            trace_parent=self.run.snapshot.trace_parent,
            attempt_number=attempt,
        )

    def emit(
        self,
        type_: EventType,
        step_id: str = "",
        *,
        payload: Raw = ABSENT,
        attempt: int = 0,
        msg_id: str = "",
    ) -> None:
        """Append an event to this run's own history."""
        event = self.event_of(type_, step_id, payload=payload, attempt=attempt)
        self.do(Emit(event, msg_id or message_id(event)))

    def timer(self, kind: str, due: int, event: Event, msg_id: str = "") -> None:
        """Append ``event`` to its run's history at ``due``; that is when it happens."""
        event.timestamp = format_time(due)
        self.do(SetTimer(kind, due, event, msg_id or message_id(event)))

    def wake(self, waits: list[SlotWait], gate: str) -> None:
        """Tell dispatches that what they waited for is theirs now."""
        for wait in waits:
            event = self.event_of(
                EventType.STEP_DISPATCH,
                wait.step_id,
                run_id=wait.run_id,
                payload=raw({"gate": gate}),
                attempt=wait.dispatch,
            )
            self.do(Emit(event, f"{message_id(event)}.{gate}.{self.seq}"))


def message_id(event: Event) -> str:
    """The deduplication id of an event (``wire.md`` 3.3)."""
    parts: list[Any] = [event.run_id]
    if event.step_id:
        parts.append(event.step_id)
    parts.append(event.type)
    if event.attempt_number > 0:
        parts.append(event.attempt_number)
    return ".".join(str(part) for part in parts)
