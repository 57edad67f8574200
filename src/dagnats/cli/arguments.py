"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.texts import instant
from dagnats.errors import UsageError

if TYPE_CHECKING:
    from dagnats.services.run_query import RunRef
    from dagnats.services.session import Session

RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID", help="Run ID (accepts 8+ character prefixes).", show_default=False
    ),
]
Last = Annotated[bool, typer.Option("--last", help="Use the most recent run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Refresh until interrupted.")]
After = Annotated[
    str, typer.Option("--after", metavar="TIME", help="Only runs created after this RFC3339 time.")
]
Before = Annotated[
    str, typer.Option("--before", metavar="TIME", help="Only runs created before this time.")
]


async def the_run(session: Session, ref: str, last: bool) -> RunRef:
    """The run that RUN_ID or --last means; scheduled ones included."""
    from dagnats.services.run_query import resolve_run

    return await resolve_run(session, ref, last)


async def the_started_run(session: Session, ref: str, last: bool) -> str:
    """The full id of the run that RUN_ID or --last means, which must have begun.

    Raises:
        ConflictError: it is only scheduled.
    """
    from dagnats.errors import ConflictError

    found = await the_run(session, ref, last)
    if found.scheduled:
        raise ConflictError(
            f"run {found.run_id} is scheduled and has not started",
            f"see it with 'dagnats run status {found.run_id[:8]}'",
        )
    return found.run_id


def needs_run(ref: str, last: bool) -> None:
    """Refuse a command line that names no run, before anything is connected.

    Raises:
        UsageError: there is neither an id nor --last.
    """
    if not ref and not last:
        raise UsageError("run ID required", "give a run id, or --last for the newest run")


def shifted(ref: str, words: list[str], last: bool) -> tuple[str, list[str]]:
    """RUN_ID and what follows it: with --last the id is left out, so all words follow."""
    return ("", [ref, *words] if ref else words) if last else (ref, words)


def span(after: str, before: str) -> tuple[int | None, int | None]:
    """The bounds that --after and --before give, in ns since 1970."""
    bounds = instant(after, "--after"), instant(before, "--before")
    if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
        raise UsageError("--before must be after --after", "swap the two times")
    return bounds
