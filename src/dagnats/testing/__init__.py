"""Test workflows with their real handlers: in memory, in virtual time, without a server.

    async def test_thumbs():
        async with Sandbox(worker) as box:
            run = await box.start(wf, {"url": "…"})
            assert await run.result() == {"size": 3}
            assert run.steps["fetch"].attempts == 2

The state machine is the one that ``dagnats serve`` runs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dagnats.testing.run import DeadLetter, Run
from dagnats.testing.sandbox import Sandbox
from dagnats.worker import Worker
from dagnats.workflow import Workflow

__all__ = ["DeadLetter", "Run", "Sandbox", "run_workflow"]


def run_workflow(workflow: Workflow, input: Any = None, *workers: Worker) -> Run:  # noqa: A002
    """Run a workflow to its end, however it ends: for tests without an event loop.

    Args:
        workflow: built here.
        input: what JSON can hold; None for no input.
        workers: whose handlers do the tasks.

    Raises:
        AssertionError: it never ends.
    """

    async def play() -> Run:
        async with Sandbox(*workers) as box:
            run = await box.start(workflow, input)
            await run.end()
            return run

    return asyncio.run(play())
