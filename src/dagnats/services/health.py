"""How the system is, without reading a single run: cheap enough to be asked every second."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from dagnats.model.records import WorkerRegistration
from dagnats.services.control import PauseState, paused
from dagnats.services.infos import QueueRow, consumer_info, list_queues, stream_infos
from dagnats.services.session import Session
from dagnats.services.status import ENGINE, HISTORY, sync_of
from dagnats.services.workers import list_workers

DEAD = "DEAD_LETTERS"


class StreamHealth(Struct, frozen=True, kw_only=True):
    """One stream.

    Args:
        limit: the bytes it may take; 0: no limit of its own.
        replicas: copies that are kept.
        max_age_ns: how long messages are kept; 0: for ever.
    """

    name: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    consumers: int
    limit: int = 0
    replicas: int = 1
    max_age_ns: int = 0
    retention: str = "limits"
    storage: str = "file"
    subjects: list[str] = []
    leader: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """The system at one moment.

    Args:
        at: when, ns since 1970.
        engine: whether an engine is attached.
        lag: events it has not applied yet.
        events_seq: the last sequence of the history: its growth is the rate of events.
        dead: how many dead letters there are.
        sync: how often acknowledged writes go to disk: ``always``, an interval, or ``unknown``.
    """

    at: int
    streams: list[StreamHealth]
    queues: list[QueueRow]
    workers: list[WorkerRegistration]
    engine: bool
    lag: int
    paused: PauseState
    events_seq: int
    dead: int
    dead_seq: int
    sync: str = "unknown"

    def stream(self, name: str) -> StreamHealth | None:
        """A stream by name."""
        return next((stream for stream in self.streams if stream.name == name), None)


async def get_health(session: Session) -> Health:
    """Look at streams, queues, workers and the engine."""
    infos, queues, workers, engine, held, sync = await asyncio.gather(
        stream_infos(session),
        list_queues(session),
        list_workers(session),
        consumer_info(session, HISTORY, ENGINE),
        paused(session),
        sync_of(session),
    )
    streams = [_stream(info) for info in infos]
    known = {stream.name: stream for stream in streams}
    history, dead = known.get(HISTORY), known.get(DEAD)
    return Health(
        at=session.now(),
        streams=streams,
        queues=queues,
        workers=workers,
        engine=bool(engine and (engine.get("num_waiting") or engine.get("num_ack_pending"))),
        lag=(engine or {}).get("num_pending", 0),
        paused=held,
        sync=sync,
        events_seq=history.last_seq if history else 0,
        dead=dead.messages if dead else 0,
        dead_seq=dead.last_seq if dead else 0,
    )


def _stream(info: dict[str, Any]) -> StreamHealth:
    config, state = info["config"], info["state"]
    cluster: dict[str, Any] = info.get("cluster") or {}
    return StreamHealth(
        name=config["name"],
        messages=state.get("messages", 0),
        bytes=state.get("bytes", 0),
        first_seq=state.get("first_seq", 0),
        last_seq=state.get("last_seq", 0),
        consumers=state.get("consumer_count", 0),
        limit=max(0, config.get("max_bytes", 0)),
        replicas=config.get("num_replicas", 1),
        max_age_ns=config.get("max_age", 0),
        retention=config.get("retention", "limits"),
        storage=config.get("storage", "file"),
        subjects=config.get("subjects") or [],
        leader=cluster.get("leader", ""),
    )
