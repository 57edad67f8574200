"""The system that the examples of the reference were taken from, or one like it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagnats.worker import NonRetryableError, Worker
from tests.cli.conftest import World, step

Register = Callable[..., str]

REVIEW = (
    step("fetch-diff", task="git.fetch-diff"),
    step("lint", "fetch-diff", task="lint.run"),
    step("review-loop", "fetch-diff", task="agent.code-review"),
    step("merge", "lint", "review-loop", task="pass.on"),
    step("post-results", "merge", task="post.results"),
)
DEPLOY = (
    step("build", task="pass.on"),
    step("push", "build", task="pass.on"),
    step("announce", "push", task="deploy.announce"),
)


def _worker(url: str) -> Worker:
    worker = Worker(url, name="reference")

    @worker.task("git.fetch-diff")
    @worker.task("agent.code-review")
    @worker.task("pass.on")
    async def pass_on(job: Any) -> Any:
        return job

    @worker.task("lint.run")
    async def lint(job: Any) -> Any:
        if isinstance(job, dict) and job.get("slow"):
            raise NonRetryableError("timeout exceeded")
        return job

    @worker.task("deploy.announce")
    async def announce(job: Any) -> Any:
        if isinstance(job, dict) and job.get("broken"):
            raise NonRetryableError("nobody listens")
        return {"announced": True}

    @worker.task("post.results")
    async def post(job: Any) -> Any:
        return {"issues_found": 3, "summary": "All checks passed"}

    return worker


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Server, engine and worker for the workflows of the examples."""
    world = World(tmp_path_factory.mktemp("shop"), _worker)
    world.start()
    yield world
    world.stop()


@pytest.fixture
def register(shop: World, tmp_path: Path) -> Register:
    """Register a workflow: the steps given, or those of ``deploy``."""

    def make(name: str, *steps: dict[str, Any], **more: Any) -> str:
        path = tmp_path / f"{name}.json"
        document = {"name": name, "version": "1.0.0", "steps": steps or DEPLOY, **more}
        path.write_text(json.dumps(document))
        done = shop("workflow", "register", str(path))
        assert done.code == 0, done.err
        return name

    return make


@pytest.fixture
def review(register: Register) -> str:
    """The workflow ``code-review``."""
    return register("code-review", *REVIEW, timeout="30m")


@pytest.fixture
def deploy(register: Register) -> str:
    """The workflow ``deploy``."""
    return register("deploy")


def finished(shop: World, *words: str, code: int = 0) -> str:
    """Start a run, wait for its end, and return its id."""
    done = shop("run", "start", *words, "--watch", "--json")
    assert done.code == code, done.out + done.err
    return json.loads(done.lines[0])["run_id"]


def live(shop: World, workflow: str, *inputs: str) -> list[str]:
    """Start runs that do not end by themselves, and wait until they have begun."""
    from dagnats.services.run_query import appearing_run

    ids = shop("run", "bulk", f"--workflow={workflow}", *(inputs or ("{}",)), "--json").json
    for run_id in ids["run_ids"]:
        shop.do(lambda session, run_id=run_id: appearing_run(session, run_id))
    return ids["run_ids"]
