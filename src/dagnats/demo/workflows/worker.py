"""The worker behind the demo's small workflows."""

from __future__ import annotations

from typing import Any

from dagnats import NonRetryableError, SyncTaskContext, Worker

LIMIT = 100
"""Largest amount the demo's bank accepts."""

worker = Worker(name="demo")


@worker.task("demo.download")
def download(ctx: SyncTaskContext) -> dict[str, Any]:
    """Fail on the first two attempts."""
    if ctx.attempt < 3:
        raise ConnectionError(f"the other side hung up (attempt {ctx.attempt})")
    return {"rows": 3, "attempt": ctx.attempt}


@worker.task("demo.charge")
def charge(order: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is above the limit, for good."""
    if order["amount"] > LIMIT:
        raise NonRetryableError(f"card declined: {order['amount']} is above the limit of {LIMIT}")
    return {"charged": order["amount"]}


@worker.task("demo.store")
def store(given: Any = None) -> dict[str, Any]:
    """Hand on what came in."""
    return {"stored": given}


if __name__ == "__main__":
    worker.run()
