"""Triggers."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from dagnats.errors import InvalidError
from dagnats.model.document import parse_document
from dagnats.model.shape import read_shape
from dagnats.model.trigger import TriggerDef
from dagnats.server.http.operations import Body, Call, Query, operation
from dagnats.services import trigger_fires, triggers
from dagnats.services.runs import new_run_id
from dagnats.services.trigger_fires import Fired, FireRow
from dagnats.services.triggers import TriggerSpec

TAG = "triggers"


class ChangeBody(Body, frozen=True, kw_only=True):
    """What is to change; the kind of a trigger stays. An empty secret clears it."""

    cron: str | None = None
    tz: str | None = None
    backfill: bool | None = None
    subject: str | None = None
    webhook: str | None = None
    secret: str | None = None
    enabled: bool | None = None


class ForceQuery(Query, frozen=True, kw_only=True):
    """`force`: also a trigger that a configuration file would make again."""

    force: bool = False


class HistoryQuery(Query, frozen=True, kw_only=True):
    """How many fires, newest first."""

    limit: Annotated[int, Meta(ge=1)] = 10


@operation("GET", "/triggers", tag=TAG)
async def list_triggers(call: Call) -> list[TriggerDef]:
    """All triggers, by workflow and id; their secrets are masked."""
    return await triggers.list_triggers(call.session)


@operation("POST", "/triggers", tag=TAG, status=201, schema=TriggerDef, missing=400)
async def create_trigger(call: Call, body: bytes) -> TriggerDef:
    """Make a trigger. Without an `id` it gets one; without `enabled` it is enabled."""
    tree = parse_document(body, "trigger")
    if not isinstance(tree, dict):
        raise InvalidError("a trigger is a JSON object")
    named: dict[str, Any] = {"id": f"trig-{new_run_id()[:16]}", "enabled": True}
    given = named | cast("dict[str, Any]", tree)
    return await triggers.put_trigger(call.session, read_shape(given, TriggerDef))


@operation("GET", "/triggers/{trigger_id:path}/history", tag=TAG)
async def trigger_history(call: Call, trigger_id: str, query: HistoryQuery) -> list[FireRow]:
    """The newest fires of a trigger, newest first, and what became of their runs."""
    return await trigger_fires.trigger_history(call.session, trigger_id, query.limit)


@operation("POST", "/triggers/{trigger_id:path}/enable", tag=TAG)
async def enable_trigger(call: Call, trigger_id: str) -> TriggerDef:
    """Enable a trigger."""
    return await triggers.enable_trigger(call.session, trigger_id)


@operation("POST", "/triggers/{trigger_id:path}/disable", tag=TAG)
async def disable_trigger(call: Call, trigger_id: str) -> TriggerDef:
    """Disable a trigger."""
    return await triggers.enable_trigger(call.session, trigger_id, enabled=False)


@operation("POST", "/triggers/{trigger_id:path}/fire", tag=TAG, status=201)
async def fire_trigger(call: Call, trigger_id: str) -> Fired:
    """Fire a cron or webhook trigger now."""
    return await trigger_fires.fire_trigger(call.session, trigger_id)


@operation("GET", "/triggers/{trigger_id:path}", tag=TAG)
async def get_trigger(call: Call, trigger_id: str) -> TriggerDef:
    """One trigger by id or unique prefix; its secrets are masked."""
    return await triggers.get_trigger(call.session, trigger_id)


@operation("PATCH", "/triggers/{trigger_id:path}", tag=TAG)
async def update_trigger(call: Call, trigger_id: str, body: ChangeBody) -> TriggerDef:
    """Change a trigger in place."""
    given = msgspec.structs.asdict(body)
    enabled = given.pop("enabled")
    if enabled is None or any(value is not None for value in given.values()):
        changed = await triggers.update_trigger(call.session, trigger_id, TriggerSpec(**given))
        if enabled is None:
            return changed
    return await triggers.enable_trigger(call.session, trigger_id, enabled)


@operation("DELETE", "/triggers/{trigger_id:path}", tag=TAG)
async def delete_trigger(call: Call, trigger_id: str, query: ForceQuery) -> TriggerDef:
    """Delete a trigger; its history stays."""
    return await triggers.delete_trigger(call.session, trigger_id, query.force)
