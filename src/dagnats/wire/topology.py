"""Streams, buckets and consumers as data, and their provisioning (``wire.md`` 1, 2, 4)."""

from __future__ import annotations

import base64
from typing import Any

from msgspec import Struct

from dagnats.errors import DagnatsError, NotFoundError, RefusedError
from dagnats.model.times import DAY, HOUR, MINUTE, SECOND
from dagnats.wire.connection import Bus
from dagnats.wire.features import Features

SCHEDULES = "allow_msg_schedules"
DEFAULT_STORE = 10 * 1024**3
"""Bytes assumed for a store without a limit."""


class StreamSpec(Struct, frozen=True, kw_only=True):
    """One stream. ``share`` is its part of the store; ages in ns."""

    name: str
    subjects: tuple[str, ...]
    retention: str = "limits"
    storage: str = "file"
    max_age: int = 0
    share: float = 0.0
    window: int = 2 * MINUTE
    discard: str = "old"
    flags: tuple[str, ...] = ("allow_direct",)


STREAMS = (
    # The duplicate window is longer than Go's 5 s: whatever is republished after a crash is
    # dropped by the stream.
    StreamSpec(name="WORKFLOW_HISTORY", subjects=("history.>",), max_age=30 * DAY, share=0.30),
    # Work must never be dropped to make room: new work is refused instead. A stream with schedules
    # cannot refuse, so SLEEP_TIMERS has no ceiling of its own but the store's.
    StreamSpec(
        name="TASK_QUEUES", subjects=("task.>",), retention="workqueue", share=0.12, discard="new"
    ),
    StreamSpec(name="EVENTS", subjects=("event.>",), max_age=14 * DAY, share=0.15),
    StreamSpec(name="DEAD_LETTERS", subjects=("dead.>",), max_age=30 * DAY, share=0.05, window=DAY),
    StreamSpec(
        name="SLEEP_TIMERS",
        subjects=("sleep.>", "scheduled.>"),
        retention="workqueue",
        flags=("allow_direct", SCHEDULES, "allow_msg_ttl", "allow_rollup_hdrs"),
    ),
    StreamSpec(
        name="TELEMETRY", subjects=("telemetry.>",), max_age=7 * DAY, share=0.10, window=5 * SECOND
    ),
    StreamSpec(name="STICKY_TASKS", subjects=("sticky.>",), storage="memory", max_age=30 * MINUTE),
    StreamSpec(name="TRIGGER_HISTORY", subjects=("trigger.fire.>",), max_age=30 * DAY, share=0.04),
)

BUCKETS: dict[str, int] = {
    "workflow_defs": 0,
    "workflow_runs": 0,
    "scheduled_runs": 0,
    "workers": 60 * SECOND,
    "worker_status": 120 * SECOND,
    "event_waiters": 0,
    "rate_limits": 0,
    "concurrency_tasks": 0,
    "approval_tokens": 168 * HOUR,
    "debounce_state": 14 * DAY,
    "idempotency_keys": DAY,
    "http_idempotency": HOUR,
    "sticky_bindings": 25 * HOUR,
    "singleton_locks": 0,
    "trigger_types": 0,
    "services": 0,
    "triggers": 0,
    "trigger_state": 0,
    "signals": 0,
    "checkpoints": 0,
    "concurrency_runs": 0,
    "console_audit": 90 * DAY,
    # Ours: definitions by content hash, the engine's flow control, its switches, its lease.
    "workflow_revisions": 0,
    "engine_state": 0,
    "engine_control": 0,
    "leases": 10 * SECOND,
}
"""Time to live per bucket in ns; 0 keeps values for ever."""

ENGINE = "orchestrator"
"""The engine's durable consumer."""

FLOOR = "$KV.engine_state.floor"
"""Where an engine notes what is acknowledged while it makes its consumer anew."""

_HISTORY = "WORKFLOW_HISTORY"

_FIXED = ("retention", "storage", "subjects")
"""Settings that matter and that cannot simply be changed."""


async def provision(bus: Bus, store_bytes: int = 0, replicas: int = 1) -> list[str]:
    """Create what is missing; what is there already is left as it is.

    Args:
        bus: the connection.
        store_bytes: the store that the streams share; 0 stands for 10 GiB.
        replicas: copies of each stream.

    Returns:
        One line per difference that was found and left alone.

    Raises:
        RefusedError: another engine is attached to this NATS, or it is too old.
    """
    features = await Features.of(bus)
    await _refuse_other_makes(bus)
    drift: list[str] = []
    wanted = [_stream_config(spec, store_bytes or DEFAULT_STORE, replicas) for spec in STREAMS]
    if not features.schedules:
        for config in wanted:
            config.pop(SCHEDULES, None)
    wanted += [_bucket_config(name, ttl, replicas) for name, ttl in BUCKETS.items()]
    for config in wanted:
        drift += await _ensure_stream(bus, config)
    await _ensure_engine(bus)
    for stream, config in CONSUMERS:
        await _ensure_consumer(bus, stream, consumer_config(config["name"], features))
    return drift


class Difference(Struct, frozen=True):
    """Where the server is not as we would have made it.

    Args:
        name: of the stream, the bucket's stream, or the consumer behind its stream's name.
        what: the setting; empty when all of it is missing.
        found: what it is; ``None`` when it is missing.
        wanted: what it should be.
    """

    name: str
    what: str = ""
    found: Any = None
    wanted: Any = None


async def compare(bus: Bus) -> list[Difference]:
    """How the server differs from what :func:`provision` makes. Changes nothing."""
    features, found = await Features.of(bus), list[Difference]()
    wanted = [_stream_config(spec, DEFAULT_STORE, 1) for spec in STREAMS]
    wanted += [_bucket_config(name, ttl, 1) for name, ttl in BUCKETS.items()]
    for config in wanted:
        if not features.schedules:
            config.pop(SCHEDULES, None)
        found += await _compare_stream(bus, config)
    for stream, config in (*CONSUMERS, (_HISTORY, engine_config())):
        try:
            await bus.api(f"CONSUMER.INFO.{stream}.{config['name']}")
        except NotFoundError:
            found.append(Difference(f"{stream}/{config['name']}"))
    return found


async def _compare_stream(bus: Bus, config: dict[str, Any]) -> list[Difference]:
    name = config["name"]
    try:
        present = (await bus.api(f"STREAM.INFO.{name}"))["config"]
    except NotFoundError:
        return [Difference(name)]
    flags = [key for key in config if key.startswith("allow_")]
    return [
        Difference(name, key, present.get(key, False), config[key])
        for key in (*_FIXED, *flags)
        if key in config and present.get(key, False) != config[key]
    ]


def _stream_config(spec: StreamSpec, store_bytes: int, replicas: int) -> dict[str, Any]:
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": spec.retention,
        "storage": spec.storage,
        "max_age": spec.max_age,
        "max_bytes": int(store_bytes * spec.share) or -1,
        "duplicate_window": spec.window,
        "discard": spec.discard,
        "num_replicas": replicas,
        **dict.fromkeys(spec.flags, True),
    }


def _bucket_config(name: str, ttl: int, replicas: int) -> dict[str, Any]:
    return {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "max_msgs_per_subject": 1,
        "max_age": ttl,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "duplicate_window": min(2 * MINUTE, ttl) or 2 * MINUTE,
        "num_replicas": replicas,
        "storage": "file",
    }


async def _ensure_stream(bus: Bus, config: dict[str, Any]) -> list[str]:
    name = config["name"]
    try:
        present = (await bus.api(f"STREAM.INFO.{name}"))["config"]
    except NotFoundError:
        await bus.api(f"STREAM.CREATE.{name}", config, wait=30)
        return []
    missing = {
        key: value
        for key, value in config.items()
        if key.startswith("allow_") and not present.get(key)
    }
    if config["duplicate_window"] > present.get("duplicate_window", 0):
        missing["duplicate_window"] = config["duplicate_window"]
    if missing:
        try:
            await bus.api(f"STREAM.UPDATE.{name}", {**present, **missing}, wait=30)
        except DagnatsError as error:
            return [error.message]
    return [
        f"{name}: {key} is {present.get(key)}, not {config[key]}"
        for key in _FIXED
        if key in config and present.get(key) != config[key]
    ]


def _consumer(name: str, filters: list[str], **more: Any) -> dict[str, Any]:
    return {
        "durable_name": name,
        "name": name,
        "ack_policy": "explicit",
        "ack_wait": 30 * SECOND,
        "deliver_policy": "all",
        "max_deliver": -1,
        **({"filter_subject": filters[0]} if len(filters) == 1 else {"filter_subjects": filters}),
        **more,
    }


CONSUMERS = (
    ("SLEEP_TIMERS", _consumer("sleep-timer", ["sleep.fire.>"], max_ack_pending=10_000)),
    (
        "SLEEP_TIMERS",
        _consumer("scheduled-run-timer", ["scheduled.*", "scheduled.fire.*"]),
    ),
    ("SLEEP_TIMERS", _consumer("debounce-timer", ["sleep.debounce.>"])),
    # Events from before the first engine cannot matter to any wait.
    ("EVENTS", _consumer("event-correlator", ["event.>"], deliver_policy="new")),
)


_WITHOUT_RESET = 5 * SECOND
"""How long what a killed engine had taken is missing where consumers cannot be reset."""

_WITHOUT_SCHEDULES: dict[str, dict[str, Any]] = {
    # Where the server keeps no schedules, timers wait in the consumer, each put off until it is
    # due (wire.md 6.6): all of them count as being acknowledged.
    config["name"]: config
    for config in (
        _consumer("sleep-timer", ["sleep.at.>", "sleep.fire.>"], max_ack_pending=-1),
        _consumer("scheduled-run-timer", ["scheduled.>"], max_ack_pending=-1),
    )
}


async def _ensure_consumer(bus: Bus, stream: str, config: dict[str, Any]) -> None:
    try:
        await bus.api(f"CONSUMER.INFO.{stream}.{config['name']}")
    except NotFoundError:
        body = {"stream_name": stream, "config": config}
        await bus.api(f"CONSUMER.DURABLE.CREATE.{stream}.{config['name']}", body)


def consumer_config(name: str, features: Features) -> dict[str, Any]:
    """The configuration of one of :data:`CONSUMERS` on this server."""
    config = next(config for _, config in CONSUMERS if config["name"] == name)
    if not features.schedules:
        config = _WITHOUT_SCHEDULES.get(name, config)
    return config if features.reset else config | {"ack_wait": _WITHOUT_RESET}


def engine_config(floor: int = 0) -> dict[str, Any]:
    """The configuration of the engine's consumer, from after ``floor`` on."""
    config = _consumer(ENGINE, ["history.>"], ack_policy="all", max_ack_pending=100_000)
    if not floor:
        return config
    return config | {"deliver_policy": "by_start_sequence", "opt_start_seq": floor + 1}


async def _engine_info(bus: Bus) -> dict[str, Any] | None:
    try:
        return await bus.api(f"CONSUMER.INFO.{_HISTORY}.{ENGINE}")
    except NotFoundError:
        return None


async def _refuse_other_makes(bus: Bus) -> None:
    """Ours acknowledges in bulk; another's that pulls just now is at work (decisions.md 1)."""
    info = await _engine_info(bus)
    if info and info["config"].get("ack_policy") != "all" and info.get("num_waiting"):
        raise RefusedError(
            "another DagNats engine is attached to this NATS",
            "stop it first: two engines of different make must not share one NATS",
        )


async def _ensure_engine(bus: Bus) -> None:
    """The engine's consumer acknowledges in bulk; one made by Go is taken over where it stands."""
    info = await _engine_info(bus)
    if info is None:
        await _ensure_consumer(bus, _HISTORY, engine_config(await _floor(bus)))
        return
    if info["config"].get("ack_policy") == "all":
        return
    await bus.api(f"CONSUMER.DELETE.{_HISTORY}.{ENGINE}")
    await _ensure_consumer(bus, _HISTORY, engine_config(info["ack_floor"]["stream_seq"]))


async def _floor(bus: Bus) -> int:
    """What was acknowledged when an engine was killed while it made its consumer anew."""
    try:
        found = await bus.api("STREAM.MSG.GET.KV_engine_state", {"last_by_subj": FLOOR})
    except NotFoundError:
        return 0
    state = (await bus.api(f"STREAM.INFO.{_HISTORY}"))["state"]
    # A history that was deleted and made anew counts from the beginning.
    return min(int(base64.b64decode(found["message"]["data"])), state["last_seq"])
