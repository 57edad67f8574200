"""Flow control across restarts: every gate, bucket and lock is a record of ``engine_state``.

The buckets that other readers know (``concurrency_runs`` and the rest) get a copy where the key
is one they can hold.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Raw

from dagnats.engine.flow import Flow, RunGate, SlotWait, TaskGate
from dagnats.errors import InvalidError
from dagnats.model.codec import Wire, decode, encode, raw
from dagnats.model.records import SingletonLock, TokenBucket
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.wire.subjects import is_key

_KINDS: dict[str, Any] = {
    "runs": RunGate,
    "tasks": TaskGate,
    "buckets": TokenBucket,
    "locks": str,
    "held": list[SlotWait],
    "left": dict[str, int],
    "waited": dict[str, int],
}


class _Record(Wire):
    name: str
    value: Raw


def _key(kind: str, name: str) -> str:
    return f"{kind}.{hashlib.sha256(name.encode()).hexdigest()[:32]}"


async def load(stores: Stores, flow: Flow) -> None:
    """Read what an earlier engine left."""
    async for entry in stores.engine_state.scan():
        kind = entry.key.partition(".")[0]
        if kind not in _KINDS:
            continue
        try:
            record = decode(entry.value, _Record)
            value = decode(bytes(record.value), _KINDS[kind])
        except InvalidError:
            continue  # Written by a newer version; its limits are taken anew.
        getattr(flow, kind)[record.name] = value
    flow.dirty.clear()


def dirty(stores: Stores, flow: Flow) -> list[Outgoing]:
    """The messages that make the changes since the last call durable."""
    messages: list[Outgoing] = []
    for kind, name in flow.dirty:
        value = getattr(flow, kind).get(name)
        key = _key(kind, name)
        if value is None:
            messages.append(stores.engine_state.erasure(key))
        else:
            record = encode(_Record(name=name, value=raw(value)))
            messages.append(stores.engine_state.message(key, record))
        messages += _copies(stores, kind, name, value)
    flow.dirty.clear()
    return messages


def _copies(stores: Stores, kind: str, name: str, value: Any) -> list[Outgoing]:
    if not is_key(name):
        return []
    if kind == "runs":
        count = str(len(value.holders)) if value is not None else "0"
        return [stores.run_counts.message(f"workflow.{name}", count)]
    if kind == "tasks":
        count = str(len(value.holders)) if value is not None else "0"
        return [stores.task_counts.message(f"task.{name}", count)]
    if kind == "buckets" and value is not None:
        return [stores.rate_limits.message(name, value)]
    if kind == "locks":
        if value is None:
            return [stores.singletons.erasure(name)]
        return [stores.singletons.message(name, SingletonLock(run_id=value))]
    return []
