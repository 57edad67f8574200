"""The queue consumers that workers share: adopted, or made as every worker makes them.

``wire.md`` 4.2: durable ``workers-{task}``, one ``filter_subject``, explicit acknowledgement.
Workers in other languages make the same and refuse anything else.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dagnats.errors import ConflictError, DagnatsError, NotFoundError
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.worker.handler import DEFAULT_ACK_WAIT_S, TaskOptions

TASKS, STICKY = "TASK_QUEUES", "STICKY_TASKS"

STICKY_IDLE_NS = 300_000_000_000
"""The server forgets a sticky consumer that nobody pulls on for this long."""


class Consumer(Struct, frozen=True):
    """A consumer to pull from. ``ack_wait_s`` is how long a silent worker may hold a task."""

    stream: str
    name: str
    ack_wait_s: float


async def ensure_durable(
    bus: Bus, task: str, options: TaskOptions, *, adopt: bool = False
) -> Consumer:
    """Adopt or create the consumer that all workers of a task type share.

    Args:
        bus: the connection.
        task: the task type.
        options: of the task type.
        adopt: leave the ack wait of a consumer that is there as it is.

    Raises:
        ConflictError: the name or the filter belongs to another task type or group.
        NotFoundError: this NATS has no task queues.
    """
    pattern = subjects.task_filter(task, options.group)
    name = subjects.durable(task, options.group)
    present = await _info(bus, TASKS, name)
    if present is None:
        await _delete_leftovers(bus, pattern)
        return await _create(bus, TASKS, name, _durable_config(name, pattern, options), task)
    config: dict[str, Any] = present["config"]
    _check(config, name, pattern, task)
    wanted = int(options.ack_wait_s * 1e9)
    if wanted and not adopt and config.get("ack_wait") != wanted:
        return await _create(bus, TASKS, name, {**config, "ack_wait": wanted}, task)
    return Consumer(TASKS, name, float(config["ack_wait"]) / 1e9)


async def ensure_sticky(
    bus: Bus, task: str, worker_id: str, options: TaskOptions, after_seq: int
) -> Consumer | None:
    """The consumer of tasks that are meant for this worker alone; None if NATS has no such stream.

    Args:
        bus: the connection.
        task: the task type.
        worker_id: this worker.
        options: of the task type.
        after_seq: the last message already seen; the stream keeps what was acknowledged, so a
            new consumer must not begin anew.
    """
    name = f"{worker_id}-{subjects.durable(task).removeprefix('workers-')}"
    try:
        present = await _info(bus, STICKY, name)
        if present is not None:
            return Consumer(STICKY, name, float(present["config"]["ack_wait"]) / 1e9)
        config = _sticky_config(name, subjects.sticky_filter(task, worker_id), options, after_seq)
        return await _create(bus, STICKY, name, config, task)
    except NotFoundError:
        return None


async def delete(bus: Bus, consumer: Consumer) -> None:
    """Remove a consumer; one that is gone already is fine."""
    try:
        await bus.api(f"CONSUMER.DELETE.{consumer.stream}.{consumer.name}")
    except NotFoundError:
        return


def _durable_config(name: str, pattern: str, options: TaskOptions) -> dict[str, Any]:
    return {
        "name": name,
        "durable_name": name,
        "filter_subject": pattern,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": int((options.ack_wait_s or DEFAULT_ACK_WAIT_S) * 1e9),
        "max_deliver": -1,
    }


def _sticky_config(name: str, pattern: str, options: TaskOptions, after_seq: int) -> dict[str, Any]:
    start: dict[str, Any] = {"deliver_policy": "all"}
    if after_seq:
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": after_seq + 1}
    return {
        "name": name,
        "filter_subject": pattern,
        "ack_policy": "explicit",
        "ack_wait": int((options.ack_wait_s or DEFAULT_ACK_WAIT_S) * 1e9),
        "inactive_threshold": STICKY_IDLE_NS,
        **start,
    }


def _check(config: dict[str, Any], name: str, pattern: str, task: str) -> None:
    if config.get("filter_subject") != pattern:
        other = config.get("filter_subject") or config.get("filter_subjects") or "nothing"
        raise ConflictError(
            f"queue of task {task!r}: consumer {name} exists and filters {other}, not {pattern}",
            "rename the task type or the group: two of them give one consumer name",
        )
    if config.get("ack_policy") != "explicit":
        raise ConflictError(
            f"queue of task {task!r}: consumer {name} acknowledges {config.get('ack_policy')!r}",
            "delete that consumer; workers need explicit acknowledgement",
        )


async def _delete_leftovers(bus: Bus, pattern: str) -> None:
    """Remove consumers of old workers that would block the queue (``engine.md`` W-22)."""
    offset, total = 0, 1
    while offset < total:
        page = await _tasks_api(bus, f"CONSUMER.LIST.{TASKS}", {"offset": offset})
        rows: list[dict[str, Any]] = page.get("consumers") or []
        offset, total = offset + len(rows), int(page["total"]) if rows else 0
        for row in rows:
            config = row["config"]
            stray = not config.get("durable_name") and not row["name"].startswith("workers-")
            if stray and config.get("filter_subject") == pattern:
                await delete(bus, Consumer(TASKS, row["name"], 0))


async def _info(bus: Bus, stream: str, name: str) -> dict[str, Any] | None:
    try:
        return await bus.api(f"CONSUMER.INFO.{stream}.{name}")
    except NotFoundError:
        return None


async def _create(bus: Bus, stream: str, name: str, config: dict[str, Any], task: str) -> Consumer:
    body = {"stream_name": stream, "config": config}
    call = f"CONSUMER.CREATE.{stream}.{name}.{config['filter_subject']}"
    try:
        made = await _tasks_api(bus, call, body)
    except NotFoundError:
        raise
    except DagnatsError as error:
        if "filtered consumer not unique" not in error.message:
            raise
        raise ConflictError(
            f"queue of task {task!r}: another worker's consumer already takes a part of it",
            "a task type cannot be the beginning of another, nor have workers with and without "
            "a group",
        ) from None
    return Consumer(stream, name, float(made["config"]["ack_wait"]) / 1e9)


async def _tasks_api(bus: Bus, call: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        return await bus.api(call, body)
    except NotFoundError:
        raise NotFoundError(
            "this NATS has no dagnats task queues", "run 'dagnats serve' on it first"
        ) from None
