"""The rules on triggers (``wire.md`` 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from dagnats.model.cron import cron_problem, zone_problem
from dagnats.model.names import is_path, name_problem, pattern_problem
from dagnats.model.problems import quote
from dagnats.model.times import DAY
from dagnats.model.trigger import (
    CronTrigger,
    Debounce,
    ExternalTrigger,
    HttpAuthentication,
    HttpTrigger,
    SubjectTrigger,
    TriggerDef,
    WebhookTrigger,
    trigger_kind,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MIN_SECRET = 16
MAX_PATH = 1024
MAX_DEBOUNCE = 7 * DAY
MAX_BODY = 1 << 30
MAX_TIMEOUT_MS = 86_400_000
_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_PATH = re.compile(r"/[-._~!$&'()+,;=:@%/0-9A-Za-z]*")
_SCHEMES = ("http", "apiKey", "oauth2", "openIdConnect")


def trigger_problems(trigger: TriggerDef) -> Iterator[str]:
    """What is wrong with a trigger by itself: neither its workflow nor other routes are seen."""
    if problem := name_problem("trigger ID", trigger.id):
        yield problem
    label = f"trigger {quote(trigger.id)}"
    if not trigger.workflow_id:
        yield f"{label}: workflow_id must not be empty"
    elif problem := name_problem("workflow_id", trigger.workflow_id):
        yield f"{label}: {problem}"
    kinds = (trigger.cron, trigger.subject, trigger.webhook, trigger.http, trigger.external)
    given = sum(kind is not None for kind in kinds)
    if given != 1:
        yield (
            f"{label}: exactly one of cron/subject/webhook/http/external must be set (got {given})"
        )
    for problem in _kind_problems(trigger):
        yield f"{label}: {problem}"


def _kind_problems(trigger: TriggerDef) -> Iterator[str]:
    if trigger.cron is not None:
        yield from _cron(trigger.cron)
    if trigger.subject is not None:
        yield from _subject(trigger.subject)
    if trigger.webhook is not None:
        yield from _webhook(trigger.webhook)
    if trigger.http is not None:
        for problem in _http(trigger.http):
            yield f"http config: {problem}"
    if trigger.external is not None:
        yield from _external(trigger.external)
    if trigger.debounce is not None:
        yield from _debounce(trigger_kind(trigger), trigger.debounce)


def _cron(cron: CronTrigger) -> Iterator[str]:
    if not cron.expression:
        yield "cron expression must not be empty"
    elif problem := cron_problem(cron.expression):
        yield f"invalid cron expression: {problem}"
    if problem := zone_problem(cron.timezone):
        yield f"invalid timezone: {problem}"


def _subject(subject: SubjectTrigger) -> Iterator[str]:
    if not subject.subject:
        yield "subject must not be empty"
    elif problem := pattern_problem(subject.subject):
        yield problem


def _webhook(webhook: WebhookTrigger) -> Iterator[str]:
    for problem in _path(webhook.path):
        yield f"webhook {problem}"
    if webhook.signature not in ("", "body", "timestamped"):
        yield f"webhook signature {quote(webhook.signature)} is unknown (valid: body, timestamped)"
    elif webhook.signature == "timestamped" and not webhook.secret:
        yield "webhook signature timestamped needs a secret"


def _path(path: str) -> Iterator[str]:
    if not path:
        yield "path must not be empty"
    elif not path.startswith("/"):
        yield f"path must start with /, got {quote(path)}"
    elif len(path) > MAX_PATH:
        yield f"path has {len(path)} characters (max {MAX_PATH})"
    elif not _PATH.fullmatch(path) or {".", ".."} & set(unquote(path).split("/")):
        yield f"path {quote(path)} is not a plain URL path"


def _http(http: HttpTrigger) -> Iterator[str]:
    if "*" in http.path or "{" in http.path:
        yield f"path {quote(http.path)} contains wildcard (not supported in v1)"
    else:
        yield from _path(http.path)
    if http.method not in METHODS:
        yield f"method {quote(http.method)} not allowed; valid: {' '.join(METHODS)}"
    if http.max_body_bytes <= 0:
        yield f"max_body_bytes must be > 0, got {http.max_body_bytes}"
    elif http.max_body_bytes > MAX_BODY:
        yield f"max_body_bytes must be <= {MAX_BODY}, got {http.max_body_bytes}"
    if http.timeout_ms <= 0:
        yield f"timeout_ms must be > 0, got {http.timeout_ms}"
    elif http.timeout_ms > MAX_TIMEOUT_MS:
        yield f"timeout_ms must be <= {MAX_TIMEOUT_MS}, got {http.timeout_ms}"
    if http.secret and len(http.secret) < MIN_SECRET:
        yield f"secret length {len(http.secret)} < min {MIN_SECRET}"
    if http.idempotency_header and not _HEADER.fullmatch(http.idempotency_header):
        yield f"idempotency_header {quote(http.idempotency_header)} is not a valid header name"
    if http.authentication is not None:
        yield from _authentication(http.authentication)


def _authentication(authentication: HttpAuthentication) -> Iterator[str]:
    if not authentication.name:
        yield "authentication: name must not be empty"
    if authentication.type not in _SCHEMES:
        known = ", ".join(_SCHEMES)
        yield f"authentication: type {quote(authentication.type)} is unknown (valid: {known})"


def _external(external: ExternalTrigger) -> Iterator[str]:
    if not external.kind:
        yield "external.kind must not be empty"
    elif problem := name_problem("external.kind", external.kind):
        yield problem


def _debounce(kind: str, debounce: Debounce) -> Iterator[str]:
    if kind in ("cron", "http", "external"):
        # Nobody answers a caller later, and other kinds start their runs themselves.
        yield f"debounce is incompatible with {kind}"
    if debounce.period <= 0:
        yield "debounce period must be > 0"
    elif debounce.period > MAX_DEBOUNCE:
        yield "debounce period exceeds 7 days"
    if debounce.timeout and debounce.timeout < debounce.period:
        yield "debounce timeout must be >= period"
    elif debounce.timeout > MAX_DEBOUNCE:
        yield "debounce timeout exceeds 7 days"
    if debounce.key and not is_path(debounce.key):
        yield f"debounce key {quote(debounce.key)} has an empty segment"
