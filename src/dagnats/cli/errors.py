"""The one place that prints errors and picks exit codes.

    0    done
    1    failed: not found, refused, invalid, unreachable
    2    wrong usage
    3    the run that was watched or waited for ended other than completed
    130  interrupted

An error is two lines on standard error, what is wrong and what to do. In JSON and YAML an object
with ``code``, ``message`` and ``hint`` goes to standard output as well. Never a traceback, unless
asked.
"""

from __future__ import annotations

import os
import sys
import traceback

from msgspec import Struct

from dagnats.cli.render.console import err, out
from dagnats.cli.state import State
from dagnats.errors import DagnatsError, UsageError


class ErrorBody(Struct):
    """What is wrong, what to do, and a word for programs."""

    code: str
    message: str
    hint: str


class Failure(Struct):
    """What any command that fails prints for a program."""

    error: ErrorBody


def report(error: DagnatsError, state: State) -> int:
    """Tell the user about an error; returns the exit code."""
    if state.json or state.format == "yaml":
        from dagnats.cli.render.results import json_text, yaml_text

        body = ErrorBody(code=error.code, message=error.message, hint=error.hint)
        document = Failure(error=body)
        out(json_text(document) if state.json else yaml_text(document).rstrip())
    tell(error)
    return error.exit_code


def tell(error: DagnatsError) -> None:
    """The two lines of an error that does not end the command."""
    from dagnats.services.text import one_line

    err(f"Error: {one_line(error.message)}")
    if error.hint:
        err(f"Hint: {one_line(error.hint)}")


def internal(error: Exception, state: State) -> int:
    """Tell about an error that is ours, not the user's; returns the exit code."""
    if state.debug:
        traceback.print_exception(error)
    message = f"internal error: {type(error).__name__}: {error}"
    return report(DagnatsError(message, "run it again with --debug to see where"), state)


def system(error: OSError) -> DagnatsError:
    """An error of the operating system in our words: a file, a disk, a socket."""
    what = f"{error.filename}: " if error.filename else ""
    return DagnatsError(f"{what}{error.strerror or error}")


def usage(message: str, path: str) -> UsageError:
    """An error in the words of the command line."""
    return UsageError(message.rstrip("."), f"run '{path} --help' for its arguments and options")


def abandon_output() -> None:
    """Standard output is a pipe that nobody reads: let the interpreter end without a word."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.__stdout__.fileno() if sys.__stdout__ else 1)
