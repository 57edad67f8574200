"""Triggers, the envelope they start runs with, and their fire records (``wire.md`` 9)."""

from __future__ import annotations

from msgspec import Raw, field

from dagnats.model.codec import ABSENT, Wire, always
from dagnats.model.times import ZERO_TIME, Duration


class CronTrigger(Wire):
    """Fires at the minutes a cron expression names, in an IANA zone (empty: UTC)."""

    expression: str = always("")
    timezone: str = always("")
    backfill: bool = always(False)


class SubjectTrigger(Wire):
    """Fires for every message on a NATS subject pattern."""

    subject: str = always("")


class WebhookTrigger(Wire):
    """Fires for every POST on a path below ``/hooks/``."""

    path: str = always("")
    secret: str = ""
    signature: str = ""
    """Ours. Empty or ``body``: HMAC over the body; ``timestamped``: over time and body."""


class HttpAuthentication(Wire):
    """How callers authenticate; documentation for OpenAPI only."""

    name: str = always("")
    type: str = always("")
    scheme: str = ""
    bearer_format: str = ""
    location: str = field(default="", name="in")
    header_name: str = ""
    description: str = ""


class HttpTrigger(Wire):
    """Answers an HTTP request below ``/api/`` with the run's ``respond`` step."""

    path: str = always("")
    method: str = always("")
    timeout_ms: int = always(0)
    max_body_bytes: int = always(0)
    secret: str = ""
    idempotency_header: str = ""
    authentication: HttpAuthentication | None = None


class ExternalTrigger(Wire):
    """Fired by the worker that registered ``kind``."""

    kind: str = always("")
    config: Raw = Raw(b"null")


class Debounce(Wire):
    """Fire once after ``period`` of quiet, at the latest ``timeout`` after the first event."""

    period: Duration = always(0)
    timeout: Duration = 0
    key: str = ""


class TriggerDef(Wire):
    """A trigger, as stored in ``triggers``. Exactly one kind is set."""

    id: str = always("")
    workflow_id: str = always("")
    enabled: bool = always(False)
    cron: CronTrigger | None = None
    subject: SubjectTrigger | None = None
    webhook: WebhookTrigger | None = None
    http: HttpTrigger | None = None
    external: ExternalTrigger | None = None
    debounce: Debounce | None = None
    source: str = ""


class TriggerEnvelope(Wire):
    """The input of a run that a trigger started."""

    trigger: str = always("")
    source: str = always("")
    workflow_id: str = always("")
    timestamp: str = always(ZERO_TIME)
    data: Raw = ABSENT


class TriggerFire(Wire):
    """One row of a trigger's history. ``error`` is ours."""

    trigger_id: str = always("")
    workflow_id: str = always("")
    run_id: str = ""
    source: str = always("")
    fired_at: str = always(ZERO_TIME)
    input: bytes = b""
    skipped: bool = False
    skip_reason: str = ""
    error: str = ""


class TriggerTypeDef(Wire):
    """An external trigger kind that a worker registered."""

    name: str = always("")
    owner_worker_id: str = always("")
    description: str = always("")
    config_schema: Raw = Raw(b"null")
    payload_schema: Raw = Raw(b"null")
    version: str = always("")
    registered_at: str = always(ZERO_TIME)


def trigger_kind(trigger: TriggerDef) -> str:
    """The kind that is set: cron, subject, webhook, http or external; ``""`` when none is."""
    for kind in ("cron", "subject", "webhook", "http", "external"):
        if getattr(trigger, kind) is not None:
            return kind
    return ""


def trigger_route(trigger: TriggerDef) -> str:
    """The HTTP method and path a trigger answers on; ``""`` when it has none."""
    if trigger.webhook is not None:
        return f"POST {trigger.webhook.path}"
    if trigger.http is not None:
        return f"{trigger.http.method} {trigger.http.path}"
    return ""
