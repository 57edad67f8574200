"""What carries the runs: the nats-server and engines, consumers, connections, locks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from dagnats.errors import UnreachableError
from dagnats.model.records import TokenBucket
from dagnats.model.times import read_time
from dagnats.services.engines import EngineInfo, list_engines
from dagnats.services.infos import consumer_infos
from dagnats.services.session import Session
from dagnats.services.singletons import SingletonRow, list_singletons
from dagnats.services.status import sync_of
from dagnats.services.tolerant import api_or_none, entries_of

WAIT_S = 0.5
"""Seconds the system account has to answer; most clients may not ask it."""


class Consumer(Struct, frozen=True, kw_only=True):
    """One consumer.

    Args:
        pending: messages it has not been given yet.
        unacked: messages that were given and not acknowledged.
        waiting: pull requests that are open.
    """

    name: str
    stream: str
    filter: str
    ack: str
    pending: int
    unacked: int
    waiting: int
    redelivered: int
    ack_wait_ns: int

    @property
    def stalled(self) -> bool:
        """Messages wait, and nobody asks for them."""
        return self.pending > 0 and not self.waiting and not self.unacked


class Connection(Struct, frozen=True, kw_only=True):
    """One client of the nats-server that answered."""

    cid: int
    name: str
    ip: str
    language: str
    version: str
    since: str
    rtt: str
    subscriptions: int
    pending: int
    in_msgs: int
    out_msgs: int
    idle: str


class Account(Struct, frozen=True, kw_only=True):
    """What the streams take of what they may; limits are 0 where there is none."""

    memory: int
    storage: int
    memory_limit: int
    storage_limit: int
    streams: int
    consumers: int
    api_calls: int
    api_errors: int


class RateRow(Struct, frozen=True, kw_only=True):
    """A rate limit: how many starts are left, as of its last use."""

    key: str
    tokens: int
    limit: int
    period_ns: int
    used_at: int


class Locks(Struct, frozen=True):
    """What holds work back."""

    singletons: list[SingletonRow]
    rates: list[RateRow]


class ServerFacts(Struct, frozen=True, kw_only=True):
    """The nats-server and the engines.

    Args:
        sync: how often acknowledged writes go to disk: ``always``, an interval, or ``unknown``.
    """

    url: str
    name: str
    version: str
    sync: str
    account: Account | None
    engines: list[EngineInfo]


async def server_facts(session: Session) -> ServerFacts:
    """The nats-server this session is connected to, and every engine on it."""
    account, engines, sync = await asyncio.gather(
        api_or_none(session, "INFO"), list_engines(session), sync_of(session)
    )
    return ServerFacts(
        url=session.url,
        name=session.bus.server_id,
        version=session.server_version,
        sync=sync,
        account=_account(account) if account else None,
        engines=engines,
    )


def _account(info: dict[str, Any]) -> Account:
    limits: dict[str, Any] = info.get("limits") or {}
    api: dict[str, Any] = info.get("api") or {}
    return Account(
        memory=info.get("memory", 0),
        storage=info.get("storage", 0),
        memory_limit=max(0, limits.get("max_memory", 0)),
        storage_limit=max(0, limits.get("max_storage", 0)),
        streams=info.get("streams", 0),
        consumers=info.get("consumers", 0),
        api_calls=api.get("total", 0),
        api_errors=api.get("errors", 0),
    )


async def list_consumers(session: Session, streams: Iterable[str]) -> list[Consumer]:
    """The consumers of some streams, by stream and name."""
    found = await asyncio.gather(*(consumer_infos(session, stream) for stream in streams))
    return [_consumer(info) for infos in found for info in infos]


def _consumer(info: dict[str, Any]) -> Consumer:
    config = info["config"]
    return Consumer(
        name=info["name"],
        stream=info["stream_name"],
        filter=config.get("filter_subject") or " ".join(config.get("filter_subjects") or []),
        ack=config.get("ack_policy", ""),
        pending=info.get("num_pending", 0),
        unacked=info.get("num_ack_pending", 0),
        waiting=info.get("num_waiting", 0),
        redelivered=info.get("num_redelivered", 0),
        ack_wait_ns=config.get("ack_wait", 0),
    )


async def list_connections(session: Session) -> list[Connection] | None:
    """The clients of the nats-server; ``None`` if this connection may not ask that."""
    body = msgspec.json.encode({"limit": 1024})
    try:
        answer = await session.bus.request("$SYS.REQ.SERVER.PING.CONNZ", body, WAIT_S)
        told: Any = msgspec.json.decode(answer)
        rows: list[dict[str, Any]] = told["data"]["connections"] or []
        return [_connection(row) for row in rows]
    except (UnreachableError, msgspec.MsgspecError, KeyError, TypeError):
        return None


def _connection(row: dict[str, Any]) -> Connection:
    return Connection(
        cid=row.get("cid", 0),
        name=row.get("name", ""),
        ip=f"{row.get('ip', '')}:{row.get('port', '')}",
        language=row.get("lang", ""),
        version=row.get("version", ""),
        since=row.get("start", ""),
        rtt=row.get("rtt", ""),
        subscriptions=row.get("subscriptions", 0),
        pending=row.get("pending_bytes", 0),
        in_msgs=row.get("in_msgs", 0),
        out_msgs=row.get("out_msgs", 0),
        idle=row.get("idle", ""),
    )


async def list_locks(session: Session) -> Locks:
    """Singleton locks and rate limits, by key."""
    singletons = await list_singletons(session)
    rates = [
        _rate(entry.key, entry.value, entry.timestamp_ns)
        async for entry in entries_of(session.stores.rate_limits)
    ]
    return Locks(singletons, sorted(rates, key=lambda row: row.key))


def _rate(key: str, bucket: TokenBucket, at: int) -> RateRow:
    return RateRow(
        key=key,
        tokens=bucket.tokens,
        limit=bucket.limit,
        period_ns=bucket.period_ns,
        used_at=at,
    )


def uptime(connection: Connection, now: int) -> int | None:
    """How long a client has been connected, ns."""
    since = read_time(connection.since)
    return now - since if since else None
