"""``serve --dry-run``: would a server start with this configuration? Nothing is changed."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module

from msgspec import Struct

from dagnats.errors import DagnatsError, InvalidError
from dagnats.server import ports
from dagnats.server.binary import find_binary
from dagnats.server.config import Loaded
from dagnats.server.datadir import ensure_writable
from dagnats.server.natsconf import LOOPBACK
from dagnats.server.sections import read_sections
from dagnats.server.settings import WorkerSpec


class Finding(Struct, frozen=True, omit_defaults=True):
    """One check and its result; ``problem`` is empty when it passed, ``note`` is a remark."""

    check: str
    problem: str = ""
    note: str = ""


def refused(error: DagnatsError) -> list[Finding]:
    """The findings when the configuration could not even be read."""
    problems = error.problems if isinstance(error, InvalidError) else (error.message,)
    return [Finding("configuration", problem) for problem in problems]


def examine(loaded: Loaded, *, must_have_ports: bool) -> list[Finding]:
    """Look at everything a start would need.

    Args:
        loaded: the configuration.
        must_have_ports: a taken default port is a problem as well.
    """
    notes = [Finding("configuration", note=warning) for warning in loaded.warnings]
    checks = [*_sections(loaded), *_checks(loaded, must_have_ports)]
    return [*(notes or [Finding("configuration")]), *checks]


def _sections(loaded: Loaded) -> list[Finding]:
    """The workflows, triggers and policy of the file."""
    if loaded.path is None:
        return []
    try:
        found = read_sections(loaded.path)
    except InvalidError as error:
        return [Finding("workflows and triggers", problem) for problem in error.problems]
    if not (found.workflows or found.triggers or found.policy):
        return []
    note = f"{len(found.workflows)} workflow(s), {len(found.triggers)} trigger(s)"
    return [Finding("workflows and triggers", note=note)]


def _checks(loaded: Loaded, must: bool) -> Iterator[Finding]:
    settings = loaded.settings

    def port(name: str, host: str, number: int) -> Finding:
        forced = must or loaded.chosen(name)
        return _check(name, lambda: ports.choose(name, host, number, must=forced).note)

    yield port("http_addr", *settings.http_bind)
    if not settings.nats_url:
        yield _check("data_dir", lambda: ensure_writable(settings.data_dir))
        yield _check("nats-server", lambda: str(find_binary()))
        yield port("nats_port", LOOPBACK, settings.nats_port)
        for name in ("monitor_port", "nats_ws_port"):
            if number := getattr(settings, name):
                yield port(name, LOOPBACK, number)
    if settings.otlp_endpoint:
        yield _check("otlp_endpoint", _otlp)
    for spec in settings.workers:
        yield _check(f"worker.{spec.task}", lambda spec=spec: _runnable(spec))


def _check(name: str, look: Callable[[], str | None]) -> Finding:
    try:
        return Finding(name, note=look() or "")
    except DagnatsError as error:
        return Finding(name, problem=error.message)


def _otlp() -> None:
    import_module("dagnats.runtime.telemetry.otlp")  # It says what is missing.


def _runnable(spec: WorkerSpec) -> None:
    if not spec.exec:
        return
    try:
        words = shlex.split(spec.exec)
    except ValueError as error:
        raise DagnatsError(f'exec "{spec.exec}" cannot be split into words: {error}') from None
    if not words or shutil.which(words[0]) is None:
        raise DagnatsError(f'exec "{spec.exec}": there is no such command')
