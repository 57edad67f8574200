"""What needs somebody: pure rules over what the feed knows, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from dagnats.model.times import MINUTE, SECOND
from dagnats.services.run_rows import RunRow
from dagnats.tui.feed.feed import Feed
from dagnats.tui.format import plural, span

RECENT_NS = 15 * MINUTE
"""Failures older than this no longer burn."""

SAME = 3
"""So many failures of one kind are a fire."""

PATIENCE_NS = 15 * MINUTE
"""How long an approval or an event may be waited for before it is pointed out."""

FULL = 0.8
"""Share of a stream's limit from which on it is pointed out."""

LAG = 1_000
"""Events an engine may be behind."""

SLOW = 3.0
"""A run that takes so many times longer than usual is slow."""

SLOW_NS = 10 * SECOND
"""Nothing faster is slow."""

SAMPLE = 400
"""Dead letters that are looked at for kinds."""


class Attention(Struct, frozen=True, kw_only=True):
    """One thing to look at.

    Args:
        key: what it is known by.
        severity: 3 it burns, 2 look at it, 1 good to know.
        status: glyph and colour, as of a run's status.
        what: how many of what.
        where: of which workflow, step or queue.
        detail: the error, or the reason.
        since: when it began, ns since 1970; 0 if that is not known.
        address: where enter leads.
        weight: how many of it there are.
    """

    key: str
    severity: int
    status: str
    what: str
    where: str
    detail: str
    address: str
    since: int = 0
    weight: int = 0


def attention(feed: Feed) -> list[Attention]:
    """Everything that needs somebody, the worst first."""
    now = feed.now()
    found = [
        *_engine(feed),
        *_failing(feed, now),
        *_dead(feed),
        *_unserved(feed),
        *_full(feed),
        *_waiting(feed, now),
        *_slow(feed, now),
    ]
    return sorted(found, key=lambda item: (-item.severity, -item.weight, item.key))


def headline(items: list[Attention], feed: Feed) -> tuple[str, str, str]:
    """One sentence on whether anything is on fire: status, lead and the rest of it."""
    link = feed.link
    if link.state == "connecting":
        return "running", "Connecting.", ""
    if not feed.runs.complete and not items:
        return "running", "Reading.", f"{len(feed.runs):,} runs so far"
    if not items:
        active = len(feed.runs.active)
        going = f"{plural(active, 'run')} under way" if active else "nothing is running"
        return "completed", "All quiet:", f"{going}, nothing needs you."
    worst = items[0]
    lead = {3: "On fire:", 2: "Look at this:"}.get(worst.severity, "Good to know:")
    detail = f": {worst.detail}" if worst.detail else ""
    return worst.status, lead, f"{worst.where}, {worst.what}{detail}"


def _engine(feed: Feed) -> Iterator[Attention]:
    health = feed.health
    if health is None or feed.recorded:
        return
    if not health.engine:
        yield Attention(
            key="engine",
            severity=3,
            status="failed",
            what="no engine is attached",
            where="engine",
            detail="runs are accepted, but nothing moves: start 'dagnats serve'",
            address="system",
        )
    if health.lag > LAG:
        yield Attention(
            key="lag",
            severity=2,
            status="retrying",
            what=f"{health.lag:,} events behind",
            where="engine",
            detail="it cannot keep up with what happens",
            address="system",
        )
    if health.paused.paused or health.paused.workflows:
        names = "everything" if health.paused.paused else ", ".join(health.paused.workflows)
        yield Attention(
            key="paused",
            severity=2,
            status="paused",
            what="held back",
            where=names,
            detail="dispatch is paused: dagnats engine resume",
            address="system",
        )


def _failing(feed: Feed, now: int) -> Iterator[Attention]:
    recent: dict[tuple[str, str], dict[str, RunRow]] = {}
    for row in feed.pulse.failures:
        if row.ended_ns >= now - RECENT_NS:
            recent.setdefault((row.workflow, row.step), {})[row.run_id] = row
    for (workflow, step), rows in recent.items():
        still = [row for row in rows.values() if _still_failed(feed, row)]
        if len(still) < SAME:
            continue
        newest = max(still, key=lambda row: row.ended_ns)
        yield Attention(
            key=f"failing {workflow} {step}",
            severity=3,
            status="failed",
            what=f"{plural(len(still), 'failed run')}",
            where=f"{workflow} / {step}" if step else workflow,
            detail=newest.error,
            since=min(row.ended_ns for row in still),
            weight=len(still),
            address=f"runs wf:{workflow} status:failed since:15m",
        )


def _still_failed(feed: Feed, row: RunRow) -> bool:
    now = feed.runs.get(row.run_id)
    return now is not None and now.status == row.status


def _dead(feed: Feed) -> Iterator[Attention]:
    if not feed.dead.total:
        return
    from dagnats.services.dlq import group_dead

    groups = group_dead(feed.dead.newest()[:SAMPLE])
    kinds = plural(len(groups), "kind")
    yield Attention(
        key="dead",
        severity=2,
        status="failed",
        what=plural(feed.dead.total, "dead letter"),
        where=groups[0].task if groups else "",
        detail=f"{kinds}; most often {groups[0].sample}" if groups else "",
        address="dlq",
        weight=feed.dead.total,
    )


def _unserved(feed: Feed) -> Iterator[Attention]:
    if feed.health is None or feed.recorded:
        return
    for queue in feed.health.queues:
        if queue.pending and not queue.served:
            yield Attention(
                key=f"queue {queue.task}",
                severity=2,
                status="queued",
                what=f"{queue.pending:,} queued",
                where=f"task {queue.task}",
                detail="no worker serves this task type",
                address=f"queues task:{queue.task}",
                weight=queue.pending,
            )


def _full(feed: Feed) -> Iterator[Attention]:
    for stream in feed.health.streams if feed.health else ():
        if stream.limit and stream.bytes > FULL * stream.limit:
            yield Attention(
                key=f"stream {stream.name}",
                severity=2,
                status="retrying",
                what=f"{stream.bytes * 100 // stream.limit} % full",
                where=f"stream {stream.name}",
                detail="make room with 'dagnats clean', or raise its limit",
                address="system",
            )


def _waiting(feed: Feed, now: int) -> Iterator[Attention]:
    waiting: dict[tuple[str, str], list[RunRow]] = {}
    for row in feed.runs.active.values():
        if row.state == "waiting" and feed.types(row.workflow).get(row.step) == "approval":
            waiting.setdefault((row.workflow, row.step), []).append(row)
    for (workflow, step), rows in waiting.items():
        oldest = min(row.created_ns for row in rows)
        late = now - oldest > PATIENCE_NS
        yield Attention(
            key=f"approval {workflow} {step}",
            severity=2 if late else 1,
            status="waiting",
            what=f"{len(rows)} waiting",
            where=f"{workflow} / {step}",
            detail="approval requested, nobody answered",
            since=oldest,
            address="waiting",
            weight=len(rows),
        )


def _slow(feed: Feed, now: int) -> Iterator[Attention]:
    slow: Counter[str] = Counter()
    worst: dict[str, float] = {}
    for row, times in longer_than_usual(feed, now):
        slow[row.workflow] += 1
        worst[row.workflow] = max(times, worst.get(row.workflow, 0.0))
    for workflow, number in slow.items():
        usual = feed.pulse.usual(workflow)
        yield Attention(
            key=f"slow {workflow}",
            severity=1,
            status="retrying",
            what=f"{plural(number, 'slow run')}",
            where=workflow,
            detail=f"up to {worst[workflow]:.1f}× what is usual ({span(usual)})",
            address=f"runs wf:{workflow} status:active sort:-dur",
        )


def longer_than_usual(feed: Feed, now: int) -> list[tuple[RunRow, float]]:
    """Runs that a worker is at for much longer than their workflow usually takes; how much."""
    found: list[tuple[RunRow, float]] = []
    usual: dict[str, int | None] = {}
    for row in feed.runs.active.values():
        if row.state not in ("running", "retrying"):
            continue
        taken = row.duration(now) or 0
        if row.workflow not in usual:
            usual[row.workflow] = feed.pulse.usual(row.workflow)
        typical = usual[row.workflow]
        if typical and taken > max(SLOW_NS, SLOW * typical):
            found.append((row, taken / typical))
    return sorted(found, key=lambda item: -item[1])
