"""What may stand in the place of an argument or option: fixed words, and names from the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dagnats.cli.state import FORMATS
from dagnats.model.event import EventType
from dagnats.model.run import RunStatus

if TYPE_CHECKING:
    from dagnats.services.session import Session

MAX_NAMES = 50
MAX_RUNS = 20

_STATUSES = tuple(status.value for status in RunStatus)
_FIXED: dict[str, tuple[str, ...]] = {
    "-o": FORMATS,
    "--output-format": FORMATS,
    "--status": _STATUSES,
    "--state": _STATUSES,
    "run cancel-all --status": ("running", "pending", "all"),
    "run events --type": tuple(kind.value for kind in EventType),
    "clean --type": ("runs", "dlq", "otel", "defs"),
    "--mode": ("rerun", "replay"),
    "--level": ("ERROR", "WARN", "INFO", "DEBUG"),
    "--lang": ("python", "go"),
    "--log-level": ("debug", "info", "warning", "error"),
    "--log-format": ("text", "json"),
    "--sync": ("always",),
    "SHELL": ("bash", "zsh", "fish"),
}
"""Words by option or argument, those of one command under its name."""

_SUBJECTS = {
    "RUN_ID": "runs",
    "--run": "runs",
    "WORKFLOW": "workflows",
    "WORKFLOW_ID": "workflows",
    "--workflow": "workflows",
    "workflow show NAME": "workflows",
    "workflow revisions NAME": "workflows",
    "workflow delete NAME": "workflows",
    "TRIGGER_ID": "triggers",
    "WORKER_ID": "workers",
    "STEP": "steps",
    "--step": "steps",
    "--from": "steps",
    "SEQ": "dead letters",
    "KEY": "locks",
}
"""What the server knows of, by option or argument."""


def plain_values(command: str, asked: str) -> list[str]:
    """The fixed words for an option or argument of a command."""
    if asked == "--context":
        return _contexts()
    return list(_FIXED.get(f"{command} {asked}", _FIXED.get(asked, ())))


def _contexts() -> list[str]:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return sorted(path.stem for path in Path(base, "nats", "context").glob("*.json"))


def subject_of(command: str, asked: str) -> str:
    """What an option or argument names, if the server knows of such things."""
    return _SUBJECTS.get(f"{command} {asked}", _SUBJECTS.get(asked, ""))


async def live_values(
    session: Session, subject: str, words: list[str], options: dict[str, str]
) -> list[str]:
    """Names the server knows.

    Args:
        session: the connection.
        subject: what is named, as :func:`subject_of` says it.
        words: the arguments so far: steps are those of the run that is the first of them.
        options: the options so far.
    """
    if subject == "runs":
        from dagnats.services.run_query import recent_ids

        return await recent_ids(session, MAX_RUNS)
    if subject == "workflows":
        from dagnats.services.workflows import list_workflows

        return [found.name for found in await list_workflows(session)][:MAX_NAMES]
    if subject == "triggers":
        from dagnats.services.triggers import list_triggers

        return [found.id for found in await list_triggers(session)][:MAX_NAMES]
    if subject == "steps":
        return await _steps(session, "" if "--last" in options else words[0] if words else "")
    return await _rare(session, subject)


async def _steps(session: Session, ref: str) -> list[str]:
    from dagnats.services.run_query import get_run, resolve_run

    run = await resolve_run(session, ref, last=True)
    return (await get_run(session, run.run_id)).step_ids[:MAX_NAMES]


async def _rare(session: Session, subject: str) -> list[str]:
    if subject == "workers":
        from dagnats.services.workers import list_workers

        return [found.worker_id for found in await list_workers(session)][:MAX_NAMES]
    if subject == "locks":
        from dagnats.services.singletons import list_singletons

        return [found.key for found in await list_singletons(session)][:MAX_NAMES]
    from dagnats.services.dlq import list_dead

    page = await list_dead(session, limit=MAX_NAMES, newest=True)
    return [str(letter.sequence) for letter in reversed(page.entries)]
