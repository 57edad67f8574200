"""Run one command: import its module, parse, call, and turn what goes wrong into an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import signal
import sys
import threading
from collections.abc import Coroutine
from importlib import import_module
from typing import Any, TypeVar

import typer
import typer.main

from dagnats.cli import COMMANDS, INTERRUPTED, errors
from dagnats.cli.state import FORMATS, State, begin
from dagnats.errors import DagnatsError, UsageError

T = TypeVar("T")

# Typer brings its own copy of click or uses the installed one, depending on its version; the public
# name that is in both is BadParameter, a kind of click's UsageError.
ClickUsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "UsageError")


def execute(word: str, args: list[str]) -> int:
    """Run ``dagnats WORD ARGS`` and return its exit code."""
    state = begin()
    _tolerant_streams()
    # It warns of how TLS connections end, which is nothing a user can act upon.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        _check_text(args)
        return _invoke(word, args, state)
    except ClickUsageError as error:
        path = error.ctx.command_path if error.ctx else f"dagnats {word}"
        return _report(errors.usage(error.format_message(), path), state, args)
    except DagnatsError as error:
        return _report(error, state, args)
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        errors.err()
        return INTERRUPTED
    except BrokenPipeError:
        errors.abandon_output()
        return 0
    except OSError as error:
        return _report(errors.system(error), state, args)
    except Exception as error:  # noqa: BLE001 - the last resort: a user never sees a traceback
        return errors.internal(error, state)


def refuse(message: str, hint: str, argv: list[str]) -> int:
    """Refuse a command line that names no command."""
    return _report(UsageError(message, hint), begin(), argv)


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's asynchronous part."""
    return asyncio.run(coroutine)


def until_interrupted(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what only an interruption ends: Ctrl+C and SIGTERM are its normal end."""
    asyncio.run(interruptible(coroutine))


async def interruptible(coroutine: Coroutine[Any, Any, object]) -> None:
    """Await what only an interruption ends, and return when one does."""
    task = asyncio.ensure_future(coroutine)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def load(word: str) -> Any:
    """The click command of a command word."""
    module = import_module(f"dagnats.cli.{COMMANDS[word][0]}")
    return typer.main.get_command(module.app)


def _invoke(word: str, args: list[str], state: State) -> int:
    command = load(word)
    try:
        with command.make_context(f"dagnats {word}", args, obj=state) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    return 0


def _report(error: DagnatsError, state: State, args: list[str]) -> int:
    # Parsing may have failed before the options that choose the format were reached.
    if state.format == "table":
        state.format = _wanted_format(args)
    try:
        return errors.report(error, state)
    except BrokenPipeError:
        errors.abandon_output()
        return error.exit_code


def _wanted_format(args: list[str]) -> str:
    if "--json" in args:
        return "json"
    for at, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name in ("-o", "--output-format"):
            value = value if equals else "".join(args[at + 1 : at + 2])
            return value if value in FORMATS else "table"
    return "table"


def _check_text(args: list[str]) -> None:
    for word in args:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise UsageError(f"argument {word!a} is not valid UTF-8")


def _tolerant_streams() -> None:
    """A terminal that cannot show a character gets an escape, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
