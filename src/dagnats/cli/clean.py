"""``dagnats clean``: throw data away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import DryRun
from dagnats.cli.confirm import answer
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.outputs import Purged
from dagnats.cli.render.console import err, out
from dagnats.cli.render.progress import Bar
from dagnats.cli.render.results import show
from dagnats.cli.render.sizes import binary_size
from dagnats.cli.state import current, session
from dagnats.cli.texts import whole
from dagnats.errors import UsageError
from dagnats.model.times import format_duration
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.cleaning import Cleaned, CleanPlan, CleanQuery

app = App("clean", "Purge data from streams and KV buckets.", group=False)

NAME_WIDTH = 18


@app.add("clean")
def clean(
    types: Annotated[
        str,
        typer.Option(
            "--type", metavar="CATEGORIES", help="Comma-separated: runs, dlq, otel, defs."
        ),
    ] = "",
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="DURATION", help="Only older data (7d, 24h, 30m)."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", metavar="N", parser=whole(1), help="Keep the newest N of each."),
    ] = None,
    before_seq: Annotated[
        int | None,
        typer.Option(
            "--before-seq", metavar="N", parser=whole(1), help="Only what comes before it."
        ),
    ] = None,
    dry_run: DryRun = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All categories (runs, dlq, otel, defs).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Skip confirmation prompt.")] = False,
) -> None:
    """Purge data; runs and dead letters unless told otherwise."""
    from dagnats.services.cleaning import (
        CATEGORIES,
        DEFAULT,
        CleanQuery,
        check_query,
        parse_age,
    )

    if types and everything:
        raise UsageError("--type and --all exclude each other")
    query = CleanQuery(
        types=CATEGORIES if everything else _types(types) or DEFAULT,
        older_than=None if older_than is None else parse_age(older_than),
        keep=keep,
        before_seq=before_seq,
    )
    check_query(query)
    if dry_run:
        run_async(_plan(query))
    elif force or _confirmed(query):
        run_async(_clean(query))
    else:
        out("Aborted.")


def _types(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _confirmed(query: CleanQuery) -> bool:
    if current().json:
        raise UsageError("clean --json needs --force", "or look first with --dry-run --json")
    how = "all"
    if query.older_than is not None:
        how = f"older than {format_duration(query.older_than)}"
    elif query.keep is not None:
        how = f"all but the newest {query.keep} of each"
    elif query.before_seq is not None:
        how = f"before sequence {query.before_seq}"
    return answer(f"This will purge {', '.join(query.types)} data ({how}). Continue?", out)


async def _plan(query: CleanQuery) -> None:
    from dagnats.services.cleaning import plan_clean

    async with session() as opened:
        plan = await plan_clean(opened, query)
    show(plan, lambda: _print_plan(plan), name="\n".join(entry.name for entry in plan.entries))


def _print_plan(plan: CleanPlan) -> None:
    if not plan.total_messages:
        out("Nothing to clean.")
        return
    out("Would clean:")
    width = max(NAME_WIDTH, *(len(entry.name) for entry in plan.entries))
    for entry in plan.entries:
        head = f"  {entry.name:<{width}}  {entry.kind:<6}  "
        if entry.kind == "kv":
            out(f"{head}{entry.messages} keys")
        else:
            out(f"{head}{entry.messages} msgs  {binary_size(entry.bytes)}")
    size = f", {binary_size(plan.total_bytes)}" if plan.total_bytes else ""
    out(f"Total: {plan.total_messages} messages{size}")


async def _clean(query: CleanQuery) -> None:
    from dagnats.services.cleaning import clean as throw_away

    async with session() as opened:
        with Bar("Cleaning") as bar:
            done = await throw_away(opened, query, lambda name, at, total: bar(at, total, name))
    document = Purged(
        streams_purged=done.streams_purged,
        buckets_cleared=done.buckets_cleared,
        errors=done.errors,
    )
    show(document, lambda: _print_cleaned(done))
    for note in done.notes:
        err(one_line(note))


def _print_cleaned(done: Cleaned) -> None:
    failed = f" ({done.errors} errors)" if done.errors else ""
    out(f"Purged {done.streams_purged} streams, cleared {done.buckets_cleared} KV buckets{failed}")
