"""The workflows of the traffic, and what starts them."""

from __future__ import annotations

from dagnats.services.triggers import TriggerSpec
from dagnats.workflow import Workflow
from dagnats.workflow_terms import Retry

CARD_LIMIT = 100
"""Largest amount the demo's bank accepts: a failed payment goes through with a smaller one."""


def flows() -> list[Workflow]:
    """Every workflow."""
    makers = (_review, _images, _etl, _notify, _agent, _payment, _maps)
    return [make() for make in makers]


def _review() -> Workflow:
    flow = Workflow(
        "code-review", version="12", timeout="30m", retry=Retry(2, initial_delay="400ms")
    )
    plan = flow.task("plan", "review.plan")
    code = flow.task("code", "review.code", after=plan)
    lint = flow.task("lint", "review.lint", after=code)
    unit = flow.task("unit", "review.unit", after=code)
    types = flow.task("types", "review.types", after=code)
    end = flow.task("e2e", "review.e2e", after=[lint, unit, types], timeout="2m")
    review = flow.task("review", "review.read", after=end)
    flow.task("notify", "review.notify", after=review)
    flow.task("merge", "review.merge", after=review)
    return flow


def _images() -> Workflow:
    flow = Workflow("image-pipeline", version="7", timeout="10m")
    urls = flow.task("fetch-urls", "image.urls")
    fetch = flow.map(
        "fetch", "image.fetch", after=urls, parallel=4, retry=Retry(2, initial_delay="200ms")
    )
    retry = Retry(2, initial_delay="500ms")
    flow.task("gallery", "image.gallery", after=fetch, timeout="2s", retry=retry)
    return flow


def _etl() -> Workflow:
    flow = Workflow("etl-nightly", version="4", timeout="6h")
    extract = flow.task("extract", "etl.extract")
    transform = flow.task("transform", "etl.transform", after=extract)
    approve = flow.approval(
        "approve", "etl", within="2h", description="Load into the warehouse?", after=transform
    )
    flow.task("load", "etl.load", after=approve, retry=Retry(4, initial_delay=2))
    return flow


def _notify() -> Workflow:
    flow = Workflow("notify-fanout", version="3", timeout="10m")
    render = flow.task("render", "notify.render")
    retry = Retry(3, initial_delay="300ms", max_delay="4s")
    flow.task("email", "notify.email", after=render, retry=retry)
    flow.task("slack", "notify.slack", after=render, retry=retry)
    flow.task("webhook", "notify.webhook", after=render, retry=retry)
    return flow


def _agent() -> Workflow:
    flow = Workflow("llm-agent-loop", version="9", timeout="20m", max_runs=4)
    plan = flow.task("plan", "agent.plan")
    act = flow.agent_loop("act", "agent.act", max_iterations=10, after=plan)
    pause = flow.sleep("cool-down", "3s", after=act)
    flow.task("summarize", "agent.summarize", after=pause)
    return flow


def _payment() -> Workflow:
    schema = {
        "type": "object",
        "required": ["order", "amount"],
        "properties": {
            "order": {"type": "string", "description": "Order number"},
            "amount": {"type": "integer", "minimum": 1, "description": "Euros"},
        },
    }
    flow = Workflow("charge-card", version="2", timeout="5m", input_schema=schema)
    charge = flow.task("charge", "pay.charge")
    flow.task("receipt", "pay.receipt", after=charge)
    return flow


def _maps() -> Workflow:
    """Its task type has no worker: somebody forgot to deploy it."""
    flow = Workflow("geo-enrich", version="1", timeout="1h")
    found = flow.task("locate", "geo.locate")
    flow.task("store", "etl.load", after=found)
    return flow


def triggers() -> list[tuple[str, TriggerSpec]]:
    """Workflow and trigger."""
    return [
        ("image-pipeline", TriggerSpec(cron="* * * * *")),
        ("etl-nightly", TriggerSpec(cron="0 2 * * *", tz="Europe/London")),
        ("notify-fanout", TriggerSpec(subject="orders.created")),
        ("code-review", TriggerSpec(webhook="/hooks/pull-request")),
    ]
