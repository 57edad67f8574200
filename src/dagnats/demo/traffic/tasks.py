"""What the traffic's workers do: take their time, and now and then fail as such things fail."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, cast

from dagnats.demo.traffic.flows import CARD_LIMIT
from dagnats.worker import Continue, NonRetryableError, TaskContext, Worker

INCIDENT_S = 90
"""The chat service is down for half of this time, over and over."""

chance = random.Random(7)  # noqa: S311 - nothing here is a secret


async def busy(least: float, most: float) -> None:
    """Take some seconds."""
    await asyncio.sleep(chance.uniform(least, most))


def down() -> bool:
    """Whether the chat service is down now."""
    return time.time() % INCIDENT_S < INCIDENT_S / 2


def workers(server: str) -> list[Worker]:
    """Three workers, as three teams would run them."""
    review = Worker(server, name="review", concurrency=8)
    media = Worker(server, name="media", concurrency=12)
    back = Worker(server, name="back-office", concurrency=12)
    _review(review)
    _media(media)
    _office(back)
    _agent(back)
    return [review, media, back]


def _review(worker: Worker) -> None:
    times = {
        "plan": (0.3, 1.0),
        "code": (1.0, 4.0),
        "lint": (0.3, 0.9),
        "unit": (0.8, 2.5),
        "e2e": (2.0, 7.0),
        "read": (0.5, 1.5),
        "notify": (0.1, 0.4),
        "merge": (0.2, 0.6),
    }
    for name, (least, most) in times.items():
        _timed(worker, f"review.{name}", least, most)

    @worker.task("review.types")
    async def check_types(given: Any) -> dict[str, Any]:
        await busy(0.4, 1.2)
        request = cast("dict[str, Any]", _request(given))
        number = int(request["pull_request"])
        if number % 6 == 0:
            raise TypeError(f"mypy found {number % 4 + 1} errors in api/serve.py")
        return {"errors": [], "files": 214, "request": request}


def _timed(worker: Worker, task: str, least: float, most: float) -> None:
    @worker.task(task)
    async def work(ctx: TaskContext) -> dict[str, Any]:
        await busy(least, most)
        return {"by": task, "request": _request(ctx.input), "took": "as planned"}


def _request(given: Any) -> Any:
    """What the run was started with, handed on from step to step."""
    if not isinstance(given, dict):
        return given
    values = cast("dict[str, Any]", given)
    for value in (values, *values.values()):
        if isinstance(value, dict) and "request" in value:
            return cast("dict[str, Any]", value)["request"]
    return values


def _media(worker: Worker) -> None:
    @worker.task("image.urls")
    async def urls(given: dict[str, Any]) -> list[str]:
        await busy(0.2, 0.6)
        return [f"https://images.example/{number}.jpg" for number in range(given.get("images", 8))]

    @worker.task("image.fetch")
    async def fetch(url: str) -> dict[str, Any]:
        await busy(0.1, 0.5)
        if chance.random() < 0.04:
            raise ConnectionError(f"connection reset by peer while reading {url}")
        return {"url": url, "bytes": chance.randint(20_000, 900_000)}

    @worker.task("image.gallery")
    async def gallery(images: list[dict[str, Any]]) -> dict[str, Any]:
        await busy(0.3, 2.2)
        return {"images": len(images), "bytes": sum(image["bytes"] for image in images)}


def _office(worker: Worker) -> None:
    for name in ("extract", "transform", "load"):
        _timed(worker, f"etl.{name}", 0.8, 3.0)
    for name in ("render", "email", "webhook"):
        _timed(worker, f"notify.{name}", 0.1, 0.6)

    @worker.task("notify.slack")
    async def slack(_given: Any) -> dict[str, Any]:
        await busy(0.1, 0.4)
        if down():
            raise ConnectionError("HTTP 503 from hooks.slack.com/T02/B11: Service Unavailable")
        return {"channel": "#builds", "ts": time.time()}

    @worker.task("pay.charge")
    async def charge(order: dict[str, Any]) -> dict[str, Any]:
        await busy(0.2, 0.8)
        amount = order["amount"]
        if amount > CARD_LIMIT:
            raise NonRetryableError(f"card declined: {amount} is above the limit of {CARD_LIMIT}")
        return {"charged": amount, "order": order["order"]}

    @worker.task("pay.receipt")
    async def receipt(paid: dict[str, Any]) -> dict[str, Any]:
        await busy(0.1, 0.3)
        return {"receipt": f"R-{chance.randint(1000, 9999)}", **paid}


def _agent(worker: Worker) -> None:
    _timed(worker, "agent.plan", 0.5, 1.5)
    _timed(worker, "agent.summarize", 0.5, 1.5)

    @worker.task("agent.act")
    async def act(ctx: TaskContext) -> dict[str, Any] | Continue:
        await busy(0.4, 1.4)
        if ctx.iteration < chance.randint(2, 7):
            return ctx.continue_with({"notes": ctx.iteration + 1})
        return {"answer": 42, "iterations": ctx.iteration}
