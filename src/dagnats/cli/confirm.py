"""Asking before something that cannot be taken back.

Of the reference's commands only ``clean`` asks; the destructive ones beyond it ask on a terminal
and refuse without one unless ``--yes`` is given (``decisions.md`` 3).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dagnats.cli.render.console import err, is_terminal
from dagnats.errors import RefusedError, UsageError


def confirm(what: str, yes: bool) -> None:
    """Go on only with ``--yes`` or a yes at the terminal.

    Args:
        what: what will be done, as a sentence without its end.
        yes: whether ``--yes`` was given.

    Raises:
        UsageError: there is nobody to ask.
        RefusedError: the answer was no.
    """
    if yes:
        return
    if not is_terminal(sys.stdin):
        raise UsageError(f"{what}: not confirmed", "add --yes to do it without being asked")
    if not answer(f"{what}?"):
        raise RefusedError("aborted", "nothing was changed")


def answer(question: str, ask: Callable[..., None] = err) -> bool:
    """Ask; only ``y`` means yes, the end of input means no.

    Args:
        question: a sentence with its question mark.
        ask: ``err`` or ``out``: where the question goes.
    """
    ask(f"{question} [y/N] ", end="")
    line = sys.stdin.readline() if sys.stdin else ""
    if not is_terminal(sys.stdin):
        ask()
    return line.strip().lower() in ("y", "yes")
