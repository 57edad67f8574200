"""The health of the NATS servers, and of the telemetry that flows through them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dagnats.errors import DagnatsError
from dagnats.services.infos import stream_info, stream_infos
from dagnats.services.session import Session

TELEMETRY = "TELEMETRY"
KV = "KV_"
FULL = 0.9
"""A stream that uses more than this share of its limit is about to drop what is old."""


class StreamPeers(Struct, frozen=True):
    """How many copies a stream has, and whether all of them are up to date."""

    replicas: int
    in_sync: bool


class JetStreamHealth(Struct, frozen=True):
    """The streams; ``kv_buckets`` counts copies that are up to date."""

    leader_elected: bool
    streams: dict[str, StreamPeers]
    kv_buckets: dict[str, int]


class ClusterHealth(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The NATS servers.

    Args:
        mode: ``standalone`` or ``cluster``.
        leader: of the stream WORKFLOW_HISTORY.
        ok: every stream has a leader and copies that are up to date.
        error: why nothing is known.
    """

    mode: str
    expected_peers: int = 0
    connected_peers: int = 0
    leader: str = ""
    jetstream: JetStreamHealth | None = None
    ok: bool = False
    error: str = ""


class StreamUse(Struct, frozen=True):
    """How full a stream is; ``percent`` of its limit, 0 without one."""

    messages: int
    bytes: int
    percent: float


class Otlp(Struct, frozen=True):
    """Where telemetry goes besides NATS."""

    endpoint: str
    configured: bool


class TelemetryUse(Struct, frozen=True):
    """The stream of telemetry and who reads it."""

    stream: StreamUse
    consumers: int
    otlp: Otlp


class TelemetryHealth(Struct, frozen=True, omit_defaults=True):
    """``healthy``, or ``degraded``: there is no stream, or it is nearly full."""

    status: str
    telemetry: TelemetryUse | None = None


async def cluster_health(session: Session) -> ClusterHealth:
    """How the NATS servers are, as their streams show it."""
    try:
        infos = await stream_infos(session)
    except DagnatsError as error:
        return ClusterHealth(mode="unknown", error=error.message)
    peers = {info["config"]["name"]: _peers(info) for info in infos}
    led = all(_leader(info) or not info.get("cluster") for info in infos)
    if max((found.replicas for found in peers.values()), default=1) == 1:
        return ClusterHealth(mode="standalone", ok=led)
    members = {peer["name"]: not peer.get("offline") for i in infos for peer in _replicas(i)}
    members |= {leader: True for info in infos if (leader := _leader(info))}
    history = next((i for i in infos if i["config"]["name"] == "WORKFLOW_HISTORY"), None)
    streams = {name: found for name, found in peers.items() if not name.startswith(KV)}
    buckets = {
        info["config"]["name"].removeprefix(KV): _current(info)
        for info in infos
        if info["config"]["name"].startswith(KV)
    }
    return ClusterHealth(
        mode="cluster",
        expected_peers=len(members),
        connected_peers=sum(members.values()),
        leader=_leader(history) if history else "",
        jetstream=JetStreamHealth(led, streams, buckets),
        ok=led and all(found.in_sync for found in peers.values()),
    )


def _replicas(info: dict[str, Any]) -> list[dict[str, Any]]:
    return _cluster(info).get("replicas") or []


def _leader(info: dict[str, Any]) -> str:
    return _cluster(info).get("leader", "")


def _cluster(info: dict[str, Any]) -> dict[str, Any]:
    return info.get("cluster") or {}


def _current(info: dict[str, Any]) -> int:
    """Copies that are up to date, the leader's included."""
    return 1 + sum(1 for peer in _replicas(info) if peer.get("current") and not peer.get("offline"))


def _peers(info: dict[str, Any]) -> StreamPeers:
    wanted = int(info["config"].get("num_replicas", 1))
    return StreamPeers(wanted, _current(info) >= wanted)


async def telemetry_health(session: Session, otlp_endpoint: str) -> TelemetryHealth:
    """How full the stream of telemetry is.

    Args:
        session: the connection.
        otlp_endpoint: where telemetry goes besides NATS; empty: nowhere.
    """
    try:
        info = await stream_info(session, TELEMETRY)
    except DagnatsError:
        info = None
    if info is None:
        return TelemetryHealth("degraded")
    state, limit = info["state"], info["config"].get("max_bytes", -1)
    share = state["bytes"] / limit if limit > 0 else 0.0
    use = StreamUse(state["messages"], state["bytes"], round(100 * share, 1))
    otlp = Otlp(otlp_endpoint, bool(otlp_endpoint))
    status = "degraded" if share > FULL else "healthy"
    return TelemetryHealth(status, TelemetryUse(use, state["consumer_count"], otlp))
