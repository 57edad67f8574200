"""The quiet half of the first screen: the last hour, workers, and the store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from dagnats.services.health import Health, StreamHealth
from dagnats.tui.feed.feed import Feed
from dagnats.tui.format import NONE, age, plural, short, size, span, spark
from dagnats.tui.line import Line, line
from dagnats.tui.theme import SPARKS, Look

LOWEST = {bars[0] for bars in SPARKS}

LABEL = 12
"""Cells of the labels."""

STREAMS = (
    ("runs", "KV_workflow_runs"),
    ("history", "WORKFLOW_HISTORY"),
    ("dead letters", "DEAD_LETTERS"),
    ("logs", "TELEMETRY"),
)
"""What is shown of the store: label and stream."""


def pulse_lines(feed: Feed, look: Look, width: int) -> list[Line]:
    """The last hour in sparklines, with what is now and what was usual."""
    pulse = feed.pulse
    tail = 30 if width >= 100 else 14
    each = 2 if width >= 172 else 1
    room = each * max(10, min(60, width // each - LABEL - tail - 6))
    minutes = room // each
    head = line("  PULSE", "muted bold").to(2 + LABEL).add(f"{minutes} min", "faint")
    if tail == 30:
        head.to(4 + LABEL + room).add("last 5 min", "muted", width=14, align="right")
        head.add("hour", "muted", width=14, align="right")
    rows = [head]
    for label, name, role in (
        ("started", "started", "run"),
        ("failed", "failed", "bad"),
        ("queued", "depth", "wait"),
    ):
        series = pulse.series(name)[-minutes:]
        ends = _rates(series, name, tail)
        rows.append(_row(label, _stretched(series, each), role, look, room, ends))
    durations = _stretched(pulse.quantiles(0.5)[-minutes:], each)
    now = span(pulse.quantile(0.5, 5)), span(pulse.quantile(0.5))
    rows.append(_row("p50 time", durations, "wait", look, room, now if tail == 30 else now[:1]))
    slow = _stretched(pulse.quantiles(0.95)[-minutes:], each)
    now = span(pulse.quantile(0.95, 5)), span(pulse.quantile(0.95))
    rows.append(_row("p95 time", slow, "wait", look, room, now if tail == 30 else now[:1]))
    return rows


def _stretched(series: Sequence[int], each: int) -> list[int]:
    return [value for value in series for _ in range(each)]


def _rates(series: Sequence[int], name: str, tail: int) -> tuple[str, ...]:
    if name == "depth":
        last, hour = str(max(series[-5:], default=0)), str(max(series, default=0))
    else:
        last = f"{sum(series[-5:]) / 5:.1f}/min"
        hour = f"{sum(series) / max(1, len(series)):.1f}/min"
    return (last, hour) if tail == 30 else (last,)


def _row(
    label: str, series: Sequence[int], role: str, look: Look, room: int, ends: Sequence[str]
) -> Line:
    quiet = not any(series)
    row = Line().gap(2).add(label, "muted", width=LABEL)
    _bars(row, spark(series, room, look.ascii_only), role)
    row.gap(2)
    cells = 14 if len(ends) > 1 else 10
    for text in ends:
        row.add(text, "muted" if quiet else "text", width=cells, align="right")
    return row


def _bars(row: Line, bars: str, role: str) -> None:
    """The bars, the lowest of them faint."""
    for low, group in groupby(bars, key=lambda bar: bar in LOWEST):
        row.add("".join(group), "line" if low else role)


def store_lines(feed: Feed, look: Look, width: int) -> list[Line]:
    """Workers and the store."""
    health = feed.health
    if health is None:
        return [line("WORKERS", "muted bold"), line("reading…", "muted")]
    engine = "recorded" if feed.recorded else "attached" if health.engine else "no engine"
    return [*_workers(health, look, width), Line(), *_store(health, engine, look, width)]


def _workers(health: Health, look: Look, width: int) -> list[Line]:
    busy = sum(queue.in_flight for queue in health.queues)
    waiting = sum(queue.pending for queue in health.queues)
    head = Line().add("WORKERS", "muted bold").gap(2)
    rows = [head.add(f"{len(health.workers)} up", "text" if health.workers else "warn")]
    for worker in health.workers[:5]:
        name = worker.metadata.get("name") or worker.worker_id
        row = (
            Line()
            .add(look.glyph("running"), "ok")
            .gap()
            .add(name, "text", width=min(22, width // 2))
        )
        rows.append(row.gap().add(plural(len(worker.task_types), "task type"), "muted").clip(width))
    if len(health.workers) > 5:
        rows.append(
            line(
                f"and {len(health.workers) - 5} more",
                "muted",
            )
        )
    tasks = Line().add("tasks", "muted", width=LABEL).add(f"{short(busy)} in hand", "text")
    rows.append(tasks.gap(2).add(f"{short(waiting)} waiting", "wait", link="go:queues"))
    return rows


def _store(health: Health, engine: str, look: Look, width: int) -> list[Line]:
    head = Line().add("STORE", "muted bold").gap(2).extend(_durability(health))
    rows = [head.clip(width)]
    for label, name in STREAMS:
        stream = health.stream(name)
        if stream is not None:
            rows.append(_stream(label, stream, look, width))
    role = "bad" if engine == "no engine" else "text"
    last = Line().add("engine", "muted", width=LABEL + 1).add(engine, role)
    return [*rows, last.gap(2).add(f"lag {short(health.lag)}", "muted").clip(width)]


def _durability(health: Health) -> Line:
    """How many copies there are, and when a write is safe from a power cut."""
    history = health.stream("WORKFLOW_HISTORY")
    copies = history.replicas if history else 1
    row = Line().add(plural(copies, "copy", "copies"), "text").gap(2)
    if health.sync == "always":
        return row.add("every write synced", "ok")
    if health.sync == "unknown":
        return row.add("sync unknown", "muted")
    return row.add(f"synced every {health.sync}", "warn" if copies < 3 else "text")


def _stream(label: str, stream: StreamHealth, look: Look, width: int) -> Line:
    row = Line().add(label, "muted", width=LABEL + 1)
    row.add(size(stream.bytes), "text", width=9, align="right").gap(2)
    row.add(short(stream.messages), "muted", width=6, align="right").gap(2)
    if stream.limit:
        share = stream.bytes / stream.limit
        full = max(0, min(8, round(share * 8)))
        row.add(look.glyph("bar") * full, "warn" if share > 0.8 else "ok")
        row.add(look.glyph("track") * (8 - full), "line")
    kept = age(stream.max_age_ns) if stream.max_age_ns else NONE
    return row.gap(2).add(f"kept {kept}" if stream.max_age_ns else "", "muted").clip(width)
