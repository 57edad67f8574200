"""A configuration as ``config show`` and ``serve --dry-run`` present it, without its secrets."""

from __future__ import annotations

import re
from typing import Any, cast

from dagnats.model.times import DAY, format_duration
from dagnats.server.config import Loaded
from dagnats.server.settings import KEYS, Key, Settings
from dagnats.server.values import is_inline

WIDTH = 18
"""Width of the label column; longer labels push their value to the right."""

MASK = "(set)"
"""What stands in the place of a secret."""

_LABELS = {"default": "default", "file": "from file", "env": "from env", "flag": "from flag"}
_LOGIN = re.compile(r"(://)[^/@\s,]*@")


def show(loaded: Loaded) -> list[str]:
    """The lines of ``config show``: first the seven of the reference, in its order."""
    lines = [_line(key.name, shown(key, loaded.settings)) for key in KEYS]
    lines += [
        _line(f"worker.{spec.task}", spec.exec or without_login(spec.http))
        for spec in loaded.settings.workers
    ]
    return [*lines, _line("config_file", str(loaded.path or "(defaults)"))]


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The same as an object: numbers and lists stay what they are."""
    found = {key.name: _plain(key, loaded.settings) for key in KEYS}
    found["workers"] = [
        {"task": spec.task, "exec": spec.exec, "http": without_login(spec.http)}
        for spec in loaded.settings.workers
    ]
    found["config_file"] = str(loaded.path) if loaded.path else None
    found["sources"] = dict(loaded.sources)
    return found


def with_sources(loaded: Loaded) -> list[str]:
    """Each key with its value and where that comes from."""
    return [
        f"{_line(key.name, shown(key, loaded.settings))} ({_LABELS[loaded.sources[key.name]]})"
        for key in KEYS
    ]


def shown(key: Key, settings: Settings) -> str:
    """One value as text, secrets masked."""
    value = _plain(key, settings)
    if value in ("", []):
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    if value == 0 and key.zero:
        return key.zero
    return ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)


def _plain(key: Key, settings: Settings) -> Any:
    value = getattr(settings, key.name)
    if key.secret:
        return MASK if value else ""
    if key.name == "leaf_credentials" and is_inline(value):
        return "(inline)"
    if key.name == "runs_max_age":
        return _age(value)
    if key.name == "bridge_ack_wait":
        return format_duration(value)
    if isinstance(value, tuple):
        return [without_login(part) for part in cast("tuple[str, ...]", value)]
    return value if isinstance(value, bool | int) else without_login(str(value))


def _age(value: int) -> str:
    if value == 0:
        return "off"
    return f"{value // DAY}d" if value % DAY == 0 else format_duration(value)


def without_login(url: str) -> str:
    """An address, or several, without the user and password it may carry."""
    return _LOGIN.sub(r"\1***@", url)


def _line(label: str, value: str) -> str:
    return f"{label + ':':<{WIDTH}} {value}".rstrip()
