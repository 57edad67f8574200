"""``dagnats __complete -- WORDS…``: the candidates for the last word, one a line.

Silent about every error: a shell asks while somebody types.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from typing import Any

from dagnats.cli import COMMANDS, LEADING_FLAGS, LEADING_VALUED, split
from dagnats.cli.candidates import live_values, plain_values, subject_of
from dagnats.cli.execute import load
from dagnats.cli.render.console import out
from dagnats.cli.state import begin, current
from dagnats.errors import DagnatsError

DEADLINE_S = 0.45
"""After so long the program ends without a word, whatever it waits for."""

BUDGET_S = 0.3
"""What of it the server may take to answer."""

# What a shell takes as one plain word: names come from strangers.
_PLAIN = re.compile(r"[\w./:@+-]+")


def give_up_in_time() -> None:
    """End the process when it takes too long: a name that is looked up cannot be interrupted."""
    leave: Callable[..., None] = lambda *_: os._exit(0)  # noqa: E731
    signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)


def complete(words: list[str]) -> int:
    """Print the candidates for the last of ``words``; returns 0."""
    begin()
    typed = [word for word in words[1:] if word != "="] if words[:1] == ["--"] else words
    *before, partial = typed or [""]
    option, equals, value = partial.partition("=")
    if equals and option.startswith("-"):  # Other shells than bash leave --x=y together.
        found = [f"{option}={each}" for each in candidates([*before, option], value)]
    else:
        found = candidates(before, partial)
    for candidate in found:
        if candidate.startswith(partial) and _PLAIN.fullmatch(candidate.replace("=", "")):
            out(candidate)
    return 0


def candidates(before: list[str], partial: str) -> list[str]:
    """What may stand after ``before``, starting with ``partial`` or not."""
    leading, rest = split(before)
    if not rest and before and before[-1] in LEADING_VALUED:
        return plain_values("", before[-1])
    if not rest:
        return [*COMMANDS, "--help", "--version", *LEADING_FLAGS, *LEADING_VALUED]
    if rest[0] not in COMMANDS:
        return []
    command, name, words = load(rest[0]), rest[0], rest[1:]
    words, options, waiting = read(command, words)
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    if subcommands and words and words[0] in subcommands:
        command, name = subcommands[words[0]], f"{name} {words[0]}"
        words, options, waiting = read(command, rest[rest.index(words[0], 1) + 1 :])
    elif subcommands and not waiting:
        return [*subcommands, *_options(command)]
    if not waiting and partial.startswith("-"):
        return _options(command)
    _connect_as(read(command, [*leading, *rest])[1])
    return _values(command, name, words, options, waiting)


def read(command: Any, words: list[str]) -> tuple[list[str], dict[str, str], str]:
    """Positional words, options with their values, and an option that waits for its value."""
    valued = {
        name
        for param in command.params
        for name in param.opts
        if name.startswith("-") and not param.is_flag
    }
    plain: list[str] = []
    options: dict[str, str] = {}
    waiting = ""
    for word in words:
        name, equals, value = word.partition("=")
        if waiting:
            options[waiting], waiting = word, ""
        elif name in valued and equals:
            options[name] = value
        elif name in valued:
            waiting = name
        elif word.startswith("-"):
            options[name] = ""
        else:
            plain.append(word)
    return plain, options, waiting


def _options(command: Any) -> list[str]:
    return [name for param in command.params for name in param.opts if name.startswith("--")]


def _values(
    command: Any, name: str, words: list[str], options: dict[str, str], waiting: str
) -> list[str]:
    asked = waiting or _next_argument(command, words, last="--last" in options)
    if not asked:
        return []
    return plain_values(name, asked) or _live(subject_of(name, asked), words, options)


def _next_argument(command: Any, words: list[str], *, last: bool) -> str:
    """What the argument is called that comes after ``words``; ``""`` when none does."""
    positional = [param for param in command.params if param.param_type_name == "argument"]
    if last and positional and positional[0].metavar == "RUN_ID":
        positional = positional[1:]
    if len(words) < len(positional):
        return str(positional[len(words)].metavar)
    return str(positional[-1].metavar) if positional and positional[-1].nargs == -1 else ""


def _connect_as(options: dict[str, str]) -> None:
    """Ask the server that the line so far names."""
    for option, value in options.items():
        if option in LEADING_VALUED and not option.startswith("-o"):
            key = "server" if option == "-s" else option.lstrip("-").replace("-", "_")
            current().connect[key] = value


def _live(subject: str, words: list[str], options: dict[str, str]) -> list[str]:
    """Names from the server, if it answers in time."""
    if not subject:
        return []
    try:
        return asyncio.run(_asked(subject, words, options))
    except (DagnatsError, TimeoutError, OSError):
        return []


async def _asked(subject: str, words: list[str], options: dict[str, str]) -> list[str]:
    import msgspec

    from dagnats.services.contexts import ConnectSettings
    from dagnats.services.session import open_session

    settings = msgspec.convert(current().connect, ConnectSettings)
    async with asyncio.timeout(BUDGET_S), open_session(settings) as opened:
        return await live_values(opened, subject, words, options)
