"""The ``dagnats`` command line.

This module only finds out which command is meant: start-up is a feature, so neither ``--version``
nor the top-level help may import Typer, asyncio or NATS. Everything else is imported by the module
of the command that runs.
"""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from dagnats import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "workflow": ("workflow", "Manage workflow definitions."),
    "run": ("run", "Manage workflow runs."),
    "step": ("step", "Change a step of a run by hand."),
    "trigger": ("trigger", "Manage workflow triggers (cron, NATS subject, webhook)."),
    "event": ("event", "Publish events that runs wait for."),
    "dlq": ("dlq", "Manage the dead-letter queue."),
    "workers": ("workers", "Observe worker status."),
    "singleton": ("singleton", "See and release singleton locks."),
    "engine": ("engine", "Hold and resume the dispatch of steps."),
    "serve": ("serve", "Start the embedded NATS server with DagNats engine and API."),
    "doctor": ("doctor", "Check the deployment and what is kept of the runs."),
    "status": ("status", "Show system health."),
    "logs": ("logs", "Tail or search the log stream."),
    "clean": ("clean", "Purge data from streams and KV buckets."),
    "config": ("config", "View effective server configuration."),
    "init": ("init", "Scaffold a new workflow project."),
    "dev": ("dev", "Rebuild and restart a worker project when it changes."),
    "ui": ("ui", "Open the console: watch and steer everything, full screen."),
    "verify": ("verify", "Kill processes under a workflow of yours and see what it costs."),
    "demo": ("demo", "Show dagnats at work on a private server."),
    "completion": ("completion", "Print a shell completion script."),
}
"""Command word to module of this package and one line of help."""

GC_THRESHOLD = 50_000
"""Objects made, less those freed, after which the interpreter looks for garbage; it says 700."""

INTERRUPTED = 130
"""Exit code after Ctrl+C, as shells have it."""

LEADING_FLAGS = frozenset({"--json", "--debug"})
LEADING_VALUED = frozenset(
    {
        *("-o", "--output-format", "-s", "--server", "--context", "--creds", "--user"),
        *("--password", "--token", "--nkey", "--tls-ca", "--tls-cert", "--tls-key"),
    }
)
"""Options that may stand before the command word; ``options.py`` defines what they mean."""

GLOBAL_OPTIONS = """\
Global options, before or after the command:
  --json                   Output in JSON format (available on all commands)
  -o, --output-format FMT  table, wide, json, jsonl, yaml or name
  -s, --server URL         NATS address (or DAGNATS_NATS_URL)
  --context NAME           Context of the nats tool to connect with
  --creds FILE             Credentials file
  --user NAME              User name
  --password VALUE         Password; @FILE reads it (or DAGNATS_NATS_PASSWORD)
  --token VALUE            Token; @FILE reads it (or DAGNATS_NATS_TOKEN)
  --nkey FILE              File with an nkey seed
  --tls-ca FILE            Certificate authority to trust
  --tls-cert FILE          Client certificate
  --tls-key FILE           Key of the client certificate
  --debug                  Show a traceback for an internal error
  -h, --help               Show usage information
  -v, --version            Print version
"""


def main() -> NoReturn:
    """Entry point of the ``dagnats`` program."""
    # Imports make much and throw little away: looking for garbage as often as usual, and once more
    # at the end, would be a sixth of the time of a short command.
    gc.set_threshold(GC_THRESHOLD)
    if sys.argv[1:2] == ["__complete"]:
        from dagnats.cli.complete import give_up_in_time

        give_up_in_time()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # While modules were still being imported.
        code = INTERRUPTED
    gc.freeze()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Execute one command line and return its exit code.

    Args:
        argv: the words after the program name.
    """
    leading, rest = split(argv)
    if rest[:1] == ["help"] and rest[1:]:
        rest = [*rest[1:], "--help"]
    if rest and rest[0] in COMMANDS:
        from dagnats.cli.execute import execute

        return execute(rest[0], [*leading, *rest[1:]])
    if rest and rest[0] == "__complete":
        from dagnats.cli.complete import complete

        return complete(rest[1:])
    return _top_level(leading, rest)


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The global options in front of the command word, and everything from there on."""
    at = 0
    while at < len(argv):
        word = argv[at].partition("=")[0]
        if word in LEADING_FLAGS or (word in LEADING_VALUED and "=" in argv[at]):
            at += 1
        elif word in LEADING_VALUED:
            at += 2
        else:
            break
    return argv[:at], argv[at:]


def _top_level(leading: list[str], rest: list[str]) -> int:
    word = rest[0] if rest else ""
    if word in ("--version", "-v"):
        return _say(f"dagnats {__version__}\n", 0)
    if word in ("--help", "-h", "help"):
        return _say(usage(), 0)
    if not word and not leading:
        return _say(usage(), 1)
    from dagnats.cli.execute import refuse

    return refuse(*_unknown(word), [*leading, *rest])


def _unknown(word: str) -> tuple[str, str]:
    hint = "run 'dagnats --help' for the commands"
    if not word:
        return "no command given", hint
    if word.startswith("-"):
        return f"no such option: {word}", hint
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1)
    return f"unknown command: {word}", f"did you mean '{close[0]}'?" if close else hint


def usage() -> str:
    """The text of ``dagnats --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    head = "Usage: dagnats <command> [args]\n\nCommands:\n"
    tail = "Run 'dagnats <command> --help' for more about a command.\n"
    return head + "\n".join(lines) + f"\n\n{GLOBAL_OPTIONS}\n{tail}"


def _say(text: str, code: int) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (AttributeError, OSError):  # standard output is closed: nobody listens
        sys.stdout = None
    return code
