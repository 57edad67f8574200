"""A worker that fails now and then, to be killed at any moment."""

from __future__ import annotations

import sys

from dagnats import TaskContext, Worker

worker = Worker(*sys.argv[1:], concurrency=50)


@worker.task("fault.step", ack_wait=2.0)
async def step(ctx: TaskContext) -> dict[str, str]:
    """Fail the first attempt of every third run's middle step."""
    if ctx.step_id == "b" and ctx.attempt <= 1 and int(ctx.run_id[0], 16) % 3 == 0:
        raise RuntimeError("first attempt")
    return {"step": ctx.step_id}


if __name__ == "__main__":
    worker.run()
