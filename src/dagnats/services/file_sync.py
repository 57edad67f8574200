"""What a configuration file says, brought into the buckets: workflows, triggers, policy."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from dagnats.errors import ConflictError, InvalidError
from dagnats.model.codec import decode, encode
from dagnats.model.policy import Policy
from dagnats.model.trigger import TriggerDef
from dagnats.model.workflow import WorkflowDef
from dagnats.services import audit
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, value_of
from dagnats.services.triggers import check_trigger, resolve_conflicts
from dagnats.services.workflows import register_definition

POLICY = "policy"
"""Key of the policy in ``engine_control``."""


class Synced(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What had to be changed.

    Args:
        workflows: names of those registered anew.
        triggers: ids of those created or changed.
        deleted: ids of triggers that are no longer in the file.
        policy: the policy was changed.
    """

    workflows: list[str] = []
    triggers: list[str] = []
    deleted: list[str] = []
    policy: bool = False

    def __bool__(self) -> bool:
        return bool(self.workflows or self.triggers or self.deleted or self.policy)


async def sync_file(
    session: Session,
    source: str,
    definitions: Sequence[WorkflowDef],
    triggers: Sequence[TriggerDef],
    policy: Policy | None,
) -> Synced:
    """Make what lies in the buckets what the file says; what is the same already is left alone.

    Workflows are never deleted, and of triggers only those that came from the same file.

    Args:
        session: the connection.
        source: of the file, ``file:<name>``.
        definitions: valid ones.
        triggers: with their source set.
        policy: ``None``: the file says nothing; then its earlier policy is withdrawn.

    Raises:
        ConflictError: a trigger or route belongs to somebody else; nothing was written.
        InvalidError: a trigger breaks a rule; nothing was written.
    """
    known = {entry.key: entry.value async for entry in entries_of(session.stores.triggers)}
    for trigger in triggers:
        check_trigger(trigger)
        other = known.get(trigger.id)
        if other is not None and other.source != source:
            owner = other.source or "the command line or the API"
            raise ConflictError(
                f'trigger "{trigger.id}" exists and was made by {owner}',
                "give it another id, or delete the other one",
            )
    wanted = {trigger.id for trigger in triggers}
    gone = [t for t in known.values() if t.source == source and t.id not in wanted]
    await resolve_conflicts(session, triggers, leaving={trigger.id for trigger in gone})
    registered = [d.name for d in definitions if await _register(session, d)]
    changed = [trigger for trigger in triggers if known.get(trigger.id) != trigger]
    for trigger in gone:
        await session.stores.triggers.delete(trigger.id)
        await audit.record(session, "trigger.delete", trigger.id, {"source": source})
    for trigger in changed:
        await session.stores.triggers.put(trigger.id, trigger)
        await audit.record(session, "trigger.update", trigger.id, {"source": source})
    return Synced(
        workflows=registered,
        triggers=[trigger.id for trigger in changed],
        deleted=[trigger.id for trigger in gone],
        policy=await _set_policy(session, source, policy),
    )


async def _register(session: Session, definition: WorkflowDef) -> bool:
    found = await value_of(session.stores.definitions, definition.name)
    if found is not None and encode(found) == encode(definition):
        return False
    await register_definition(session, definition)
    return True


async def _set_policy(session: Session, source: str, policy: Policy | None) -> bool:
    bucket = session.stores.engine_control
    entry = await bucket.get(POLICY)
    before = Policy()
    if entry is not None:
        try:
            before = decode(entry.value, Policy)
        except InvalidError:
            before = Policy(source=source)  # Nobody can read it, so nobody can want it.
    if policy is None:
        if entry is None or before.source != source:
            return False
        await bucket.delete(POLICY)
    else:
        after = encode(msgspec.structs.replace(policy, source=source))
        if entry is not None and entry.value == after:
            return False
        await bucket.put(POLICY, after)
    await audit.record(session, "policy.update", source)
    return True
