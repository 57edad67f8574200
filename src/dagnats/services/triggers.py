"""Triggers: what starts workflows by itself."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec import Struct

from dagnats.errors import (
    AmbiguousError,
    ConflictError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from dagnats.model.trigger import (
    CronTrigger,
    SubjectTrigger,
    TriggerDef,
    WebhookTrigger,
    trigger_kind,
    trigger_route,
)
from dagnats.model.validate import validate_trigger
from dagnats.services import audit
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, entry_of, value_of

MASK = "********"
SECRET_ENV = "DAGNATS_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


class TriggerSpec(Struct, frozen=True, kw_only=True):
    """A trigger as the command line describes it; for an update, ``None`` leaves a thing alone."""

    cron: str | None = None
    subject: str | None = None
    webhook: str | None = None
    tz: str | None = None
    backfill: bool | None = None
    secret: str | None = None
    signature: str | None = None


def check_trigger(trigger: TriggerDef) -> None:
    """Refuse a trigger that breaks a rule.

    Raises:
        InvalidError: naming every problem.
    """
    problems = [problem.text for problem in validate_trigger(trigger)]
    if problems:
        raise InvalidError(f"invalid trigger: {problems[0]}", problems=tuple(problems))


def masked(trigger: TriggerDef) -> TriggerDef:
    """A trigger as it may be shown: secrets are not."""
    webhook, http = trigger.webhook, trigger.http
    if webhook is not None and webhook.secret:
        webhook = msgspec.structs.replace(webhook, secret=MASK)
    if http is not None and http.secret:
        http = msgspec.structs.replace(http, secret=MASK)
    return msgspec.structs.replace(trigger, webhook=webhook, http=http)


async def list_triggers(session: Session) -> list[TriggerDef]:
    """All triggers, by workflow and id, their secrets masked."""
    found = [masked(entry.value) async for entry in entries_of(session.stores.triggers)]
    return sorted(found, key=lambda trigger: (trigger.workflow_id, trigger.id))


async def get_trigger(session: Session, ref: str) -> TriggerDef:
    """One trigger by id or unique prefix, its secrets masked.

    Raises:
        NotFoundError, AmbiguousError: the reference names none, or several.
    """
    return masked(await resolve_trigger(session, ref))


async def resolve_trigger(session: Session, ref: str) -> TriggerDef:
    """The trigger a person means, secrets included: a full id, or a prefix that means one only.

    Raises:
        UsageError: nothing was given.
        NotFoundError, AmbiguousError: the reference names none, or several.
    """
    if not ref:
        raise UsageError("trigger ID required")
    exact = await value_of(session.stores.triggers, ref)
    if exact is not None:
        return exact
    found = [
        entry.value
        async for entry in entries_of(session.stores.triggers)
        if entry.value.id.startswith(ref)
    ]
    if not found:
        raise NotFoundError(
            f'trigger "{ref[:64]}" not found', "list them with 'dagnats trigger list'"
        )
    if len(found) > 1:
        names = ", ".join(sorted(trigger.id for trigger in found)[:5])
        raise AmbiguousError(f'ambiguous prefix "{ref}": {len(found)} triggers match', names)
    return found[0]


async def create_trigger(
    session: Session,
    workflow: str,
    spec: TriggerSpec,
    env: Mapping[str, str] = os.environ,
) -> TriggerDef:
    """Make a trigger for a workflow; it is enabled at once. Its secrets come back masked.

    Args:
        session: the connection.
        workflow: name of a registered workflow.
        spec: exactly one of cron, subject and webhook.
        env: where the webhook secret is taken from if ``spec`` has none.

    Raises:
        UsageError: none or more than one kind, or options that do not fit it.
        InvalidError: a rule is broken.
        NotFoundError: there is no such workflow.
        ConflictError: another trigger has the path.
    """
    kinds = [kind for kind in (spec.cron, spec.subject, spec.webhook) if kind is not None]
    if len(kinds) != 1 or not workflow:
        raise UsageError("exactly one of --cron, --subject, or --webhook must be specified")
    _check_options(spec, _kind_of(spec))
    trigger = TriggerDef(
        id=f"trig-{secrets.token_hex(8)}",
        workflow_id=workflow,
        enabled=True,
        cron=_cron(spec) if spec.cron is not None else None,
        subject=SubjectTrigger(subject=spec.subject) if spec.subject is not None else None,
        webhook=_webhook(spec, env) if spec.webhook is not None else None,
    )
    return await put_trigger(session, trigger)


def _kind_of(spec: TriggerSpec) -> str:
    if spec.cron is not None:
        return "cron"
    return "subject" if spec.subject is not None else "webhook"


def _check_options(spec: TriggerSpec, kind: str) -> None:
    if kind != "cron" and (spec.tz is not None or spec.backfill is not None):
        raise UsageError(f"--tz and --backfill do not fit a {kind} trigger")
    for option in ("secret", "signature"):
        if kind != "webhook" and getattr(spec, option) is not None:
            raise UsageError(f"--{option} does not fit a {kind} trigger")


def _cron(spec: TriggerSpec) -> CronTrigger:
    return CronTrigger(
        expression=spec.cron or "", timezone=spec.tz or "UTC", backfill=bool(spec.backfill)
    )


def _webhook(spec: TriggerSpec, env: Mapping[str, str]) -> WebhookTrigger:
    secret = env.get(SECRET_ENV, "") if spec.secret is None else spec.secret
    return WebhookTrigger(path=spec.webhook or "", secret=secret, signature=spec.signature or "")


async def put_trigger(session: Session, trigger: TriggerDef) -> TriggerDef:
    """Store a new trigger as it stands.

    Raises:
        InvalidError: a rule is broken.
        NotFoundError: its workflow does not exist.
        ConflictError: its id or path is taken.
    """
    check_trigger(trigger)
    if await value_of(session.stores.definitions, trigger.workflow_id) is None:
        raise NotFoundError(
            f'workflow "{trigger.workflow_id}" not found',
            "register it first with 'dagnats workflow register <file>'",
        )
    await resolve_conflicts(session, [trigger])
    try:
        await session.stores.triggers.create(trigger.id, trigger)
    except ConflictError:
        raise ConflictError(f'trigger "{trigger.id}" already exists') from None
    await audit.record(session, "trigger.create", trigger.id, {"workflow": trigger.workflow_id})
    return masked(trigger)


async def resolve_conflicts(
    session: Session, triggers: Iterable[TriggerDef], leaving: Collection[str] = ()
) -> None:
    """Refuse a webhook or HTTP path that another trigger has already.

    Args:
        session: the connection.
        triggers: about to be stored.
        leaving: ids of triggers about to be deleted.

    Raises:
        ConflictError: naming the other trigger.
    """
    wanted = list(triggers)
    mine = {trigger.id for trigger in wanted} | set(leaving)
    taken: dict[str, str] = {}
    async for entry in entries_of(session.stores.triggers):
        if entry.value.id not in mine and (route := trigger_route(entry.value)):
            taken[route] = entry.value.id
    for trigger in wanted:
        route = trigger_route(trigger)
        if not route:
            continue
        if route in taken:
            raise ConflictError(
                f'route conflict: {route} already registered by trigger "{taken[route]}"'
            )
        taken[route] = trigger.id


async def update_trigger(session: Session, ref: str, change: TriggerSpec) -> TriggerDef:
    """Change a trigger in place; its kind stays. Its secrets come back masked.

    Args:
        session: the connection.
        ref: id or unique prefix.
        change: what is not ``None`` is changed; an empty secret clears it.

    Raises:
        UsageError: nothing to change, or something that does not fit its kind.
        InvalidError: the result breaks a rule; nothing was written.
        NotFoundError, AmbiguousError: the reference names none, or several.
        ConflictError: somebody else changed it meanwhile, or its new path is taken.
    """
    trigger = await resolve_trigger(session, ref)
    entry = await entry_of(session.stores.triggers, trigger.id)
    if entry is None:
        raise NotFoundError(f'trigger "{trigger.id}" not found')
    changed = _changed(entry.value, change)
    check_trigger(changed)
    await resolve_conflicts(session, [changed])
    await session.stores.triggers.update(changed.id, changed, entry.revision)
    await audit.record(session, "trigger.update", changed.id)
    return masked(changed)


def _changed(trigger: TriggerDef, change: TriggerSpec) -> TriggerDef:
    kind = trigger_kind(trigger)
    given = {
        key: value
        for key in ("cron", "subject", "webhook", "tz", "backfill", "secret", "signature")
        if (value := getattr(change, key)) is not None
    }
    if not given:
        raise UsageError("nothing to change", "give --cron, --tz, --subject, --webhook or --secret")
    fits = {
        "cron": {"cron": "expression", "tz": "timezone", "backfill": "backfill"},
        "subject": {"subject": "subject"},
        "webhook": {"webhook": "path", "secret": "secret", "signature": "signature"},
        "http": {"secret": "secret"},
    }.get(kind, {})
    wrong = [key for key in given if key not in fits]
    if wrong:
        raise UsageError(f"--{wrong[0]} does not fit {trigger.id}, a {kind} trigger")
    part = msgspec.structs.replace(
        getattr(trigger, kind), **{fits[key]: value for key, value in given.items()}
    )
    return msgspec.structs.replace(trigger, **{kind: part})


async def delete_trigger(session: Session, ref: str, force: bool = False) -> TriggerDef:
    """Delete a trigger; its history stays.

    Raises:
        RefusedError: a configuration file would make it again, and ``force`` is not set.
        NotFoundError, AmbiguousError: the reference names none, or several.
    """
    trigger = await resolve_trigger(session, ref)
    if trigger.source.startswith("file:") and not force:
        raise RefusedError(
            f'trigger "{trigger.id}" is file-managed (source={trigger.source})',
            "remove it from that file, or delete it with --force",
        )
    await session.stores.triggers.delete(trigger.id)
    await audit.record(session, "trigger.delete", trigger.id)
    return masked(trigger)


async def enable_trigger(session: Session, ref: str, enabled: bool = True) -> TriggerDef:
    """Enable or disable a trigger; doing so twice is no error.

    Raises:
        NotFoundError, AmbiguousError: the reference names none, or several.
        ConflictError: somebody else changed it meanwhile.
    """
    trigger = await resolve_trigger(session, ref)
    entry = await entry_of(session.stores.triggers, trigger.id)
    if entry is None:
        raise NotFoundError(f'trigger "{trigger.id}" not found')
    if entry.value.enabled != enabled:
        changed = msgspec.structs.replace(entry.value, enabled=enabled)
        await session.stores.triggers.update(changed.id, changed, entry.revision)
        await audit.record(session, f"trigger.{'enable' if enabled else 'disable'}", changed.id)
    return masked(msgspec.structs.replace(entry.value, enabled=enabled))
