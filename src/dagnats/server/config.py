"""The configuration of ``serve``: defaults, then one file, then the environment, then flags."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from dagnats.errors import InvalidError, NotFoundError, UsageError
from dagnats.model.document import join
from dagnats.model.names import is_subject
from dagnats.server import values, yamlfile
from dagnats.server.natsconf import CLUSTER_PORT_STEP
from dagnats.server.settings import (
    BY_NAME,
    KEYS,
    MAX_WORKERS,
    Key,
    Settings,
    WorkerSpec,
    config_places,
    default_data_dir,
)

SECTIONS = ("workflows", "triggers", "policy")
"""Top-level keys of the same file that are no settings; they are reloaded while we run."""

_WORKER_PARTS: dict[str, Callable[[Any], Any]] = {
    "exec": values.line,
    "http": values.url("http", "https"),
    "http_method": values.one_of("GET", "POST", "PUT", "PATCH", "DELETE"),
    "timeout": values.wait,
    "concurrency": values.integer(1, 1000),
}
_WORKER = re.compile(rf"worker\.(.+)\.({'|'.join(_WORKER_PARTS)})")
_NOT_LOOPBACK_HINT = "set api_token (DAGNATS_API_TOKEN), or listen on 127.0.0.1"


class Loaded(Struct, kw_only=True, frozen=True):
    """A configuration and where it comes from.

    Args:
        settings: the values.
        sources: per key ``default``, ``file``, ``env`` or ``flag``.
        path: the file that was read.
        warnings: what is odd but does not stand in the way.
    """

    settings: Settings
    sources: dict[str, str]
    path: Path | None = None
    warnings: tuple[str, ...] = ()

    def chosen(self, name: str) -> bool:
        """Whether somebody set this key."""
        return self.sources[name] != "default"


class _Collected(Struct):
    """Values on their way: what was read, whence, and what was wrong."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[str, str] = field(default_factory=dict[str, str])
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    warnings: list[str] = field(default_factory=list[str])

    def take(self, key: Key, value: Any, source: str, label: str) -> None:
        """Read one value; a bad one is a problem to be told with the others."""
        try:
            self.values[key.name] = key.read(value)
            self.sources[key.name] = source
        except ValueError as error:
            shown = "its value" if key.secret else f'"{str(value)[:80]}"'
            self.problems.append((source, f"{label}: {shown} {error}"))


def load(
    path: Path | None = None,
    env: Mapping[str, str] = os.environ,
    flags: Mapping[str, str | bool | None] | None = None,
) -> Loaded:
    """Resolve the configuration.

    Args:
        path: the file named by the operator; without it the usual places are searched.
        env: the environment; empty variables count as unset.
        flags: by key; ``None`` stands for a flag that was not given.

    Raises:
        NotFoundError: the named file does not exist.
        InvalidError: a value is wrong, with every problem found.
        UsageError: a value given as a flag is wrong.
    """
    found = _find(path, env)
    got = _Collected()
    document = yamlfile.read(found) if found else yamlfile.Document({}, {})
    _from_file(got, found, document)
    _from_env(got, env)
    for name, value in (flags or {}).items():
        if value is not None:
            got.take(BY_NAME[name], value, "flag", f"--{name.replace('_', '-')}")
    got.values["workers"] = _workers(got, found, document, env)
    _refuse(got.problems)
    got.values.setdefault("data_dir", default_data_dir())
    settings = Settings(**got.values)
    sources = {key.name: got.sources.get(key.name, "default") for key in KEYS}
    loaded = Loaded(settings=settings, sources=sources, path=found)
    _refuse([("", problem) for problem in _contradictions(settings)])
    warnings = (*got.warnings, *_idle(loaded))
    return Loaded(settings=settings, sources=sources, path=found, warnings=warnings)


def _find(path: Path | None, env: Mapping[str, str]) -> Path | None:
    if path is not None:
        if not path.exists():
            raise NotFoundError(f"config file not found: {path}", "correct --config")
        return path
    return next((place for place in config_places(dict(env)) if place.exists()), None)


def _from_file(got: _Collected, path: Path | None, document: yamlfile.Document) -> None:
    for name, value in document.values.items():
        label = f"{path}:{document.line_of(join('', str(name)))}: {name}"
        if name in BY_NAME:
            if value is not None:
                got.take(BY_NAME[name], value, "file", label)
        elif name not in SECTIONS and not _WORKER.fullmatch(str(name)):
            near = difflib.get_close_matches(str(name), BY_NAME, 1)
            advice = f"; did you mean {near[0]}?" if near else ""
            got.warnings.append(f"{label[:200]} is no known key and is ignored{advice}")


def _from_env(got: _Collected, env: Mapping[str, str]) -> None:
    for key in KEYS:
        if env.get(key.env):
            got.take(key, env[key.env], "env", key.env)


def _workers(
    got: _Collected, path: Path | None, document: yamlfile.Document, env: Mapping[str, str]
) -> tuple[WorkerSpec, ...]:
    """``worker.<task>.exec|http|…``, each of which the environment may override."""
    given: dict[str, dict[str, Any]] = {}
    for name, value in document.values.items():
        if match := _WORKER.fullmatch(str(name)):
            task, part = match.groups()
            given.setdefault(task, {})[part] = value

    def where(name: str) -> str:
        return f"{path}:{document.line_of(join('', name))}: {name}"

    parts = {task: _worker_parts(got, task, given[task], env, where) for task in given}
    if len(parts) > MAX_WORKERS:
        got.problems.append(("file", f"{path}: {len(parts)} workers; {MAX_WORKERS} are allowed"))
    for task, spec in parts.items():
        if not is_subject(task):
            got.problems.append(("file", f'worker "{task[:64]}": it cannot be a task type'))
        if bool(spec.get("exec")) == bool(spec.get("http")):
            got.problems.append(("file", f'worker "{task}" needs either exec or http'))
    return tuple(WorkerSpec(task=task, **spec) for task, spec in sorted(parts.items()))


def _worker_parts(
    got: _Collected,
    task: str,
    given: dict[str, Any],
    env: Mapping[str, str],
    where: Callable[[str], str],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part, read in _WORKER_PARTS.items():
        name = f"worker.{task}.{part}"
        variable = re.sub(r"[^A-Z0-9]", "_", f"DAGNATS_{name}".upper())
        value = env.get(variable) or given.get(part)
        if value is None:
            continue
        try:
            found[part] = read(value)
        except ValueError as error:
            label = variable if env.get(variable) else where(name)
            got.problems.append(("file", f"{label}: its value {error}"))
    return found


def _refuse(problems: list[tuple[str, str]]) -> None:
    if not problems:
        return
    texts = [text for _, text in problems]
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    if all(source == "flag" for source, _ in problems):
        raise UsageError(texts[0] + more)
    raise InvalidError(
        texts[0] + more, "correct it; 'dagnats serve --dry-run' checks all", tuple(texts)
    )


def _contradictions(settings: Settings) -> list[str]:
    """Values that are right each by itself, and not together."""
    found: list[str] = []
    host, http_port = values.split_address(settings.http_addr)
    if host and not is_loopback(host) and not settings.api_token:
        found.append(
            f"http_addr {settings.http_addr} is open to the network without a token; "
            + _NOT_LOOPBACK_HINT
        )
    if settings.nats_ws_port and not settings.nats_ws_no_tls:
        found.append("nats_ws_port is plain text; confirm with nats_ws_no_tls: true")
    if settings.nats_cluster_routes and len(settings.nats_cluster_routes) < 2:
        found.append("nats_cluster_routes names 1 other server; a cluster needs 2 to 10")
    if bool(settings.nats_cluster_routes) != bool(settings.nats_cluster_name):
        found.append("nats_cluster_name and nats_cluster_routes belong together")
    if settings.nats_cluster_name and not settings.nats_cluster_auth_token:
        found.append("nats_cluster_name needs nats_cluster_auth_token: routes face the network")
    return found + _collisions(settings, http_port)


def _collisions(settings: Settings, http_port: int) -> list[str]:
    """Two listeners on one port."""
    if settings.nats_url:
        return []
    used: dict[int, str] = {}
    found: list[str] = []
    cluster = settings.nats_port + CLUSTER_PORT_STEP if settings.nats_cluster_name else 0
    if cluster > 65535:
        return [f"nats_port {settings.nats_port} leaves no port {cluster} for the cluster's routes"]
    for name, number in (
        ("nats_port", settings.nats_port),
        ("http_addr", http_port),
        ("monitor_port", settings.monitor_port),
        ("nats_ws_port", settings.nats_ws_port),
        ("the cluster's routes", cluster),
    ):
        if number and number in used:
            found.append(f"{used[number]} and {name} both want port {number}")
        used.setdefault(number, name)
    return found


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _idle(loaded: Loaded) -> list[str]:
    """Keys somebody set that change nothing."""
    embedded = ("nats_port", "monitor_port", "leaf_remotes", "leaf_credentials", "sync")
    embedded += ("nats_cluster_name", "nats_cluster_routes", "nats_ws_port", "max_memory_bytes")
    login = ("creds", "user", "password", "token", "nkey", "ca", "cert", "key")
    settings = loaded.settings
    if settings.nats_url:
        reason, names = "has no effect with nats_url", embedded
    else:
        reason, names = "has no effect without nats_url", tuple(f"nats_{name}" for name in login)
    found = [f"{name} {reason}" for name in names if loaded.chosen(name)]
    if settings.leaf_credentials and not settings.leaf_remotes:
        found.append("leaf_credentials has no effect without leaf_remotes")
    return found
