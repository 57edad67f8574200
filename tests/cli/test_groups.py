"""Every other group against a server with an engine and a worker."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import World, step

Make = Callable[..., str]


def wait_for(condition: Callable[[], Any], timeout: float = 10) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


def test_workflow_register_list_show(world: World, tmp_path: Path) -> None:
    steps = [
        step("fetch-diff", task="git.fetch-diff"),
        step("lint", "fetch-diff", task="echo"),
    ]
    path = tmp_path / "workflow.json"
    path.write_text(
        json.dumps({"name": "code-review", "version": "1.0.0", "timeout": "30m", "steps": steps})
    )
    done = world("workflow", "register", str(path))
    assert done.out == "Workflow created: code-review (2 steps)\n"
    assert done.err == 'Warning: no active worker for task "git.fetch-diff"\n'
    again = world("workflow", "register", str(path), "--json").json
    assert again == {
        "name": "code-review",
        "action": "updated",
        "steps": 2,
        "warnings": ["git.fetch-diff"],
    }
    listed = world("workflow", "list")
    assert listed.lines[0].split() == ["NAME", "STEPS", "TIMEOUT"]
    assert "code-review  2      30m0s" in listed.lines
    shown = world("workflow", "list", "--json").json
    assert [w["timeout"] for w in shown if w["name"] == "code-review"] == ["30m"]
    assert world("workflow", "show", "code-review").out == (
        "Name:        code-review\n"
        "Version:     1.0.0\n"
        "Steps:       2\n"
        "Timeout:     30m0s\n"
        "\n"
        "  ID          TASK            DEPENDS ON\n"
        "  fetch-diff  git.fetch-diff  -\n"
        "  lint        echo            fetch-diff\n"
    )
    assert world("workflow", "show", "nope").code == 1


def test_workflow_delete_asks(world: World, workflow: Make) -> None:
    name = workflow("doomed")
    refused = world("workflow", "delete", name)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert world("workflow", "delete", name, "--yes", "--json").json == {
        "name": name,
        "action": "deleted",
    }
    assert world("workflow", "delete", name, "--yes").code == 1
    assert world("workflow", "revisions", name).lines[0].startswith("REVISION")


def test_triggers(world: World, workflow: Make) -> None:
    name = workflow("deploy")
    made = world("trigger", "create", name, "--cron=0 9 * * 1-5", "--tz=America/Denver")
    assert re.fullmatch(r"Trigger created: trig-[0-9a-f]{16}\n", made.out)
    cron = made.out.split()[-1]
    hook = world(
        *("trigger", "create", name, "--webhook=/hooks/deploy", "--secret=mysecret", "--json")
    ).json
    assert list(hook) == ["trigger_id"]
    listed = world("trigger", "list")
    assert listed.lines[0].split() == ["ID", "WORKFLOW", "TYPE", "CONFIG", "ENABLED"]
    assert any(
        re.fullmatch(rf"{cron} +deploy +cron +0 9 \* \* 1-5 +yes", line) for line in listed.lines
    )
    assert "mysecret" not in world("trigger", "list", "--json").out
    updated = world("trigger", "update", cron[:13], "--cron", "0 8 * * 1-5")
    assert updated.out == f"Trigger updated: {cron}\n"
    assert world("trigger", "update", cron).code == 2
    assert world("trigger", "update", cron, "--webhook=/x").code == 2
    assert world("trigger", "disable", cron).out == f"Trigger disabled: {cron}\n"
    assert world("trigger", "fire", cron).code == 1
    assert world("trigger", "enable", cron, "--json").json == {
        "trigger_id": cron,
        "action": "enabled",
    }
    assert world("trigger", "history", cron).out == "No fire history found.\n"
    assert world("trigger", "history", cron, "--json").out == "[]\n"
    assert world("workflow", "delete", name, "--yes").code == 1
    for trigger in (cron, hook["trigger_id"]):
        assert world("trigger", "delete", trigger).out == f"Trigger deleted: {trigger}\n"
    assert world("trigger", "delete", cron).code == 1
    assert world("trigger", "create", name, "--cron=x", "--subject=y").code == 2
    assert world("trigger", "create", name).code == 2
    assert world("trigger", "create", name, "--cron=* * * * *", "--tz=America/Nowhere").code == 1


def _failed(world: World, name: str) -> str:
    done = world("run", "start", name, "{}", "--watch")
    assert done.code == 3
    return done.lines[0].removeprefix("Started: ")


def _letter(world: World, run_id: str) -> dict[str, Any]:
    return wait_for(lambda: world("dlq", "list", f"--run={run_id}", "--json").json)[0]


def test_dead_letters(world: World, workflow: Make) -> None:
    run_id = _failed(world, workflow("dead", step("lint", task="fail")))
    letter = _letter(world, run_id)
    listed = world("dlq", "list", "--run", run_id[:8])
    assert listed.lines[0].split() == [
        *("SEQ", "SUBJECT", "RUN_ID", "STEP_ID", "TASK", "ERROR", "TIMESTAMP")
    ]
    assert re.fullmatch(
        rf"{letter['sequence']} +dead\.fail\S* +{run_id[:8]} +lint +fail +no such luck +\S+ \S+",
        listed.lines[1],
    )
    assert "no such luck" in world("dlq", "show", str(letter["sequence"])).out
    replayed = world("dlq", "replay", str(letter["sequence"]), "--input", '{"healed": true}')
    assert replayed.out == f"Replayed dead letter {letter['sequence']}\n", replayed.err
    assert wait_for(lambda: world("run", "watch", run_id).code == 0)
    assert world("dlq", "replay", str(letter["sequence"])).code == 1
    assert world("dlq", "list", f"--run={run_id}").out == "No dead letters found.\n"


def test_replay_of_a_run(world: World, workflow: Make) -> None:
    run_id = _failed(world, workflow("dead-run", step("lint", task="fail")))
    sequence = _letter(world, run_id)["sequence"]
    done = world("dlq", "replay", f"--run={run_id[:8]}")
    assert done.lines == [
        f"Replayed dead letter {sequence} (fail)",
        f"Replayed 1 dead letters for run {run_id[:8]}",
    ]
    second = wait_for(lambda: _letter(world, run_id))["sequence"]
    wait_for(lambda: world("run", "status", run_id, "--json").json["status"] == "failed")
    shown = world("dlq", "replay", f"--run={run_id}", "--json").json
    assert shown == {"run_id": run_id, "replayed": 1, "sequences": [second]}


def test_discard(world: World, workflow: Make) -> None:
    run_id = _failed(world, workflow("discarded", step("lint", task="fail")))
    sequence = str(_letter(world, run_id)["sequence"])
    assert world("dlq", "discard", sequence).code == 2
    done = world("dlq", "discard", sequence, "--yes")
    assert done.out == f"Discarded dead letter {sequence}\n"
    empty = world("dlq", "replay", f"--run={run_id}")
    assert (empty.code, empty.out) == (0, "No dead letters found for run.\n")


def test_usage_of_replay(world: World) -> None:
    for words in ([], ["0"], ["x"], ["1", "--run=aaaaaaaa"], ["--json"], ["-1"]):
        assert world("dlq", "replay", *words).code == 2, words


def test_workers(world: World) -> None:
    listed = wait_for(lambda: (r := world("workers", "list")).lines[1:] and r)
    assert listed.lines[0].split() == ["WORKER_ID", "TASK_TYPES", "LANGUAGE", "MAX_TASKS"]
    (worker,) = world("workers", "list", "--json").json
    assert sorted(worker["task_types"]) == ["echo", "fail", "hostile"]
    assert world("workers", "show", worker["worker_id"]).lines[0].split()[-1] == worker["worker_id"]
    assert world("workers", "show", "nobody").code == 1


def test_status(world: World) -> None:
    done = world("status")
    assert done.lines[0] == "NATS:        connected"
    assert re.fullmatch(r"JetStream:   available \(\d+ streams\)", done.lines[1])
    assert re.fullmatch(r"Active runs: \d+", done.lines[2])
    detail = world("status", "--detail").out
    assert "TASK" in detail
    assert "REDELIVERED  ACK WAIT" in detail
    assert "\nEngine:\n  History lag:     0 messages (0.0s)\n  Scheduled timers: " in detail
    shown = world("status", "--json", "--detail").json
    assert list(shown)[:4] == ["nats", "jetstream", "stream_count", "active_runs"]
    assert {"queues", "dlq", "engine"} <= shown.keys()


def test_events_and_singletons(world: World) -> None:
    done = world("event", "publish", "order.paid", '{"id": 7}', "--json").json
    assert done["event_type"] == "order.paid"
    assert world("event", "publish", "order.*", '{"id": 7}').code == 1
    assert world("event", "publish", "order.paid", "[1]").code == 1
    assert world("singleton", "list").out == "No active singleton locks.\n"
    assert world("singleton", "list", "--json").out == "[]\n"
    assert world("singleton", "release", "x", "--yes").code == 1


def test_pause_and_resume(world: World, workflow: Make) -> None:
    name = workflow("held")
    held = world("engine", "pause", f"--workflow={name}")
    assert held.out == f"Engine: running\n  {name} paused\n"
    assert world("engine", "status", "--json").json == {"paused": False, "workflows": [name]}
    assert world("engine", "resume", f"--workflow={name}").out == "Engine: running\n"
    assert world("engine", "pause", "--workflow=nobody").code == 1


def test_steps_by_hand(world: World, workflow: Make) -> None:
    name = workflow("by-hand", step("a", task="nobody"), step("b", "a"))
    run_id = world("run", "start", name, "-o", "name").lines[0]
    wait_for(lambda: '"queued"' in world("run", "status", run_id, "--json").out)
    words = ("step", "complete", run_id, "a", '--output={"by":"hand"}')
    assert world(*words).code == 2
    assert world(*words, "--reason=stuck").code == 2
    done = world(*words, "--reason=stuck", "--yes")
    assert done.code == 0, done.err
    assert world("run", "watch", run_id).code == 0
    assert world("run", "output", run_id).out == '{"got":{"by":"hand"}}\n'


def test_approval(world: World, workflow: Make) -> None:
    gate = {
        "id": "gate",
        "type": "approval",
        "config": {"subject": "approvals.deploy", "timeout": "1h"},
    }
    name = workflow("approved", gate, step("b", "gate"))
    run_id = world("run", "start", name, "-o", "name").lines[0]
    wait_for(lambda: world("run", "events", run_id, "--type=approval.requested", "--json").json)
    done = world("run", "approve", run_id, "gate")
    assert done.out == f"Approved: gate of {run_id}\n", done.err
    assert world("run", "watch", run_id).code == 0
    assert world("run", "reject", run_id, "gate").code == 1
    assert world("run", "approve", run_id).code == 2


def test_clean(world: World, workflow: Make) -> None:
    workflow("kept")
    planned = world("clean", "--type=dlq", "--dry-run", "--json").json
    assert list(planned) == ["entries", "total_messages", "total_bytes"]
    aborted = world("clean", stdin="n\n")
    assert (aborted.code, aborted.out) == (
        0,
        "This will purge runs, dlq data (all). Continue? [y/N] \nAborted.\n",
    )
    assert world("clean").code == 0
    assert world("clean", "--json").code == 2
    for words in (["--older-than=-5m"], ["--older-than=0s"], ["--older-than=0d"], ["--dryrun"]):
        assert world("clean", *words, "--force").code in (1, 2), words
    assert world("clean", "--type=nope", "--force").code == 2
    done = world("clean", "--force")
    assert done.out == "Purged 5 streams, cleared 10 KV buckets\n"
    assert world("clean", "--force", "--json").json == {
        "streams_purged": 5,
        "buckets_cleared": 10,
        "errors": 0,
    }
    assert (
        world("clean", "--type=otel", "--force").out == "Purged 1 streams, cleared 0 KV buckets\n"
    )
    assert world("clean", "--dry-run", "--type=dlq").out == "Nothing to clean.\n"
    assert world("workflow", "show", "kept").code == 0
    assert world("clean", "--all", stdin="y\n").lines[-1] == (
        "Purged 6 streams, cleared 11 KV buckets"
    )
    assert world("workflow", "list").out == "No workflows registered.\n"
    assert world("run", "status", "--last").code == 1


def test_logs(world: World) -> None:
    assert world("logs", "--tail=5").code == 0
    assert world("logs", "--tail=0").code == 2
    assert world("logs", "--tail=10001").code == 2
    assert world("logs", "--level=LOUD").code == 2
    assert world("logs", "--since=yesterday").code == 2
