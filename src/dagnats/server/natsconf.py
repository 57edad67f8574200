"""The embedded nats-server's settings, and the configuration file they make."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

from msgspec import Struct

LOOPBACK = "127.0.0.1"

MAX_PAYLOAD = 8 * 1024 * 1024
"""Largest message the embedded server takes, in bytes (decisions.md 1)."""

MAX_PENDING = 256 * 1024 * 1024
"""Bytes the server buffers for a slow connection before it drops it; its own default of 64 MiB
is eight of our largest messages."""

CLUSTER_PORT_STEP = 2000
"""Routes listen this far above the client port: 6222 beside 4222, as NATS documents it."""


class NatsSettings(Struct, kw_only=True, frozen=True):
    """How to run the embedded server.

    Args:
        data_dir: the JetStream store; ours alone.
        host: address that clients connect to.
        port: port that clients connect to.
        sync: ``always``, or how often acknowledged writes reach the disk, as a Go duration.
        max_store_bytes: limit of the file store in bytes.
        max_memory_bytes: limit of the memory store in bytes.
        monitor_port: port of NATS' own HTTP monitoring; 0 is off.
        ws_port: port for WebSocket clients; 0 is off.
        ws_no_tls: allow plain text on it. Without, the port stays closed: there is no certificate.
        leaf_remotes: addresses this server joins as a leaf node.
        leaf_credentials: path of the credentials file for them.
        cluster_name: name of the cluster; empty when alone.
        cluster_routes: addresses of the other members.
        cluster_token: secret that members show each other.
        server_name: what the server calls itself; by default made from machine and data_dir, since
            a cluster knows its members by their names and they must stay the same.
    """

    data_dir: Path
    host: str = LOOPBACK
    port: int = 4222
    sync: str = "always"
    max_store_bytes: int = 10 * 1024**3
    max_memory_bytes: int = 1024**3
    monitor_port: int = 0
    ws_port: int = 0
    ws_no_tls: bool = False
    leaf_remotes: tuple[str, ...] = ()
    leaf_credentials: str = ""
    cluster_name: str = ""
    cluster_routes: tuple[str, ...] = ()
    cluster_token: str = ""
    server_name: str = ""

    @property
    def name(self) -> str:
        """What the server calls itself."""
        place = f"{socket.gethostname()}:{self.data_dir.resolve()}"
        return self.server_name or f"dagnats-{hashlib.sha256(place.encode()).hexdigest()[:10]}"

    @property
    def url(self) -> str:
        """Where a client on this machine connects."""
        return f"nats://{self.reachable}:{self.port}"

    @property
    def reachable(self) -> str:
        """The host as a client writes it: an address that means "all" is no place to go to."""
        return LOOPBACK if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104


def render(settings: NatsSettings) -> str:
    """The text of nats-server.conf."""
    lines = [
        f"server_name: {quote(settings.name)}",
        f"listen: {quote(f'{settings.host}:{settings.port}')}",
        f"max_payload: {MAX_PAYLOAD}",
        f"max_pending: {MAX_PENDING}",
    ]
    if settings.monitor_port:
        lines.append(f"http: {quote(f'{settings.host}:{settings.monitor_port}')}")
    lines += _block(
        "jetstream",
        f"store_dir: {quote(str(settings.data_dir))}",
        f"max_file_store: {settings.max_store_bytes}",
        f"max_memory_store: {settings.max_memory_bytes}",
        f"sync_interval: {settings.sync}",
    )
    return "\n".join([*lines, *_websocket(settings), *_leaf(settings), *_cluster(settings)]) + "\n"


def quote(text: str) -> str:
    r"""A string as the configuration language reads it back: as JSON, but without \u escapes."""
    return json.dumps(text, ensure_ascii=False)


def _block(name: str, *lines: str) -> list[str]:
    return [f"{name} {{", *(f"  {line}" for line in lines), "}"]


def _websocket(settings: NatsSettings) -> list[str]:
    if not settings.ws_port:
        return []
    plain = str(settings.ws_no_tls).lower()
    address = quote(f"{settings.host}:{settings.ws_port}")
    return _block("websocket", f"listen: {address}", f"no_tls: {plain}")


def _leaf(settings: NatsSettings) -> list[str]:
    if not settings.leaf_remotes:
        return []
    login = settings.leaf_credentials
    credentials = f", credentials: {quote(login)}" if login else ""
    remotes = [f"{{ url: {quote(url)}{credentials} }}" for url in settings.leaf_remotes]
    return _block("leafnodes", f"remotes: [{', '.join(remotes)}]")


def _cluster(settings: NatsSettings) -> list[str]:
    """Members know each other by the token as password, which each has in its routes."""
    if not settings.cluster_name:
        return []
    lines = [
        f"name: {quote(settings.cluster_name)}",
        f"listen: {quote(f'0.0.0.0:{settings.port + CLUSTER_PORT_STEP}')}",
    ]
    routes = settings.cluster_routes
    if settings.cluster_token:
        token = quote(settings.cluster_token)
        lines.append(f"authorization {{ user: dagnats, password: {token} }}")
        routes = tuple(_with_login(route, settings.cluster_token) for route in routes)
    lines.append(f"routes: [{', '.join(quote(route) for route in routes)}]")
    return _block("cluster", *lines)


def _with_login(route: str, token: str) -> str:
    from urllib.parse import quote as escape

    scheme, separator, rest = route.partition("://")
    if not separator or "@" in rest:
        return route
    return f"{scheme}://dagnats:{escape(token, safe='')}@{rest}"
