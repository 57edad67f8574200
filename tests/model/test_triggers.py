from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.codec import decode, encode
from dagnats.model.times import DAY, MINUTE
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
from dagnats.model.validate import validate_trigger

CRON = CronTrigger(expression="*/10 * * * *")
HTTP: dict[str, Any] = {"path": "/api/x", "method": "POST", "timeout_ms": 1, "max_body_bytes": 1}


def trigger(**fields: Any) -> TriggerDef:
    defaults: dict[str, Any] = {"id": "t", "workflow_id": "w"}
    return TriggerDef(**(defaults | fields))


def http(**fields: Any) -> TriggerDef:
    return trigger(http=HttpTrigger(**(HTTP | fields)))


def debounced(**fields: Any) -> TriggerDef:
    return trigger(subject=SubjectTrigger(subject="a.b"), debounce=Debounce(**fields))


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (trigger(id="", cron=CRON), "trigger ID must not be empty"),
        (trigger(workflow_id="", cron=CRON), 'trigger "t": workflow_id must not be empty'),
        (
            trigger(),
            'trigger "t": exactly one of cron/subject/webhook/http/external must be set (got 0)',
        ),
        (
            trigger(cron=CRON, subject=SubjectTrigger(subject="a")),
            'trigger "t": exactly one of cron/subject/webhook/http/external must be set (got 2)',
        ),
        (trigger(cron=CronTrigger()), 'trigger "t": cron expression must not be empty'),
        (
            trigger(cron=CronTrigger(expression="60 * * * *")),
            'trigger "t": invalid cron expression: [60 * * * *] is not acceptable, out of range',
        ),
        (
            trigger(cron=CronTrigger(expression="@daily", timezone="America/Nowhere")),
            'trigger "t": invalid timezone: "America/Nowhere" is not a valid timezone',
        ),
        (trigger(subject=SubjectTrigger()), 'trigger "t": subject must not be empty'),
        (
            trigger(subject=SubjectTrigger(subject="a..b")),
            'trigger "t": subject "a..b" is not a valid NATS subject',
        ),
        (
            trigger(subject=SubjectTrigger(subject="history.>")),
            'trigger "t": subject "history.>" matches what the engine itself publishes',
        ),
        (trigger(webhook=WebhookTrigger()), 'trigger "t": webhook path must not be empty'),
        (
            trigger(webhook=WebhookTrigger(path="x")),
            'trigger "t": webhook path must start with /, got "x"',
        ),
        (
            trigger(webhook=WebhookTrigger(path="/hooks/%2e%2e/x")),
            'trigger "t": webhook path "/hooks/%2e%2e/x" is not a plain URL path',
        ),
        (
            trigger(webhook=WebhookTrigger(path="/x", signature="timestamped")),
            'trigger "t": webhook signature timestamped needs a secret',
        ),
        (http(path=""), 'trigger "t": http config: path must not be empty'),
        (http(path="x"), 'trigger "t": http config: path must start with /, got "x"'),
        (
            http(path="/a/*"),
            'trigger "t": http config: path "/a/*" contains wildcard (not supported in v1)',
        ),
        (
            http(method="get"),
            'trigger "t": http config: method "get" not allowed; valid: GET POST PUT PATCH DELETE',
        ),
        (http(max_body_bytes=0), 'trigger "t": http config: max_body_bytes must be > 0, got 0'),
        (http(timeout_ms=-1), 'trigger "t": http config: timeout_ms must be > 0, got -1'),
        (http(secret="short"), 'trigger "t": http config: secret length 5 < min 16'),
        (
            http(idempotency_header="a b"),
            'trigger "t": http config: idempotency_header "a b" is not a valid header name',
        ),
        (
            http(authentication=HttpAuthentication(name="a", type="x")),
            (
                'trigger "t": http config: authentication: type "x" is unknown '
                "(valid: http, apiKey, oauth2, openIdConnect)"
            ),
        ),
        (
            trigger(cron=CRON, debounce=Debounce(period=MINUTE)),
            'trigger "t": debounce is incompatible with cron',
        ),
        (debounced(), 'trigger "t": debounce period must be > 0'),
        (debounced(period=8 * DAY), 'trigger "t": debounce period exceeds 7 days'),
        (debounced(period=2, timeout=1), 'trigger "t": debounce timeout must be >= period'),
        (debounced(period=1, timeout=8 * DAY), 'trigger "t": debounce timeout exceeds 7 days'),
        (trigger(external=ExternalTrigger()), 'trigger "t": external.kind must not be empty'),
    ],
    ids=lambda value: value[:70] if isinstance(value, str) else "",
)
def test_a_broken_rule_has_its_text(broken: TriggerDef, text: str) -> None:
    assert text in [problem.text for problem in validate_trigger(broken)]


@pytest.mark.parametrize(
    ("sound", "kind"),
    [
        (trigger(cron=CronTrigger(expression="0 9 * * mon", timezone="Europe/Berlin")), "cron"),
        (trigger(subject=SubjectTrigger(subject="orders.*.new")), "subject"),
        (trigger(webhook=WebhookTrigger(path="/hooks/deploy", secret="x")), "webhook"),
        (http(secret="x" * 16, idempotency_header="Idempotency-Key"), "http"),
        (trigger(external=ExternalTrigger(kind="github")), "external"),
        (debounced(period=MINUTE, timeout=2 * MINUTE, key="a.b"), "subject"),
    ],
)
def test_a_sound_trigger_has_no_problems(sound: TriggerDef, kind: str) -> None:
    assert validate_trigger(sound) == []
    assert trigger_kind(sound) == kind
    assert decode(encode(sound), TriggerDef) == sound


def test_the_sample_of_the_wire() -> None:
    sample = (
        b'{"id":"trig-00aa11bb22cc33dd","workflow_id":"thumbs","enabled":true,'
        b'"cron":{"expression":"*/10 * * * *","timezone":"UTC","backfill":false}}'
    )
    assert encode(decode(sample, TriggerDef)) == sample
