"""``dagnats trigger``: what starts runs by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Watch
from dagnats.cli.execute import run_async
from dagnats.cli.options import App, secret
from dagnats.cli.outputs import CronChecked, TriggerChanged, TriggerMade
from dagnats.cli.render.console import err, out
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import show, show_list
from dagnats.cli.render.table import Column
from dagnats.cli.render.times import date_time
from dagnats.cli.state import session
from dagnats.cli.texts import given, whole
from dagnats.errors import UsageError
from dagnats.model.trigger import trigger_kind
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.model.trigger import TriggerDef
    from dagnats.services.cron_times import CronTest
    from dagnats.services.trigger_fires import FireRow
    from dagnats.services.triggers import TriggerSpec

app = App("trigger", "Manage workflow triggers (cron, NATS subject, webhook).")

MAX_HISTORY = 500
MAX_COUNT = 100

TriggerId = Annotated[
    str,
    typer.Argument(
        metavar="TRIGGER_ID", help="Trigger ID, or its unique beginning.", show_default=False
    ),
]
Cron = Annotated[
    str | None,
    typer.Option("--cron", metavar="EXPR", help="Cron expression (5-field, extended)."),
]
Subject = Annotated[
    str | None, typer.Option("--subject", metavar="SUB", help="NATS subject pattern.")
]
Webhook = Annotated[str | None, typer.Option("--webhook", metavar="PATH", help="Webhook URL path.")]
Zone = Annotated[
    str | None, typer.Option("--tz", metavar="TZ", help="Timezone for cron (default: UTC).")
]
Backfill = Annotated[bool, typer.Option("--backfill", help="Enable backfill for cron triggers.")]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        metavar="SEC",
        help="Webhook HMAC secret; @FILE reads it (or set DAGNATS_WEBHOOK_SECRET).",
    ),
]
Signature = Annotated[
    str | None,
    typer.Option(
        "--signature",
        metavar="HOW",
        help="What a webhook's senders sign: body, or timestamped (cannot be replayed).",
    ),
]


@app.add("create")
def create(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW_ID", help="Workflow to start.", show_default=False)
    ],
    cron: Cron = None,
    subject: Subject = None,
    webhook: Webhook = None,
    tz: Zone = None,
    backfill: Backfill = False,
    sec: Secret = None,
    signature: Signature = None,
) -> None:
    """Create a trigger: exactly one of --cron, --subject, --webhook."""
    from dagnats.services.triggers import TriggerSpec

    given(workflow, "workflow ID")
    if sum(bool(kind) for kind in (cron, subject, webhook)) != 1:
        raise UsageError("exactly one of --cron, --subject, or --webhook must be specified")
    spec = TriggerSpec(
        cron=cron,
        subject=subject,
        webhook=webhook,
        tz=tz,
        backfill=backfill or None,
        secret=secret(sec) if sec else None,
        signature=signature,
    )
    run_async(_create(workflow, spec))


async def _create(workflow: str, spec: TriggerSpec) -> None:
    from dagnats.services.triggers import create_trigger

    async with session() as opened:
        made = await create_trigger(opened, workflow, spec)
    show(TriggerMade(trigger_id=made.id), lambda: out(f"Trigger created: {made.id}"), name=made.id)


@app.add("list")
def list_(watch: Watch = False) -> None:
    """List all registered triggers."""
    run_async(_list(watch))


async def _list(watch: bool) -> None:
    from dagnats.services.triggers import list_triggers

    async with session() as opened:
        await refreshing(lambda: list_triggers(opened), _print_list, watch)


def _print_list(found: list[TriggerDef]) -> None:
    from dagnats.services.cron_times import config_text, next_fire

    now = time.time_ns()
    columns: list[Column[TriggerDef]] = [
        Column("ID", lambda item: item.id),
        Column("WORKFLOW", lambda item: item.workflow_id),
        Column("TYPE", trigger_kind),
        Column("CONFIG", config_text, flex=True),
        Column("NEXT", lambda item: next_fire(item, now) or "-", wide=True),
        Column("ENABLED", lambda item: "yes" if item.enabled else "no"),
    ]
    show_list(found, columns, name=lambda item: item.id, empty="No triggers found.")


@app.add("update")
def update(
    trigger_id: TriggerId,
    cron: Cron = None,
    tz: Zone = None,
    backfill: Annotated[
        bool | None, typer.Option("--backfill/--no-backfill", help="Switch backfill.")
    ] = None,
    subject: Subject = None,
    webhook: Webhook = None,
    sec: Secret = None,
    signature: Signature = None,
) -> None:
    """Change a trigger in place; its kind stays."""
    from dagnats.services.triggers import TriggerSpec

    given(trigger_id, "trigger ID")
    wanted = (cron, tz, backfill, subject, webhook, sec, signature)
    if all(value is None for value in wanted):
        raise UsageError("nothing to change", "give at least one of --cron, --tz, --subject, …")
    changes = TriggerSpec(
        cron=cron,
        tz=tz,
        backfill=backfill,
        subject=subject,
        webhook=webhook,
        secret=None if sec is None else secret(sec),
        signature=signature,
    )
    run_async(_update(trigger_id, changes))


async def _update(ref: str, changes: TriggerSpec) -> None:
    from dagnats.services.triggers import update_trigger

    async with session() as opened:
        _print_action(await update_trigger(opened, ref, changes), "updated")


def _print_action(trigger: TriggerDef, action: str) -> None:
    document = TriggerChanged(trigger_id=trigger.id, action=action)
    show(document, lambda: out(f"Trigger {action}: {one_line(trigger.id)}"), name=trigger.id)


@app.add("delete")
def delete(
    trigger_id: TriggerId,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Also when a configuration file manages it.")
    ] = False,
) -> None:
    """Delete a trigger."""
    given(trigger_id, "trigger ID")
    run_async(_delete(trigger_id, force))


async def _delete(ref: str, force: bool) -> None:
    from dagnats.services.triggers import delete_trigger

    async with session() as opened:
        _print_action(await delete_trigger(opened, ref, force), "deleted")


@app.add("enable")
def enable(trigger_id: TriggerId) -> None:
    """Enable a disabled trigger."""
    given(trigger_id, "trigger ID")
    run_async(_enable(trigger_id, enabled=True))


@app.add("disable")
def disable(trigger_id: TriggerId) -> None:
    """Disable a trigger without deleting it."""
    given(trigger_id, "trigger ID")
    run_async(_enable(trigger_id, enabled=False))


async def _enable(ref: str, *, enabled: bool) -> None:
    from dagnats.services.triggers import enable_trigger

    async with session() as opened:
        changed = await enable_trigger(opened, ref, enabled)
    _print_action(changed, "enabled" if enabled else "disabled")


@app.add("fire")
def fire(trigger_id: TriggerId) -> None:
    """Fire a cron or webhook trigger now."""
    given(trigger_id, "trigger ID")
    run_async(_fire(trigger_id))


async def _fire(ref: str) -> None:
    from dagnats.services.trigger_fires import fire_trigger

    async with session() as opened:
        done = await fire_trigger(opened, ref)
    text = f"Trigger fired: {one_line(done.trigger_id)} (run {done.run_id})"
    show(done, lambda: out(text), name=done.run_id)


@app.add("history")
def history(
    trigger_id: TriggerId,
    limit: Annotated[
        int, typer.Option("--limit", parser=whole(1, MAX_HISTORY), help="Fire records to display.")
    ] = 10,
    watch: Watch = False,
) -> None:
    """Show when a trigger fired, and what became of it."""
    given(trigger_id, "trigger ID")
    run_async(_history(trigger_id, limit, watch))


async def _history(ref: str, limit: int, watch: bool) -> None:
    from dagnats.services.trigger_fires import trigger_history

    async with session() as opened:
        await refreshing(lambda: trigger_history(opened, ref, limit), _print_history, watch)


def _print_history(rows: list[FireRow]) -> None:
    columns: list[Column[FireRow]] = [
        Column("TIME", lambda row: date_time(row.fired_at)),
        Column("STATUS", _fire_status, status=True),
        Column("RUN ID", lambda row: row.run_id or "-"),
        Column("REASON", lambda row: row.skip_reason or row.error or "-", wide=True),
        Column("DURATION", lambda row: row.duration or "-"),
    ]
    show_list(rows, columns, name=lambda row: row.run_id or "-", empty="No fire history found.")


def _fire_status(row: FireRow) -> str:
    return row.status or ("skipped" if row.skipped else "-")


@app.add("test")
def try_out(
    expression: Annotated[
        str | None, typer.Argument(metavar="CRON_EXPR", help="Cron expression.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="EXPR", help="The same as the argument.")
    ] = None,
    tz: Annotated[str, typer.Option("--tz", metavar="TZ", help="Timezone.")] = "UTC",
    count: Annotated[
        int, typer.Option("--count", parser=whole(0, MAX_COUNT), help="Fire times to show.")
    ] = 5,
) -> None:
    """Check a cron expression and show its next fire times, offline."""
    from dagnats.services.cron_times import explain_cron

    if (expression is None) == (cron is None):
        raise UsageError("cron expression required", "give it once, as argument or with --cron")
    found = explain_cron(expression if expression is not None else cron or "", tz, count)
    show(_test_document(found), lambda: _print_test(found), name=found.expression or "-")
    if not found.valid:
        raise typer.Exit(1)


def _test_document(found: CronTest) -> CronChecked:
    if not found.valid:
        return CronChecked(expression=found.expression, valid=False, error=found.error)
    return CronChecked(
        expression=found.expression,
        valid=True,
        timezone=found.timezone,
        next_times=found.next_times,
    )


def _print_test(found: CronTest) -> None:
    if not found.valid:
        err(f"Invalid: {one_line(found.expression)}\n  {one_line(found.error)}")
        return
    out(f"Valid: {one_line(found.expression)}")
    if found.labels:
        out(f"\nNext {len(found.labels)} fire times ({one_line(found.timezone)}):")
    for number, label in enumerate(found.labels, 1):
        out(f"  {number}. {label}")
