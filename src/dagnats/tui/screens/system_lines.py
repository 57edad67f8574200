"""Rows and lines about what carries the runs."""

from __future__ import annotations

from collections.abc import Callable

from dagnats.model.times import DAY
from dagnats.services.health import Health, StreamHealth
from dagnats.services.overview import Consumer, RateRow, ServerFacts
from dagnats.services.singletons import SingletonRow
from dagnats.tui.format import NONE, age, bar, count, plural, short, size, span
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.listing import labelled, paired, title, when
from dagnats.tui.widgets.table import Column

Glyph = Callable[[str], str]
BAR = 10
"""Cells of a bar."""

FULL = 0.8
"""From this share of its limit on a stream stands out (``tui.md`` 4.7)."""

BUCKET = "KV_"


def stream_columns(glyph: Glyph) -> list[Column[StreamHealth]]:
    """Streams, and how full they are."""
    return [
        Column(title="STREAM", cell=_stream_name, width=18, flex=2),
        Column(title="MESSAGES", cell=lambda s: (count(s.messages), "text"), width=9, right=True),
        Column(title="BYTES", cell=lambda s: (size(s.bytes), "text"), width=9, right=True),
        Column(title="OF", cell=lambda s: _use(s, glyph), width=BAR + 5, drop=2),
        Column(title="READERS", cell=lambda s: (str(s.consumers), "muted"), width=7, right=True),
        Column(title="KEEPS", cell=lambda s: (_kept(s), "muted"), width=8, drop=3),
        Column(title="POLICY", cell=lambda s: (s.retention, "muted"), width=9, drop=4),
        Column(title="COPIES", cell=_copies, width=14, flex=1, drop=5, gap=1),
    ]


def _stream_name(stream: StreamHealth) -> tuple[str, str]:
    return stream.name, "muted" if stream.name.startswith(BUCKET) else "text"


def _use(stream: StreamHealth, glyph: Glyph) -> Line:
    row = Line()
    if not stream.limit:
        return row.add("no limit", "faint")
    share = stream.bytes / stream.limit
    full, rest = bar(share, BAR, glyph("load"), glyph("queue"))
    row.add(full, "warn" if share >= FULL else "run").add(rest, "faint")
    return row.gap().add(f"{share * 100:.0f}%", "warn" if share >= FULL else "muted")


def _kept(stream: StreamHealth) -> str:
    if not stream.max_age_ns:
        return "for ever"
    days, rest = divmod(stream.max_age_ns, DAY)
    return f"{days}d" if days and not rest else age(stream.max_age_ns)


def _copies(stream: StreamHealth) -> tuple[str, str]:
    leader = f" {stream.leader}" if stream.leader else ""
    return f"{stream.replicas}{leader}", "muted"


def consumer_columns(glyph: Glyph) -> list[Column[Consumer]]:
    """Consumers, those that are stalled marked."""
    return [
        Column(title="", cell=lambda c: _stalled(c, glyph), width=1, gap=1),
        Column(title="CONSUMER", cell=lambda c: (c.name, "text"), width=16, flex=2),
        Column(title="STREAM", cell=lambda c: (c.stream, "muted"), width=12, flex=1, drop=2),
        Column(title="FILTER", cell=lambda c: (c.filter, "accent"), width=14, flex=2, drop=3),
        Column(title="PENDING", cell=_pending, width=8, right=True),
        Column(title="IN HAND", cell=lambda c: (short(c.unacked), "text"), width=7, right=True),
        Column(title="ASKING", cell=lambda c: (short(c.waiting), "text"), width=6, right=True),
        Column(title="AGAIN", cell=lambda c: (short(c.redelivered), "text"), width=5, right=True),
        Column(title="LEASE", cell=_lease, width=6, right=True, drop=4, gap=1),
    ]


def _stalled(consumer: Consumer, glyph: Glyph) -> tuple[str, str]:
    return (glyph("warn"), "warn") if consumer.stalled else (glyph("ok"), "ok")


def _pending(consumer: Consumer) -> tuple[str, str]:
    return count(consumer.pending), "warn bold" if consumer.stalled else "text"


def _lease(consumer: Consumer) -> tuple[str, str]:
    return (span(consumer.ack_wait_ns) if consumer.ack_wait_ns else NONE), "muted"


def lock_columns(now: Callable[[], int]) -> list[Column[SingletonRow | RateRow | str]]:
    """What holds work back."""
    return [
        Column(title="KIND", cell=_lock_kind, width=9),
        Column(title="KEY", cell=_lock_name, width=16, flex=1),
        Column(title="HELD", cell=lambda held: _lock_state(held, now()), width=38, flex=2, gap=1),
    ]


def _lock_kind(held: SingletonRow | RateRow | str) -> tuple[str, str]:
    if isinstance(held, str):
        return "pause", "warn"
    return ("singleton", "text") if isinstance(held, SingletonRow) else ("rate", "text")


def _lock_name(held: SingletonRow | RateRow | str) -> tuple[str, str]:
    if isinstance(held, str):
        return "everything" if held == "*" else held, "warn bold"
    return held.key, "text"


def _lock_state(held: SingletonRow | RateRow | str, now: int) -> Line:
    if isinstance(held, str):
        return Line().add("nothing starts until it is resumed", "warn")
    if isinstance(held, SingletonRow):
        row = Line().add("by run ", "muted")
        return row.add(held.run_id[:8], "accent", link=f"go:run {held.run_id}")
    role = "warn" if held.tokens <= 0 else "text"
    row = Line().add(f"{held.tokens} of {held.limit} left", role)
    return row.add(f" per {span(held.period_ns)}, used {age(now - held.used_at)} ago", "muted")


def overview_lines(host: Host, facts: ServerFacts | None, width: int) -> list[Line]:
    """Server, engines, store and telemetry at a glance."""
    health = host.feed.health
    if facts is None or health is None:
        return [Line().gap(2).add("reading…", "muted")]
    inner = width - 4
    lines = [Line(), title("NATS", inner)]
    lines += paired(
        [
            labelled("server", facts.url),
            labelled("version", f"nats-server {facts.version}"),
            _durable(facts),
            labelled("id", facts.name[:20], "muted"),
        ],
        inner,
    )
    lines += [Line(), title("ENGINES", inner, _engine_note(health)), *_engines(host, facts)]
    lines += [Line(), title("STORE", inner), *_store(facts, health, inner)]
    lines += [Line(), title("FULLEST STREAMS", inner)]
    glyph = host.look.glyph
    fullest = sorted(health.streams, key=lambda s: -(s.bytes / s.limit if s.limit else 0))[:5]
    for stream in fullest:
        row = Line().add(stream.name, "text", width=24).gap().extend(_use(stream, glyph))
        lines.append(row.to(44).add(f"{size(stream.bytes)}  {count(stream.messages)}", "muted"))
    return [Line().gap(2).extend(each) for each in lines]


def _durable(facts: ServerFacts) -> Line:
    """How safe an acknowledged write is; weaker than always stands out."""
    if facts.sync == "always":
        return labelled("writes", "on disk before they are acknowledged", "ok")
    if facts.sync == "unknown":
        return labelled("writes", "the server does not say when they are on disk", "warn")
    return labelled("writes", f"on disk after {facts.sync} at the latest", "warn")


def _engine_note(health: Health) -> str:
    return f"{plural(health.lag, 'event')} to apply" if health.lag else "up to date"


def _engines(host: Host, facts: ServerFacts) -> list[Line]:
    if not facts.engines:
        return wrapped(
            "No engine of ours was heard of within ten seconds: nothing moves. Start one with "
            "dagnats serve.",
            70,
            "bad",
        )
    rows: list[Line] = []
    for engine in facts.engines:
        active = engine.state == "active"
        row = Line().add(
            host.look.glyph("live" if active else "waiting"), "ok" if active else "wait"
        )
        row.gap().add(engine.state, "ok" if active else "wait", width=9)
        row.add(f"{engine.host} pid {engine.pid}", "text", width=30).gap()
        row.add(when(engine.since, host.now()), "muted")
        if engine.epoch:
            row.gap(2).add(f"epoch {engine.epoch}", "muted")
        rows.append(row)
    if len(facts.engines) == 1:
        rows.append(line("no standby: a second dagnats serve would take over if it fails", "muted"))
    return rows


def _store(facts: ServerFacts, health: Health, width: int) -> list[Line]:
    account = facts.account
    if account is None:
        return [line("JetStream is not available", "bad")]
    limit = f" of {size(account.storage_limit)}" if account.storage_limit else ""
    return paired(
        [
            labelled("disk", f"{size(account.storage)}{limit}"),
            labelled("memory", size(account.memory)),
            labelled("streams", f"{account.streams}, {plural(account.consumers, 'consumer')}"),
            labelled(
                "API", f"{count(account.api_calls)} calls, {count(account.api_errors)} errors"
            ),
            labelled("history", f"up to event {count(health.events_seq)}"),
            labelled("dead", plural(health.dead, "dead letter"), "bad" if health.dead else "text"),
        ],
        width,
    )


def settings_lines(host: Host, facts: ServerFacts | None, width: int) -> list[Line]:
    """How the server is set up, as far as it can be seen from here."""
    health, inner = host.feed.health, width - 4
    if health is None or facts is None:
        return [Line().gap(2).add("reading…", "muted")]
    streams = [each for each in health.streams if not each.name.startswith(BUCKET)]
    buckets = [each for each in health.streams if each.name.startswith(BUCKET)]
    lines = [Line(), title("THIS CONSOLE", inner)]
    lines += paired(
        [
            labelled("context", host.feed.settings.context or "none"),
            labelled("acts as", host.session.actor if host.feed.link.up else NONE),
            labelled("may", f"only look: {host.read_only}" if host.read_only else "change things"),
            labelled("theme", host.look.theme),
        ],
        inner,
    )
    lines += [Line(), title("STREAMS AS THEY ARE SET UP", inner)]
    for each in streams:
        row = Line().add(each.name, "text", width=18).gap()
        row.add(f"{each.retention}, {each.storage}, ", "muted").add(f"keeps {_kept(each)}", "muted")
        row.add(f", {size(each.limit)}" if each.limit else ", no limit", "muted")
        lines.append(row.gap(2).add(" ".join(each.subjects), "accent"))
    lines += [Line(), title("BUCKETS", inner)]
    for each in buckets:
        row = Line().add(each.name.removeprefix(BUCKET), "text", width=22).gap()
        row.add(plural(each.messages, "key"), "muted", width=12).gap()
        lines.append(row.add(f"keeps {_kept(each)}", "muted"))
    lines += [Line(), line("What dagnats serve would use here: dagnats config show", "muted")]
    return [Line().gap(2).extend(each).clip(width) for each in lines]
