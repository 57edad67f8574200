"""What ``serve`` can be told: every key, its environment variable, its default and its reader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from dagnats.model.times import DAY, MINUTE, SECOND
from dagnats.server import values
from dagnats.server.natsconf import LOOPBACK

GIB = 1024**3

MAX_WORKERS = 50
MAX_LEAF_REMOTES = 10
MAX_ROUTES = 10
MAX_GENERATION_DEPTH = 3


class WorkerSpec(Struct, kw_only=True, frozen=True):
    """A worker defined in the configuration: a command or a web address per task type.

    Args:
        timeout: how long one attempt may take, in ns; 0: five minutes for a command, one for an
            address (``engine.md`` CONF-6).
        concurrency: tasks at once.
    """

    task: str
    exec: str = ""
    http: str = ""
    http_method: str = "POST"
    timeout: int = 0
    concurrency: int = 1

    @property
    def timeout_s(self) -> float:
        """How long one attempt may take, in seconds."""
        return (self.timeout or (5 * MINUTE if self.exec else MINUTE)) / SECOND


class Settings(Struct, kw_only=True, frozen=True):
    """The configuration of a server, resolved. Ages in ns, sizes in bytes, 0 ports are off."""

    data_dir: Path
    http_addr: str = "127.0.0.1:8080"
    nats_port: int = 4222
    monitor_port: int = 0
    leaf_remotes: tuple[str, ...] = ()
    leaf_credentials: str = ""
    max_store_bytes: int = 10 * GIB
    max_memory_bytes: int = GIB
    sync: str = "always"
    paused: bool = False
    api_token: str = ""
    bridge_token: str = ""
    bridge_ack_wait: int = 5 * MINUTE
    http_rate_limit: int = 1000
    nats_url: str = ""
    nats_creds: str = ""
    nats_user: str = ""
    nats_password: str = ""
    nats_token: str = ""
    nats_nkey: str = ""
    nats_ca: str = ""
    nats_cert: str = ""
    nats_key: str = ""
    nats_cluster_name: str = ""
    nats_cluster_routes: tuple[str, ...] = ()
    nats_cluster_auth_token: str = ""
    nats_jetstream_replicas: int = 0
    nats_ws_port: int = 0
    nats_ws_no_tls: bool = False
    runs_max_age: int = 30 * DAY
    max_active_runs_per_root: int = 100
    max_defs_per_root: int = 500
    max_generation_depth: int = MAX_GENERATION_DEPTH
    max_registers_per_minute_per_root: int = 60
    otlp_endpoint: str = ""
    log_format: str = "text"
    log_level: str = "info"
    workers: tuple[WorkerSpec, ...] = ()

    @property
    def replicas(self) -> int:
        """Copies of each stream: as told, else as the cluster's size allows (engine T-2)."""
        if self.nats_jetstream_replicas:
            return self.nats_jetstream_replicas
        members = len(self.nats_cluster_routes) + 1
        return 5 if members >= 5 else 3 if members >= 3 else 1

    @property
    def http_bind(self) -> tuple[str, int]:
        """Host and port the HTTP API listens on.

        An address without a host means every interface to those who hold a token, and this machine
        to those who do not: without a token nothing is offered to the network.
        """
        host, number = values.split_address(self.http_addr)
        return host or ("0.0.0.0" if self.api_token else LOOPBACK), number  # noqa: S104


class Key(Struct, kw_only=True, frozen=True):
    """One key: how its value is read, and what it says when shown.

    Args:
        name: the key in the file and the field of :class:`Settings`.
        env: the environment variable.
        read: turns YAML's value or a text into the field's; raises ``ValueError``.
        secret: never shown.
        zero: what ``config show`` says instead of the number 0.
    """

    name: str
    env: str
    read: Callable[[Any], Any]
    secret: bool = False
    zero: str = ""


def _key(
    name: str,
    read: Callable[[Any], Any],
    *,
    env: str = "",
    secret: bool = False,
    zero: str = "",
) -> Key:
    env = env or f"DAGNATS_{name.upper()}"
    return Key(name=name, env=env, read=read, secret=secret, zero=zero)


_CLIENT = ("nats", "tls", "ws", "wss")
_LEAF = ("nats-leaf", "nats", "tls", "ws", "wss")

KEYS: tuple[Key, ...] = (
    # The first seven are the contract of `config show`, in this order.
    _key("data_dir", values.directory),
    _key("http_addr", values.address),
    _key("nats_port", values.port),
    _key("monitor_port", values.optional_port, zero="(disabled)"),
    _key("leaf_remotes", values.urls(_LEAF, MAX_LEAF_REMOTES)),
    _key("leaf_credentials", values.credentials),
    _key("max_store_bytes", values.size),
    _key("max_memory_bytes", values.size),
    _key("sync", values.sync),
    _key("paused", values.flag),
    _key("api_token", values.line, secret=True),
    _key("bridge_token", values.line, secret=True),
    _key("bridge_ack_wait", values.wait),
    _key("http_rate_limit", values.integer(0, 1_000_000), zero="(unlimited)"),
    _key("nats_url", values.url(*_CLIENT)),
    _key("nats_creds", values.file),
    _key("nats_user", values.line),
    _key("nats_password", values.line, secret=True),
    _key("nats_token", values.line, secret=True),
    _key("nats_nkey", values.file),
    _key("nats_ca", values.file),
    _key("nats_cert", values.file),
    _key("nats_key", values.file),
    _key("nats_cluster_name", values.line),
    _key("nats_cluster_routes", values.urls(("nats-route", "nats", "tls"), MAX_ROUTES)),
    _key("nats_cluster_auth_token", values.line, secret=True),
    _key("nats_jetstream_replicas", values.one_of(0, 1, 3, 5), zero="(by cluster size)"),
    _key("nats_ws_port", values.optional_port, zero="(disabled)"),
    _key("nats_ws_no_tls", values.flag),
    _key("runs_max_age", values.retention),
    _key("max_active_runs_per_root", values.integer(0)),
    _key("max_defs_per_root", values.integer(0)),
    _key("max_generation_depth", values.integer(0, MAX_GENERATION_DEPTH)),
    _key("max_registers_per_minute_per_root", values.integer(0)),
    _key("otlp_endpoint", values.one_url("http", "https"), env="OTEL_EXPORTER_OTLP_ENDPOINT"),
    _key("log_format", values.one_of("text", "json")),
    _key("log_level", values.one_of("debug", "info", "warning", "error")),
)

BY_NAME = {key.name: key for key in KEYS}


def default_data_dir() -> Path:
    """Where this platform keeps the data of a user's programs."""
    from platformdirs import user_data_path

    # Without an author: Windows would otherwise nest the name twice.
    return user_data_path("dagnats", appauthor=False).absolute()


def config_places(env: dict[str, str]) -> list[Path]:
    """Where a configuration file is looked for, the first found being used."""
    home = env.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    places = [Path("dagnats.yaml"), Path(home) / "dagnats" / "dagnats.yaml"]
    if sys.platform != "win32":
        places.append(Path("/etc/dagnats/dagnats.yaml"))
    return places
