"""The server: what it is, what it holds, and whether it keeps its word."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dagnats.model.times import SECOND, format_duration, read_time
from dagnats.services.doctor.findings import Cure, Finding, Repair, Severity
from dagnats.services.infos import consumer_info, stream_infos
from dagnats.services.readiness import check_readiness
from dagnats.services.recording import SKIPPED
from dagnats.services.session import Session
from dagnats.services.status import ENGINE, HISTORY, sync_of
from dagnats.wire.durability import sync_mode
from dagnats.wire.features import Features
from dagnats.wire.topology import Difference, compare

CLOCK_SLACK = 2 * SECOND
"""Clocks further apart than this make ages and time limits look wrong."""


async def topology(session: Session) -> AsyncIterator[Finding]:
    """Streams, buckets and consumers against what they should be."""
    for difference in await compare(session.bus):
        yield _difference("topology", difference)


async def stored(session: Session) -> AsyncIterator[Finding]:
    """Streams and buckets that a stopped server should have left."""
    for difference in await compare(session.bus):
        if difference.found is None and difference.name not in SKIPPED:
            yield _difference("stored", difference)


def _difference(check: str, difference: Difference) -> Finding:
    missing = difference.found is None
    return Finding(
        severity=Severity.ERROR if missing else Severity.WARNING,
        check=check,
        subject=difference.name,
        problem="is missing"
        if missing
        else f"{difference.what} is {difference.found}, not {difference.wanted}",
        advice="" if missing else f"change it with 'nats stream edit {difference.name}'",
        repair=Repair(Cure.PROVISION) if missing else None,
    )


async def server(session: Session) -> AsyncIterator[Finding]:
    """The version of nats-server, its clock, and how soon it writes to disk."""
    features = await Features.of(session.bus)
    if not (features.schedules and features.reset):
        yield Finding(
            severity=Severity.NOTE,
            check="server",
            subject="nats-server",
            problem=f"version {session.server_version} lacks what timers and takeovers are "
            "quickest with",
            advice="upgrade to 2.14 or newer",
        )
    apart = abs(session.now() - await _server_time(session))
    if apart > CLOCK_SLACK:
        yield Finding(
            severity=Severity.WARNING,
            check="server",
            subject="clock",
            problem=f"this machine and the server are {format_duration(apart)} apart",
            advice="let both follow the same time server",
        )
    mode = await _durability(session)
    if mode == "":
        yield Finding(
            severity=Severity.NOTE,
            check="server",
            subject="durability",
            problem="this NATS does not say when it writes to disk",
            advice="look for sync_interval in its configuration: 'always' is safest",
        )
    elif mode != "always":
        yield Finding(
            severity=Severity.WARNING,
            check="server",
            subject="durability",
            problem=f"acknowledged writes are on disk only after {mode}",
            advice="a power cut can cost that much: set 'sync: always' unless that is meant",
        )


async def _durability(session: Session) -> str:
    """What the running ``serve`` has written down, or what NATS itself tells; else empty."""
    noted = await sync_of(session)
    return await sync_mode(session.bus) if noted == "unknown" else noted


async def _server_time(session: Session) -> int:
    info = await session.bus.api(f"STREAM.INFO.{HISTORY}")
    return read_time(str(info.get("ts", ""))) or session.now()


async def working(session: Session) -> AsyncIterator[Finding]:
    """Whether the engine keeps up, streams take writes, and there is room for them."""
    for problem in (await check_readiness(session)).problems:
        yield Finding(
            severity=Severity.ERROR,
            check="working",
            subject="deployment",
            problem=problem,
            advice="see 'dagnats status --detail'",
        )


async def sequences(session: Session) -> AsyncIterator[Finding]:
    """Streams that end before what was read of them: a file was lost, or an old one put back."""
    infos = {info["config"]["name"]: info["state"] for info in await stream_infos(session)}
    for stream, consumer in ((HISTORY, ENGINE), ("SLEEP_TIMERS", "sleep-timer")):
        info = await consumer_info(session, stream, consumer)
        state = infos.get(stream)
        if info is None or state is None:
            continue
        read, last = info["delivered"]["stream_seq"], state["last_seq"]
        if read > last:
            yield Finding(
                severity=Severity.ERROR,
                check="sequences",
                subject=stream,
                problem=f"ends at {last}, but {consumer} has read up to {read}: "
                f"{read - last} messages are gone",
                advice="restore the store from a backup, or check the runs of that time by hand",
            )
