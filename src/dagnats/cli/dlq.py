"""``dagnats dlq``: what failed for good, and bringing it back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Watch, Yes, the_run
from dagnats.cli.confirm import confirm
from dagnats.cli.execute import run_async, until_interrupted
from dagnats.cli.options import App
from dagnats.cli.outputs import ReplayAction, ReplayedLetter, ReplayTotals
from dagnats.cli.render.console import err, out, paint, warn
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import emit, show, show_list
from dagnats.cli.render.table import Column, short_ids
from dagnats.cli.render.times import date_time
from dagnats.cli.replaying import Replayer
from dagnats.cli.state import current, session
from dagnats.cli.texts import duration, json_input, whole
from dagnats.errors import UsageError
from dagnats.model.times import SECOND, format_duration
from dagnats.services.text import one_line, sanitize

if TYPE_CHECKING:
    from dagnats.model.records import DeadLetter
    from dagnats.services.dlq import DeadPage
    from dagnats.services.session import Session

app = App("dlq", "Manage the dead-letter queue.")

MAX_REPLAYS = 1000
BODY_LIMIT = 10_000

Run = Annotated[str, typer.Option("--run", metavar="RUN_ID", help="Filter by run ID.")]
Sequence = Annotated[
    int, typer.Argument(metavar="SEQ", parser=whole(1), help="Sequence number.", show_default=False)
]


@app.add("list")
def list_(
    run: Run = "",
    limit: Annotated[
        int, typer.Option("--limit", parser=whole(1), help="Max messages to show.")
    ] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Show all of them.")] = False,
    watch: Watch = False,
) -> None:
    """List dead letters, oldest first."""
    run_async(_list(run, None if everything else limit, watch))


async def _list(run: str, limit: int | None, watch: bool) -> None:
    from dagnats.services.dlq import list_dead

    async with session() as opened:
        run_id = await _run_id(opened, run)
        await refreshing(lambda: list_dead(opened, run_id, limit), _print_page, watch)


async def _run_id(opened: Session, ref: str) -> str:
    return (await the_run(opened, ref, last=False)).run_id if ref else ""


def _print_page(page: DeadPage) -> None:
    shown = short_ids([letter.run_id for letter in page.entries])
    columns: list[Column[DeadLetter]] = [
        Column("SEQ", lambda letter: str(letter.sequence)),
        Column("SUBJECT", lambda letter: letter.subject, flex=True),
        Column("RUN_ID", lambda letter: shown[letter.run_id] or "-"),
        Column("STEP_ID", lambda letter: letter.step_id or "-"),
        Column("TASK", lambda letter: letter.task or "-"),
        Column("DELIVERY", lambda letter: str(letter.delivery_count), wide=True),
        Column("ERROR", lambda letter: letter.error or "-", flex=True),
        Column("TIMESTAMP", lambda letter: date_time(letter.timestamp)),
    ]
    show_list(
        page.entries,
        columns,
        name=lambda letter: str(letter.sequence),
        empty="No dead letters found.",
    )
    if page.truncated:
        err(f"showing {len(page.entries)} of {page.total}; see more with --limit or --all")


@app.add("show")
def show_(sequence: Sequence) -> None:
    """Show one dead letter with its body."""
    run_async(_show(sequence))


async def _show(sequence: int) -> None:
    from dagnats.services.dlq import get_dead

    async with session() as opened:
        letter = await get_dead(opened, sequence)
    show(letter, lambda: _print_letter(letter), name=str(letter.sequence))


def _print_letter(letter: DeadLetter) -> None:
    rows = {
        "Sequence": str(letter.sequence),
        "Subject": letter.subject,
        "Run": letter.run_id or "-",
        "Step": letter.step_id or "-",
        "Task": letter.task or "-",
        "Error": letter.error or "-",
        "Time": f"{date_time(letter.timestamp)} UTC",
        "Deliveries": str(letter.delivery_count),
    }
    for label, value in rows.items():
        out(f"{label + ':':<13}{one_line(value)}")
    if letter.body_preserved:
        out(f"\nBody:\n{sanitize(letter.body.decode('utf-8', 'replace'), BODY_LIMIT)}")


@app.add("replay")
def replay(
    sequence: Annotated[
        int | None, typer.Argument(metavar="SEQ", parser=whole(1), help="Sequence number.")
    ] = None,
    run: Annotated[
        str, typer.Option("--run", metavar="RUN_ID", help="Replay what is dead of this run.")
    ] = "",
    payload: Annotated[
        str, typer.Option("--input", metavar="JSON", help="New input for the step.")
    ] = "",
) -> None:
    """Reopen a failed run at the failed step."""
    if (sequence is None) == (not run):
        raise UsageError("a sequence number or --run is needed", "give exactly one of them")
    if sequence is None and payload:
        raise UsageError("--input only goes with a sequence number")
    data = json_input(payload) if payload else None
    run_async(_replay_run(run) if sequence is None else _replay(sequence, data))


async def _replay(sequence: int, data: bytes | None) -> None:
    from dagnats.services.dlq import replay as bring_back

    async with session() as opened:
        done = await bring_back(opened, sequence, data)
    document = ReplayedLetter(sequence=done.sequence, replayed=done.replayed)
    show(document, lambda: out(f"Replayed dead letter {done.sequence}"), name=str(done.sequence))


async def _replay_run(ref: str) -> None:
    from dagnats.cli.reports import ReplayedLetters
    from dagnats.services.dlq import replay_run

    async with session() as opened:
        done = await replay_run(opened, await _run_id(opened, ref))
    document = ReplayedLetters(
        run_id=done.run_id, replayed=done.replayed, sequences=done.sequences, failed=done.failed
    )

    def text() -> None:
        for entry in done.entries:
            out(f"Replayed dead letter {entry.sequence} ({one_line(entry.task)})")
        if done.replayed:
            out(f"Replayed {done.replayed} dead letters for run {one_line(ref)}")
        elif not done.failed:
            out("No dead letters found for run.")

    show(document, text, name="\n".join(map(str, done.sequences)))
    for failure in done.failed:
        warn(f"replay seq {failure.sequence}: {failure.error}")
    if done.failed:
        raise typer.Exit(1)


@app.add("watch")
def watch(
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="Poll interval.")
    ] = "30s",
    max_replays: Annotated[
        int,
        typer.Option(
            "--max-replays", parser=whole(1, MAX_REPLAYS), help="Max replays per message."
        ),
    ] = 3,
    run: Run = "",
) -> None:
    """Replay dead letters by themselves until interrupted."""
    until_interrupted(_watch(duration(interval, "--interval"), max_replays, run))


async def _watch(interval: int, max_replays: int, run: str) -> None:
    async with session() as opened:
        run_id = await _run_id(opened, run)
        replayer = Replayer(opened, max_replays, run_id, _print_action)
        if current().human:
            every = format_duration(interval)
            out(f"Watching DLQ every {every} (max {max_replays} replays per message)")
            if run_id:
                out(f"Filtering: run={run_id}")
        try:
            while True:
                await replayer.poll()
                await asyncio.sleep(interval / SECOND)
        finally:
            _print_summary(replayer)


def _print_action(letter: DeadLetter, action: str, attempt: int, limit: int) -> None:
    document = ReplayAction(
        action=action,
        sequence=letter.sequence,
        task=letter.task,
        run_id=letter.run_id,
        attempt=attempt if action == "replayed" else 0,
    )
    emit(document, lambda: _action_line(letter, action, attempt, limit), name=str(letter.sequence))


def _action_line(letter: DeadLetter, action: str, attempt: int, limit: int) -> str:
    where = f"seq={letter.sequence} task={one_line(letter.task)} run={one_line(letter.run_id[:8])}"
    if action == "replayed":
        label = paint(f"[replay {attempt}/{limit}]", "active")
        return f"{label} {where} err={one_line(letter.error, 200)}"
    return f"{paint(f'[skip exhausted {attempt}/{limit}]', 'bad')} {where}"


def _print_summary(replayer: Replayer) -> None:
    replayed, exhausted = replayer.replayed, len(replayer.exhausted)
    emit(
        ReplayTotals(total_replayed=replayed, total_exhausted=exhausted),
        lambda: f"\nWatch summary: {replayed} replayed, {exhausted} exhausted",
    )


@app.add("discard")
def discard(sequence: Sequence, yes: Yes = False) -> None:
    """Throw a dead letter away; its run stays as it is."""
    run_async(_discard(sequence, yes))


async def _discard(sequence: int, yes: bool) -> None:
    from dagnats.services.dlq import discard as throw_away
    from dagnats.services.dlq import get_dead

    async with session() as opened:
        letter = await get_dead(opened, sequence)
        what = f"Discard dead letter {sequence} ({one_line(letter.task)}, run {letter.run_id[:8]})"
        confirm(one_line(what), yes)
        done = await throw_away(opened, sequence)
    show(done, lambda: out(f"Discarded dead letter {done.sequence}"), name=str(done.sequence))
