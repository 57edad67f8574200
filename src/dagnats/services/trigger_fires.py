"""What triggers did, and firing one by hand."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import ConflictError, InvalidError, NotFoundError, UsageError
from dagnats.model.run import WorkflowRun
from dagnats.model.times import MILLISECOND, format_duration, read_time
from dagnats.model.trigger import TriggerFire, trigger_kind
from dagnats.runtime.triggers.firing import Fire, Firing
from dagnats.services import audit
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.runs import new_run_id
from dagnats.services.session import Session
from dagnats.services.triggers import resolve_trigger
from dagnats.wire import msgids

FIREABLE = ("cron", "webhook")
MAX_HISTORY = 500
"""The most fire records that are shown (``cli-reference.txt``)."""


class FireRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fire of a trigger, and what became of the run.

    Args:
        duration: Go's text, e.g. ``2.5s``; empty while the run goes on.
    """

    trigger_id: str
    workflow_id: str
    fired_at: str
    status: str = ""
    run_id: str = ""
    duration: str = ""
    source: str = ""
    skipped: bool = False
    skip_reason: str = ""
    error: str = ""


class Fired(Struct, frozen=True):
    """A trigger that was fired by hand."""

    trigger_id: str
    run_id: str
    action: str = "fired"


async def trigger_history(session: Session, ref: str, limit: int = 10) -> list[FireRow]:
    """The newest fires of a trigger, newest first, and what became of their runs.

    Args:
        session: the connection.
        ref: id or unique prefix; the full id of a deleted trigger works as well.
        limit: how many, up to 500.

    Raises:
        UsageError: ``limit`` is not positive.
        AmbiguousError: the reference names several.
    """
    if limit < 1:
        raise UsageError(f"--limit must be positive; got {limit}")
    try:
        trigger_id = (await resolve_trigger(session, ref)).id
    except NotFoundError:
        trigger_id = ref
    fires = await session.stores.fires.newest(trigger_id, min(limit, MAX_HISTORY))
    keys = [RUN_PREFIX + fire.run_id for fire in fires if fire.run_id]
    runs = {e.value.run_id: e.value for e in (await session.stores.runs.get_many(keys)).values()}
    return [_fire_row(fire, runs.get(fire.run_id)) for fire in fires]


def _fire_row(fire: TriggerFire, run: WorkflowRun | None) -> FireRow:
    status = run.status if run else ("skipped" if fire.skipped else "failed" if fire.error else "")
    return FireRow(
        trigger_id=fire.trigger_id,
        workflow_id=fire.workflow_id,
        fired_at=fire.fired_at,
        status=status,
        run_id=fire.run_id,
        duration=_duration(run) if run else "",
        source=fire.source,
        skipped=fire.skipped,
        skip_reason=fire.skip_reason,
        error=fire.error,
    )


def _duration(run: WorkflowRun) -> str:
    began, ended = read_time(run.created_at), read_time(run.completed_at)
    if began is None or ended is None:
        return ""
    elapsed = max(0, ended - began)
    return format_duration(elapsed - elapsed % MILLISECOND)


async def fire_trigger(session: Session, ref: str) -> Fired:
    """Fire a cron or webhook trigger now.

    Raises:
        NotFoundError, AmbiguousError: the reference names none, or several.
        InvalidError: triggers of its kind cannot be fired by hand.
        ConflictError: it is disabled.
    """
    trigger = await resolve_trigger(session, ref)
    if trigger_kind(trigger) not in FIREABLE:
        raise InvalidError(
            f"trigger kind not fireable by hand: {trigger_kind(trigger)}",
            f"start the workflow with 'dagnats run start {trigger.workflow_id}'",
        )
    if not trigger.enabled:
        raise ConflictError(
            "trigger is disabled; enable it before firing",
            f"dagnats trigger enable {trigger.id}",
        )
    now, run_id = session.now(), new_run_id()
    fire = Fire(
        trigger=trigger,
        kind="manual",
        at=now,
        run_id=run_id,
        msg_id=msgids.manual_start(trigger.id, now),
    )
    await Firing(session.stores).fire([fire], now)
    await audit.record(session, "trigger.fire.manual", trigger.id, {"run_id": run_id})
    return Fired(trigger.id, run_id)
