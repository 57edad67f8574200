"""Mistakes planted into the engine, to see that the simulation finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from dagnats.engine import machine
from dagnats.engine.flow import Flow, SlotWait
from dagnats.engine.steps import map as map_step
from dagnats.runtime import messages
from dagnats.runtime.session import Session
from dagnats.wire.publisher import Outgoing


@contextmanager
def _snapshot_first() -> Iterator[None]:
    """Snapshot and acknowledge first, publish afterwards."""
    effects, flush = Session._effects, Session._flush
    late: dict[int, list[Outgoing]] = {}

    async def later(self: Session, wanted: list[Any]) -> list[Outgoing]:
        late.setdefault(id(self), []).extend(await effects(self, wanted))
        return []

    async def flush_first(self: Session, what: Any) -> None:
        await flush(self, what)
        await self._stores.publisher.publish_all(late.pop(id(self), []))

    with patch.object(Session, "_effects", later), patch.object(Session, "_flush", flush_first):
        yield


@contextmanager
def _no_message_id() -> Iterator[None]:
    """Tasks are published without a message id."""
    task = messages._task

    def bare(*args: Any) -> Outgoing:
        return msgspec.structs.replace(task(*args), msg_id="")

    with patch.object(messages, "_task", bare):
        yield


@contextmanager
def _one_slot_too_many() -> Iterator[None]:
    """Whoever gives a task slot back lets one more in than there is room for."""
    release = Flow.release

    def generous(self: Flow, task: str, run_id: str, step_id: str) -> list[SlotWait]:
        granted = release(self, task, run_id, step_id)
        gate = self.tasks.get(task)
        if gate is not None and gate.waiting and len(gate.holders) <= gate.waiting[0].limit:
            entry = gate.waiting.pop(0)
            gate.holders[entry.holder] = None
            granted.append(entry)
        return granted

    with patch.object(Flow, "release", generous):
        yield


@contextmanager
def _late_results() -> Iterator[None]:
    """Results count whatever dispatch they name."""

    def always(*_: Any) -> bool:
        return True

    with patch.object(machine, "is_current", always), patch.object(map_step, "is_current", always):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    "snapshot-first": _snapshot_first,
    "no-message-id": _no_message_id,
    "one-slot-too-many": _one_slot_too_many,
    "late-results": _late_results,
}
