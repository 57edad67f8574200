"""Workflow definitions: registering, looking up, deleting, and their past."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from dagnats.engine.plans import revision_of
from dagnats.errors import InvalidError, NotFoundError, RefusedError
from dagnats.model.times import format_time
from dagnats.model.trigger import TriggerDef
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import TASK_TYPES, WorkflowDef
from dagnats.services import audit
from dagnats.services.infos import TASKS, consumer_infos
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, entry_of, put_if_there, value_of
from dagnats.services.triggers import check_trigger, resolve_conflicts
from dagnats.wire import subjects


class Registered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow that was registered.

    Args:
        action: ``created`` or ``updated``.
        steps: how many.
        warnings: task types that no worker is there for.
        triggers: ids of the triggers that came with it.
    """

    name: str
    action: str
    steps: int
    warnings: list[str] = []
    triggers: list[str] = []


class Deleted(Struct, frozen=True):
    """A workflow that was deleted."""

    name: str
    action: str = "deleted"


class Revision(Struct, frozen=True):
    """One definition a workflow has had; ``current``: it is the one new runs take."""

    hash: str
    registered_at: str
    steps: int
    current: bool


async def list_workflows(session: Session) -> list[WorkflowDef]:
    """All registered workflows, by name."""
    found = [entry.value async for entry in entries_of(session.stores.definitions)]
    return sorted(found, key=lambda definition: definition.name)


async def get_workflow(session: Session, name: str) -> WorkflowDef:
    """A registered workflow.

    Raises:
        NotFoundError: there is none of that name.
    """
    found = await value_of(session.stores.definitions, name)
    if found is None:
        raise NotFoundError(
            f'workflow "{name[:64]}" not found',
            "list them with 'dagnats workflow list', or register it first",
        )
    return found


async def register_definition(
    session: Session, definition: WorkflowDef, triggers: Sequence[TriggerDef] = ()
) -> Registered:
    """Create a workflow or replace it; runs in flight keep the definition they began with.

    Everything is checked before anything is written. The triggers come after the workflow, so that
    none fires for a workflow that is not there.

    Args:
        session: the connection.
        definition: as it was read.
        triggers: that came in the same file; an empty ``workflow_id`` is filled in.

    Raises:
        InvalidError: naming every problem of workflow and triggers.
    """
    definition = normalise(definition)
    problems = [problem.text for problem in validate(definition)]
    if problems:
        raise InvalidError(f"invalid workflow: {problems[0]}", problems=tuple(problems))
    adopted = [_adopted(definition.name, trigger) for trigger in triggers]
    await resolve_conflicts(session, adopted)
    known = await entry_of(session.stores.definitions, definition.name)
    await keep_revision(session, definition)
    await session.stores.definitions.put(definition.name, definition)
    for trigger in adopted:
        await session.stores.triggers.put(trigger.id, trigger)
    action = "updated" if known else "created"
    await audit.record(session, f"workflow.{action}", definition.name)
    return Registered(
        name=definition.name,
        action=action,
        steps=len(definition.steps),
        warnings=await tasks_without_worker(session, definition),
        triggers=[trigger.id for trigger in adopted],
    )


def _adopted(workflow: str, trigger: TriggerDef) -> TriggerDef:
    if trigger.workflow_id not in ("", workflow):
        raise InvalidError(
            f'trigger "{trigger.id}": workflow_id "{trigger.workflow_id}" does not match parent '
            f'workflow "{workflow}"'
        )
    adopted = msgspec.structs.replace(trigger, workflow_id=workflow)
    check_trigger(adopted)
    return adopted


async def keep_revision(session: Session, definition: WorkflowDef) -> None:
    """Keep a definition for the runs that are pinned to it."""
    # A server of another make keeps no revisions; its runs do not look for them.
    key = f"{definition.name}.{revision_of(definition)}"
    await put_if_there(session.stores.revisions, key, definition)


async def tasks_without_worker(session: Session, definition: WorkflowDef) -> list[str]:
    """The task types of a workflow that no worker asks for, sorted."""
    wanted = {
        (step.task, step.worker_group)
        for step in definition.steps
        if step.type in TASK_TYPES and step.task
    }
    filters = {
        info["config"].get("filter_subject")
        for info in await consumer_infos(session, TASKS)
        if info.get("num_waiting") or info.get("num_ack_pending")
    }
    return sorted(
        {task for task, group in wanted if subjects.task_filter(task, group) not in filters}
    )


async def delete_workflow(session: Session, name: str) -> Deleted:
    """Delete a definition. Runs, also those in flight, stay.

    Raises:
        NotFoundError: there is no such workflow.
        RefusedError: triggers still start it.
    """
    await get_workflow(session, name)
    users = sorted(
        [
            entry.value.id
            async for entry in entries_of(session.stores.triggers)
            if entry.value.workflow_id == name
        ]
    )
    if users:
        raise RefusedError(
            f'workflow "{name}" still has trigger(s) referencing it: {", ".join(users)}',
            "delete them first with 'dagnats trigger delete <id>'",
        )
    await session.stores.definitions.delete(name)
    await audit.record(session, "workflow.deleted", name)
    return Deleted(name)


async def revisions(session: Session, name: str) -> list[Revision]:
    """Every definition a workflow has had, newest first.

    Raises:
        NotFoundError: there was never such a workflow.
    """
    current = await value_of(session.stores.definitions, name)
    of_now = revision_of(current) if current else ""
    prefix = f"{name}."
    found = [
        (entry.timestamp_ns, entry.key.removeprefix(prefix), entry.value)
        async for entry in entries_of(session.stores.revisions)
        if entry.key.rpartition(".")[0] == name
    ]
    if not found and current is None:
        raise NotFoundError(f'workflow "{name[:64]}" not found')
    return [
        Revision(hash_, format_time(stored), len(definition.steps), hash_ == of_now)
        for stored, hash_, definition in sorted(found, key=lambda row: (-row[0], row[1]))
    ]


async def get_revision(session: Session, name: str, revision: str) -> WorkflowDef:
    """One definition a workflow has had, by content hash.

    Raises:
        NotFoundError: there is none.
    """
    found = await value_of(session.stores.revisions, f"{name}.{revision}")
    if found is None:
        raise NotFoundError(
            f'workflow "{name[:64]}" has no revision "{revision[:64]}"',
            f"list them with 'dagnats workflow revisions {name[:64]}'",
        )
    return found
