"""``dagnats __complete -- WORDS…``: the candidates for the last word, one a line.

Silent about every error: a shell asks while somebody types.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from dagnats.cli import COMMANDS, LEADING_FLAGS, LEADING_VALUED
from dagnats.cli.execute import load
from dagnats.cli.render.console import out
from dagnats.cli.state import begin, session
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from dagnats.services.session import Session

BUDGET_S = 0.4
MAX_NAMES = 50
MAX_RUNS = 20
# What a shell takes as one plain word: names come from strangers.
_PLAIN = re.compile(r"[\w./:@+-]+")
_KINDS = {
    "RUN_ID": "runs",
    "WORKFLOW": "workflows",
    "WORKFLOW_ID": "workflows",
    "NAME": "workflows",
    "TRIGGER_ID": "triggers",
    "WORKER_ID": "workers",
}
_OPTION_KINDS = {"--workflow": "workflows", "--run": "runs"}


def complete(words: list[str]) -> int:
    """Print the candidates for the last of ``words``; returns 0."""
    begin()
    typed = [word for word in words[1:] if word != "="] if words[:1] == ["--"] else words
    *before, partial = typed or [""]
    for candidate in candidates(before, partial):
        if candidate.startswith(partial) and _PLAIN.fullmatch(candidate):
            out(candidate)
    return 0


def candidates(before: list[str], partial: str) -> list[str]:
    """What may stand after ``before``, starting with ``partial`` or not."""
    if not before:
        return [*COMMANDS, "--help", "--version", *LEADING_FLAGS, *LEADING_VALUED]
    if before[0] not in COMMANDS:
        return []
    command, rest = load(before[0]), before[1:]
    name = before[0]
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    if subcommands and rest and rest[0] in subcommands:
        command, name, rest = subcommands[rest[0]], f"{name} {rest[0]}", rest[1:]
    elif subcommands:
        return [*subcommands, *_options(command)]
    if partial.startswith("-"):
        return _options(command)
    if rest and rest[-1] in _OPTION_KINDS:
        return live(_OPTION_KINDS[rest[-1]])
    return live(_kind(command, name, [word for word in rest if not word.startswith("-")]))


def _options(command: Any) -> list[str]:
    return [name for param in command.params for name in param.opts if name.startswith("--")]


def _kind(command: Any, name: str, given: list[str]) -> str:
    """What the next positional argument names."""
    positional = [param for param in command.params if param.param_type_name == "argument"]
    if len(given) >= len(positional):
        return ""
    metavar = str(positional[len(given)].metavar or positional[len(given)].name).upper()
    return "" if name == "run signal" and metavar == "NAME" else _KINDS.get(metavar, "")


def live(kind: str) -> list[str]:
    """Names from the server, if it answers in time."""
    if not kind:
        return []
    try:
        return asyncio.run(_live(kind))
    except (DagnatsError, TimeoutError, OSError):
        return []


async def _live(kind: str) -> list[str]:
    async with asyncio.timeout(BUDGET_S), session() as opened:
        return await _names(opened, kind)


async def _names(opened: Session, kind: str) -> list[str]:
    if kind == "runs":
        from dagnats.services.run_query import recent_ids

        return await recent_ids(opened, MAX_RUNS)
    if kind == "workflows":
        from dagnats.services.workflows import list_workflows

        return [found.name for found in await list_workflows(opened)][:MAX_NAMES]
    if kind == "triggers":
        from dagnats.services.triggers import list_triggers

        return [found.id for found in await list_triggers(opened)][:MAX_NAMES]
    from dagnats.services.workers import list_workers

    return [found.worker_id for found in await list_workers(opened)][:MAX_NAMES]
