"""What JetStream says of its streams and consumers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct

from dagnats.model.times import MILLISECOND
from dagnats.services.session import Session
from dagnats.services.tolerant import api_or_none

TASKS = "TASK_QUEUES"
SUBJECTS_PAGE = 100_000
"""How many subjects nats-server names in one answer."""


class QueueRow(Struct, frozen=True, kw_only=True):
    """One task queue.

    Args:
        task: the task type, followed by the worker group if the queue is that of a group.
        consumer: the durable the workers share; empty when no worker ever came.
        pending: tasks that wait.
        in_flight: tasks that workers have.
        redelivered: tasks in flight that were delivered before.
        ack_wait_ms: after how long without a sign of life a task goes to another worker.
        waiting: pull requests that are open: 0 means that nobody is asking for work.
    """

    task: str
    consumer: str = ""
    pending: int = 0
    in_flight: int = 0
    redelivered: int = 0
    ack_wait_ms: int = 0
    waiting: int = 0

    @property
    def served(self) -> bool:
        """Whether a worker is asking for tasks, or has one."""
        return self.waiting > 0 or self.in_flight > 0


async def stream_infos(session: Session) -> list[dict[str, Any]]:
    """Configuration and state of every stream, buckets included, by name."""
    found = await _paged(session, "STREAM.LIST", "streams")
    return sorted(found, key=lambda info: info["config"]["name"])


async def consumer_infos(session: Session, stream: str) -> list[dict[str, Any]]:
    """Configuration and state of every consumer of a stream; none if there is no such stream."""
    found = await _paged(session, f"CONSUMER.LIST.{stream}", "consumers")
    return sorted(found, key=lambda info: info["name"])


async def _paged(session: Session, call: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await api_or_none(session, call, {"offset": len(found)})
        items: list[dict[str, Any]] = page[key] or [] if page and key in page else []
        found += items
        if not page or not items or len(found) >= page["total"]:
            return found


async def stream_info(
    session: Session, stream: str, body: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Configuration and state of a stream; ``None`` if there is none."""
    return await api_or_none(session, f"STREAM.INFO.{stream}", body)


async def consumer_info(session: Session, stream: str, name: str) -> dict[str, Any] | None:
    """Configuration and state of a consumer; ``None`` if there is none."""
    return await api_or_none(session, f"CONSUMER.INFO.{stream}.{name}")


async def subject_counts(session: Session, stream: str, pattern: str) -> dict[str, int]:
    """How many messages lie on each subject that matches a pattern."""
    counts: dict[str, int] = {}
    while True:
        body = {"subjects_filter": pattern, "offset": len(counts)}
        info = await stream_info(session, stream, body)
        page: dict[str, int] = info["state"].get("subjects") or {} if info else {}
        counts |= page
        if len(page) < SUBJECTS_PAGE:
            return counts


async def list_queues(session: Session) -> list[QueueRow]:
    """Every task queue, those that no worker ever served included, by task type."""
    rows = [_queue_row(info) for info in await consumer_infos(session, TASKS)]
    orphans = await _orphans(session, rows)
    return sorted([*rows, *orphans], key=lambda row: row.task)


def _queue_row(info: dict[str, Any]) -> QueueRow:
    config = info["config"]
    pattern: str = config.get("filter_subject") or ""
    return QueueRow(
        task=_task_of(pattern, info["name"]),
        consumer=info["name"],
        pending=info.get("num_pending", 0),
        in_flight=info.get("num_ack_pending", 0),
        redelivered=info.get("num_redelivered", 0),
        ack_wait_ms=config.get("ack_wait", 0) // MILLISECOND,
        waiting=info.get("num_waiting", 0),
    )


def _task_of(pattern: str, consumer: str) -> str:
    """The queue a filter stands for. Dots may belong to task or group: ``task.a.b.>`` is task
    ``a.b``, or group ``b`` of task ``a``; as both make the same durable's name (``workers-a-b``),
    they share one queue, and it is shown as one task.
    """
    words = pattern.removeprefix("task.").removesuffix(".>").removesuffix(".*")
    return words or consumer


async def _orphans(session: Session, rows: list[QueueRow]) -> list[QueueRow]:
    """Queues with tasks and no consumer: nothing will ever take them as things stand."""
    total = await stream_info(session, TASKS)
    held = sum(row.pending + row.in_flight for row in rows)
    if not total or total["state"]["messages"] <= held:
        return []
    known = [f"task.{row.task}." for row in rows]
    counts: Counter[str] = Counter()
    for subject, count in (await subject_counts(session, TASKS, "task.>")).items():
        if not any(subject.startswith(prefix) for prefix in known):
            counts[subject.removeprefix("task.").rpartition(".")[0]] += count
    return [QueueRow(task=task, pending=count) for task, count in counts.items()]
