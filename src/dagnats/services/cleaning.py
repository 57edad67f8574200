"""Throwing away what streams and buckets hold, by category and age."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from dagnats.errors import DagnatsError, InvalidError, UsageError
from dagnats.model.times import DAY, parse_duration, read_time
from dagnats.services import audit
from dagnats.services.infos import stream_info
from dagnats.services.session import Session
from dagnats.services.tolerant import api_or_none

STREAMS: dict[str, tuple[str, ...]] = {
    "runs": ("WORKFLOW_HISTORY", "TASK_QUEUES", "EVENTS", "SLEEP_TIMERS"),
    "dlq": ("DEAD_LETTERS",),
    "otel": ("TELEMETRY",),
    "defs": (),
}
BUCKETS: dict[str, tuple[str, ...]] = {
    "runs": (
        "workflow_runs",
        "scheduled_runs",
        "event_waiters",
        "rate_limits",
        "concurrency_tasks",
        "approval_tokens",
        "debounce_state",
        "idempotency_keys",
        "sticky_bindings",
        "singleton_locks",
    ),
    "dlq": (),
    "otel": (),
    "defs": ("workflow_defs",),
}
"""The categories of the command line's contract, with what they cover."""

CATEGORIES = ("runs", "dlq", "otel", "defs")
DEFAULT = ("runs", "dlq")
TIMEOUT_S = 600.0
"""How long one target may take: the purge of a huge stream is slow."""


class CleanQuery(Struct, frozen=True, kw_only=True):
    """What is to be thrown away.

    Args:
        types: categories; empty: ``runs`` and ``dlq``.
        older_than: only what is older, in ns; ``None``: everything.
        keep: only what is beyond the newest so many messages of each target.
        before_seq: only messages before this sequence.
    """

    types: tuple[str, ...] = ()
    older_than: int | None = None
    keep: int | None = None
    before_seq: int | None = None


class CleanEntry(Struct, frozen=True):
    """One stream or bucket, and how much of it will go."""

    name: str
    kind: str
    messages: int
    bytes: int


class CleanPlan(Struct, frozen=True):
    """What will go, in all."""

    entries: list[CleanEntry]
    total_messages: int
    total_bytes: int


class Cleaned(Struct, frozen=True):
    """What went.

    Args:
        streams_purged, buckets_cleared: targets that exist and were cleaned without error.
        errors: targets where it failed.
        notes: one line for each target that was left alone or failed.
    """

    streams_purged: int
    buckets_cleared: int
    errors: int
    notes: list[str]


Progress = Callable[[str, int, int], None]
"""Told which target comes next, and how many are done of how many."""


class _Target(Struct, frozen=True):
    name: str
    kind: str
    stream: str
    info: dict[str, Any]

    @property
    def work_queue(self) -> bool:
        return self.info["config"].get("retention") == "workqueue"


def parse_age(text: str) -> int:
    """Nanoseconds of an age: ``7d``, or a Go duration such as ``24h``.

    Raises:
        InvalidError: it is neither, or not positive: no age must never mean everything.
    """
    if not text.strip():
        raise InvalidError("invalid --older-than: empty duration")
    days = text.removesuffix("d")
    if days != text and days.isascii() and days.isdigit():
        if int(days) < 1:
            raise InvalidError(
                f'invalid --older-than: "{text}": must be a positive integer of days'
            )
        return int(days) * DAY
    try:
        age = parse_duration(text)
    except ValueError as error:
        raise InvalidError(f"invalid --older-than: {error}") from None
    if age <= 0:
        raise InvalidError(f'invalid --older-than: "{text}": must be positive')
    return age


def check_query(query: CleanQuery) -> None:
    """Refuse what makes no sense.

    Raises:
        UsageError: an unknown category, or options that exclude each other.
    """
    for kind in query.types:
        if kind not in CATEGORIES:
            raise UsageError(f'unknown type: "{kind}" (valid: {", ".join(CATEGORIES)})')
    for name, value in (("keep", query.keep), ("before-seq", query.before_seq)):
        if value is not None and value < 1:
            raise UsageError(f"invalid --{name}={value}: must be a positive integer")
    given = [value for value in (query.older_than, query.keep, query.before_seq) if value]
    if len(given) > 1:
        raise UsageError("--older-than, --keep and --before-seq exclude each other")
    if query.older_than is not None and query.older_than <= 0:
        raise UsageError("invalid --older-than: must be positive")


async def plan_clean(session: Session, query: CleanQuery) -> CleanPlan:
    """What would go. Changes nothing.

    Raises:
        UsageError: the query makes no sense.
    """
    check_query(query)
    entries: list[CleanEntry] = []
    for target in await _targets(session, query):
        if _left_alone(query, target):
            continue
        entries.append(await _entry(session, query, target))
    return CleanPlan(
        entries,
        sum(entry.messages for entry in entries),
        sum(entry.bytes for entry in entries),
    )


async def clean(session: Session, query: CleanQuery, progress: Progress | None = None) -> Cleaned:
    """Throw it away. Definitions of streams, buckets and consumers stay.

    Raises:
        UsageError: the query makes no sense.
    """
    check_query(query)
    counts = {"stream": 0, "kv": 0}
    notes: list[str] = []
    errors = 0
    targets = await _targets(session, query)
    for done, target in enumerate(targets):
        if progress:
            progress(target.name, done, len(targets))
        if _left_alone(query, target):
            notes.append(f"skip age-based purge of {target.name}: work-queue stream self-drains")
            continue
        try:
            async with asyncio.timeout(TIMEOUT_S):
                removed = await _purge(session, query, target)
        except (DagnatsError, TimeoutError) as error:
            errors += 1
            notes.append(f"{target.name}: {error or 'timed out'}")
            continue
        # With an age, a stream counts only when something old was really removed (cli.md 2.35).
        counts[target.kind] += target.kind == "kv" or removed > 0 or not _partial(query)
    result = Cleaned(counts["stream"], counts["kv"], errors, notes)
    kinds = ",".join(query.types or DEFAULT)
    await audit.record(session, "clean", kinds, {"streams": counts["stream"], "kv": counts["kv"]})
    return result


def _partial(query: CleanQuery) -> bool:
    return query.older_than is not None or query.keep is not None or query.before_seq is not None


def _left_alone(query: CleanQuery, target: _Target) -> bool:
    """Purging part of a work queue would drop tasks or timers of live runs."""
    return target.work_queue and _partial(query)


async def _targets(session: Session, query: CleanQuery) -> list[_Target]:
    kinds = list(dict.fromkeys(query.types or DEFAULT))
    wanted = [(name, "stream", name) for kind in kinds for name in STREAMS[kind]]
    wanted += [(name, "kv", f"KV_{name}") for kind in kinds for name in BUCKETS[kind]]
    found: list[_Target] = []
    for name, kind, stream in wanted:
        info = await stream_info(session, stream)
        if info is not None:
            found.append(_Target(name, kind, stream, info))
    return found


async def _entry(session: Session, query: CleanQuery, target: _Target) -> CleanEntry:
    state = target.info["state"]
    total, size = state["messages"], state["bytes"]
    gone = total
    if _partial(query):
        bound = await _bound(session, query, target)
        gone = await _count_before(session, target, bound) if bound else 0
    shown = size if gone == total else size * gone // max(1, total)
    return CleanEntry(target.name, target.kind, gone, shown if target.kind == "stream" else 0)


async def _purge(session: Session, query: CleanQuery, target: _Target) -> int:
    body: dict[str, Any] = {}
    if _partial(query):
        bound = await _bound(session, query, target)
        if not bound:
            return 0
        body = {"seq": bound}
    answer = await session.bus.api(f"STREAM.PURGE.{target.stream}", body)
    return answer.get("purged", 0)


async def _bound(session: Session, query: CleanQuery, target: _Target) -> int:
    """The first sequence that stays; 0 when nothing goes."""
    state = target.info["state"]
    if not state["messages"]:
        return 0
    if query.before_seq is not None:
        return min(query.before_seq, state["last_seq"] + 1)
    if query.keep is not None:
        return await _nth_newest(session, target, query.keep)
    return await _first_since(session, target, session.now() - (query.older_than or 0))


async def _first_since(session: Session, target: _Target, cutoff: int) -> int:
    """The first sequence stored at ``cutoff`` or later, by bisection: times grow with sequences."""
    state = target.info["state"]
    low, high = state["first_seq"], state["last_seq"] + 1
    while low < high:
        middle = (low + high) // 2
        found = await _at_or_after(session, target, middle)
        if found is None or found[1] >= cutoff:
            high = middle
        else:
            low = found[0] + 1
    return low if low > state["first_seq"] else 0


async def _at_or_after(session: Session, target: _Target, seq: int) -> tuple[int, int] | None:
    """Sequence and time (ns) of the first message at or after a sequence."""
    body = {"seq": seq, "next_by_subj": ">"}
    found = await api_or_none(session, f"STREAM.MSG.GET.{target.stream}", body)
    if found is None:
        return None
    message = found["message"]
    return message["seq"], read_time(message["time"]) or 0


async def _count_before(session: Session, target: _Target, bound: int) -> int:
    """How many messages lie before a sequence: a consumer that starts there knows what is left."""
    state = target.info["state"]
    if bound > state["last_seq"]:
        return state["messages"]
    config = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": bound,
        "ack_policy": "none",
        "inactive_threshold": 5_000_000_000,
        "mem_storage": True,
    }
    body = {"stream_name": target.stream, "config": config}
    made = await session.bus.api(f"CONSUMER.CREATE.{target.stream}", body)
    left = made.get("num_pending", 0)
    await session.bus.api(f"CONSUMER.DELETE.{target.stream}.{made['name']}")
    return state["messages"] - left


async def _nth_newest(session: Session, target: _Target, keep: int) -> int:
    """The sequence of the oldest of the newest ``keep`` messages; 0 when there are no more."""
    state = target.info["state"]
    if state["messages"] <= keep:
        return 0
    low, high = state["first_seq"], state["last_seq"]
    while low < high:
        middle = (low + high + 1) // 2
        if state["messages"] - await _count_before(session, target, middle) >= keep:
            low = middle
        else:
            high = middle - 1
    return low
