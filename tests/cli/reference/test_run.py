"""The examples under ``run`` in the reference, and its rule on prefixes."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dagnats.model.codec import raw
from dagnats.model.event import StartPayload
from dagnats.model.times import DAY, SECOND, format_time
from dagnats.services.runs import new_run_id, start_event
from dagnats.services.session import Session
from dagnats.services.workflows import get_workflow
from tests.cli.conftest import World, step
from tests.cli.reference.conftest import Register, finished, live
from tests.cli.reference.shape import shown
from tests.cli.test_groups import wait_for

TRACE = "0af7651916cd43dd8448eb211c80319c"


def _tomorrow() -> str:
    return format_time((time.time_ns() + DAY) // SECOND * SECOND)


def test_start(shop: World, review: str) -> None:
    done = shop("run", "start", "code-review", '{"pr": 42}')
    shown(done.out, "# Started: a1b2c3d4e5f6...")


def test_start_at(shop: World, deploy: str) -> None:
    at = _tomorrow()
    done = shop("run", "start", "deploy", f"--at={at}")
    shown(done.out, "# Scheduled a1b2c3d4 (run at 2025-01-15T09:00:00Z)")
    assert at in done.out
    assert shop("run", "cancel", done.out.split()[1]).code == 0


def test_start_watch_output(shop: World, review: str) -> None:
    done = shop("run", "start", "code-review", '{"pr": 42}', "--watch", "--output")
    shown(
        done.out,
        """
# Started: a1b2c3d4...
# [events stream...]
# Output:
# {"issues_found": 3, "summary": "..."}
""",
    )


def test_status(shop: World, register: Register) -> None:
    steps = (
        step("fetch-diff", task="git.fetch-diff"),
        step("lint", "fetch-diff", task="nobody.lints"),
    )
    (run_id,) = live(shop, register("code-review", *steps))
    wait_for(lambda: "completed" in shop("run", "status", run_id).out)
    done = shop("run", "status", run_id[:8])
    shown(
        done.out,
        """
# Run: a1b2c3d4e5f6...
# Workflow: code-review
# Status: running
# Created: 2025-01-15 09:00:00 UTC
#
# Steps:
# fetch-diff completed (attempts: 1)
# lint running (attempts: 1)
""",
        vary={"running": "(?:running|queued)", "1)": r"[01]\)"},
    )
    last = shop("run", "status", "--last", "--json").json
    assert {"run_id", "workflow_id", "status", "steps", "created_at"} <= last.keys()
    assert last["run_id"] == run_id
    shop("run", "cancel", run_id)


async def _started_with_trace(session: Session, workflow: str, data: Any) -> str:
    run_id = new_run_id()
    definition = raw(await get_workflow(session, workflow))
    payload = StartPayload(workflow_def=definition, input=raw(data))
    made = start_event(run_id, payload, session.now())
    event = msgspec.json.decode(made.data)
    event["trace_parent"] = f"00-{TRACE}-b7ad6b7169203331-01"
    changed = msgspec.structs.replace(made, data=msgspec.json.encode(event))
    await session.bus.publisher.publish(changed)
    return run_id


def test_inspect(shop: World, register: Register) -> None:
    register("code-review", step("lint", task="lint.run"))
    run_id = shop.do(lambda s: _started_with_trace(s, "code-review", {"slow": True}))
    assert wait_for(lambda: shop("run", "watch", run_id).code == 3)
    wait_for(lambda: shop("dlq", "list", f"--run={run_id}", "--json").json)
    done = shop("run", "inspect", run_id[:8])
    shown(
        done.out,
        """
# Run: a1b2c3d4...
# Workflow: code-review
# Status: failed
# ...
# Failures:
# 09:15:30 step.failed lint
# trace: abc123...
# {"error": "lint timeout"}
# ...
# Dead Letters:
# SEQ TASK STEP ERROR
# 42 lint.run lint timeout exceeded
""",
        vary={"42": r"\d+"},
    )
    document = shop("run", "inspect", "--last", "--json").json
    assert list(document) == ["run", "failures", "dead_letters"]
    letter = document["dead_letters"][0]
    assert {"sequence", "subject", "run_id", "step_id", "task", "error", "timestamp"} <= set(letter)


def test_cancel(shop: World, register: Register) -> None:
    register("deploy", step("a", task="nobody.deploys"))
    first, second = live(shop, "deploy", "1", "2")
    shown(shop("run", "cancel", first[:8]).out, "# Cancelled: a1b2c3d4...")
    done = shop("run", "cancel", "--last", "--json")
    assert done.out == f'{{"run_id":"{second}","cancelled":true}}\n'


def test_cancel_all(shop: World, register: Register) -> None:
    register("deploy", step("a", task="nobody.deploys"), concurrency={"max_runs": 1})
    first, *_ = live(shop, "deploy", "1", "2", "3", "4")
    wait_for(lambda: shop("run", "count", "--workflow=deploy", "--status=pending").out == "3\n")
    done = shop("run", "cancel-all", "--workflow=deploy", "--status=pending", "--dry-run")
    shown(
        done.out,
        """
# [dry-run] Would cancel 3 runs
# a1b2c3d4...
# e5f6a7b8...
# c9d0e1f2...
""",
    )
    assert first not in done.out
    assert shop("run", "cancel", first).code == 0
    wait_for(lambda: shop("run", "count", "--workflow=deploy", "--status=running").out == "1\n")
    shown(shop("run", "cancel-all", "--workflow=deploy").out, "# Cancelled 3 runs")


def test_bulk(shop: World, deploy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = shop("run", "bulk", "--workflow=deploy", '{"env":"staging"}', '{"env":"prod"}')
    shown(
        done.out,
        """
# Started 2 runs:
# a1b2c3d4...
# e5f6a7b8...
""",
    )
    Path("inputs.jsonl").write_text('{"env":"staging"}\n{"env":"prod"}\n')
    more = shop("run", "bulk", "--workflow=deploy", "--from-file=inputs.jsonl", "--json")
    assert re.fullmatch(r'\{"run_ids":\["[0-9a-f]{32}","[0-9a-f]{32}"\],"total":2\}\n', more.out)


def test_retry_all(shop: World, register: Register) -> None:
    name = register("retried-deploy")
    for _ in range(2):
        finished(shop, name, '{"broken": true}', code=3)
    done = shop("run", "retry-all", f"--workflow={name}", "--mode=rerun", "--dry-run")
    shown(
        done.out,
        """
# [dry-run] Would retry 2 runs
# a1b2c3d4...
# e5f6a7b8...
""",
    )
    wait_for(lambda: len(_dead(shop, name)) == 2)
    replayed = shop("run", "retry-all", f"--workflow={name}", "--mode=replay")
    shown(
        replayed.out,
        """
# Retried 2 runs
# a1b2c3d4 (replayed)
# e5f6a7b8 (replayed)
""",
    )


def _dead(shop: World, workflow: str) -> list[Any]:
    ids = {run["run_id"] for run in shop("run", "list", f"--workflow={workflow}", "--json").json}
    letters = shop("dlq", "list", "--all", "--json").json
    return [letter for letter in letters if letter["run_id"] in ids]


def test_signal(shop: World, register: Register) -> None:
    (run_id,) = live(shop, register("signalled", step("a", task="nobody.signals")))
    done = shop("run", "signal", run_id[:8], "approval", '{"approved": true}')
    shown(done.out, "# Signal sent: approval")
    last = shop("run", "signal", "--last", "done", "{}", "--json")
    assert last.out == f'{{"run_id":"{run_id}","signal":"done","sent":true}}\n'
    shop("run", "cancel", run_id)


def test_list(shop: World, register: Register) -> None:
    shop("clean", "--type=runs", "--force")
    register("deploy")
    finished(shop, "deploy", '{"broken": true}', code=3)
    finished(shop, "deploy")
    done = shop("run", "list", "--workflow=deploy", "--status=failed")
    shown(
        done.out,
        """
# RUN_ID WORKFLOW STATUS CREATED STEPS
# a1b2c3d4 deploy failed 2025-01-15 09:00:00 3
""",
    )


def test_list_scheduled(shop: World, deploy: str) -> None:
    shop("run", "start", "deploy", f"--at={_tomorrow()}")
    done = shop("run", "list", "--scheduled")
    shown(
        done.out,
        """
# RUN ID WORKFLOW RUN AT STATUS
# a1b2c3d4 deploy 2025-01-16T09:00:00Z scheduled
""",
    )
    (run,) = shop("run", "list", "--scheduled", "--json").json
    assert {"run_id", "workflow_id", "run_at", "created_at", "status"} <= run.keys()
    assert shop("run", "cancel", run["run_id"]).code == 0


def test_events(shop: World, register: Register) -> None:
    register("code-review", step("lint", task="lint.run"))
    run_id = shop.do(lambda s: _started_with_trace(s, "code-review", {"slow": True}))
    assert wait_for(lambda: shop("run", "watch", run_id).code == 3)
    done = shop("run", "events", run_id[:8], "--type=step.failed", "--full")
    shown(
        done.out,
        """
# TIMESTAMP TYPE STEP TRACE DATA
# 2025-01-15 09:05:00 step.failed lint abc123... {"error":"..."}
""",
        vary={'{"error":"..."}': r'\{.*"error":"timeout exceeded".*\}'},
    )
    (event,) = shop("run", "events", run_id, "--type=step.failed", "--json").json
    assert {"type", "run_id", "step_id", "timestamp", "data"} <= event.keys()


def test_watch(shop: World, review: str) -> None:
    run_id = finished(shop, review)
    done = shop("run", "watch", run_id[:8])
    assert done.code == 0
    assert done.lines[0] == ""
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  workflow\.started         -", done.lines[1])
    assert done.lines[-1] == f"Run completed: {run_id}"


def test_output(shop: World, review: str) -> None:
    run_id = finished(shop, review)
    done = shop("run", "output", run_id[:8])
    assert json.loads(done.out) == {"issues_found": 3, "summary": "All checks passed"}
    shown_last = shop("run", "output", "--last", "--json").json
    assert list(shown_last) == ["run_id", "status", "outputs"]
    assert shown_last["status"] == "completed"
    assert isinstance(shown_last["outputs"]["post-results"], str)
    assert json.loads(shown_last["outputs"]["post-results"])["issues_found"] == 3


def test_retry(shop: World, deploy: str) -> None:
    run_id = finished(shop, deploy)
    done = shop("run", "retry", run_id[:8])
    shown(done.out, "# Retrying workflow deploy: e5f6a7b8...")
    finished(shop, deploy)
    again = shop("run", "retry", "--last", "--json").json
    assert list(again) == ["original_run_id", "workflow", "new_run_id"]
    assert again["workflow"] == "deploy"


def test_prefix_resolution(shop: World, deploy: str) -> None:
    run_id = finished(shop, deploy)
    assert shop("run", "status", run_id).out == shop("run", "status", run_id[:8]).out
