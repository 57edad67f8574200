"""``dagnats run`` against a server with an engine and a worker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import World, step

Make = Callable[..., str]
ID = r"[0-9a-f]{32}"


def started(world: World, *argv: str, code: int = 0) -> str:
    """Start a run, wait until it has ended, and return its id."""
    done = world("run", "start", *argv, "--watch")
    assert done.code == code, done.err
    return re.findall(ID, done.out)[0]


def test_start_says_the_id(world: World, workflow: Make) -> None:
    done = world("run", "start", workflow("start"), '{"pr": 42}')
    assert done.code == 0
    assert re.fullmatch(rf"Started: {ID}\n", done.out)
    assert done.err == ""


def test_start_in_json(world: World, workflow: Make) -> None:
    done = world("run", "start", workflow("start"), "--json")
    assert re.fullmatch(rf'\{{"run_id":"{ID}"\}}\n', done.out)


def test_watch_streams_events_and_ends(world: World, workflow: Make) -> None:
    done = world("run", "start", workflow("watched"), '{"pr": 42}', "--watch", "--output")
    assert done.code == 0
    lines = done.lines
    run_id = lines[0].removeprefix("Started: ")
    assert lines[1] == ""
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  workflow\.started {8} -", lines[2])
    assert any(re.fullmatch(r"  \S+  step\.completed {10} b", line) for line in lines)
    assert f"Run completed: {run_id}" in lines
    assert lines[-3:] == ["", "Output:", '{"got":{"got":{"pr":42}}}']


def test_watch_of_a_failed_run_exits_3(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("fails", step("a", task="fail")), "{}", code=3)
    again = world("run", "watch", run_id)
    assert again.code == 3
    assert again.lines[-1] == f"Run failed: {run_id}"


def test_watch_in_json_is_one_object_a_line(world: World, workflow: Make) -> None:
    done = world("run", "start", workflow("jsonl"), "1", "--watch", "--json")
    documents = [json.loads(line) for line in done.lines]
    assert documents[1]["type"] == "workflow.started"
    assert documents[-1] == {"run_id": documents[0]["run_id"], "status": "completed"}


def test_status(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("status"), "{}")
    done = world("run", "status", run_id[:8])
    assert re.fullmatch(
        rf"""Run:      {run_id}
Workflow: status
Status:   completed
Created:  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC

Steps:
  a                    completed \(attempts: 1\)
  b                    completed \(attempts: 1\)
""",
        done.out,
    )
    shown = world("run", "status", "--last", "--json").json
    assert shown["run_id"] == run_id
    assert shown["steps"]["a"]["output"] == {"got": {}}
    assert "dispatch_nonce" not in shown["steps"]["a"]


def test_list_newest_first(world: World, workflow: Make) -> None:
    name = workflow("listed")
    ids = [started(world, name, "{}") for _ in range(2)]
    done = world("run", "list", "--workflow=listed", "--status", "completed")
    assert done.lines[0].split() == ["RUN_ID", "WORKFLOW", "STATUS", "CREATED", "STEPS"]
    rows = [line.split() for line in done.lines[1:]]
    assert [row[0] for row in rows] == [ids[1][:8], ids[0][:8]]
    assert rows[0][1:3] == ["listed", "completed"]
    assert rows[0][-1] == "2"
    shown = world("run", "list", "--workflow=listed", "--json").json
    assert [run["run_id"] for run in shown] == ids[::-1]
    assert world("run", "list", "--workflow=listed", "-o", "name").lines == ids[::-1]
    assert world("run", "count", "--workflow=listed").out == "2\n"


def test_list_of_nothing(world: World) -> None:
    assert world("run", "list", "--workflow=none").out == "No runs found.\n"
    assert world("run", "list", "--workflow=none", "--json").out == "[]\n"
    assert world("run", "list", "--scheduled", "--workflow=none", "--json").out == "[]\n"
    refused = world("run", "list", "--status=bogus")
    assert refused.code == 2
    assert "unknown run status" in refused.err


def test_scheduled_runs_can_be_listed_shown_and_cancelled(world: World, workflow: Make) -> None:
    at = "2026-12-15T09:00:00+02:00"
    done = world("run", "start", workflow("later"), "{}", f"--at={at}")
    assert done.code == 0, done.err
    match = re.fullmatch(rf"Scheduled ([0-9a-f]{{8}}) \(run at {re.escape(at)}\)\n", done.out)
    assert match
    short = match[1]
    listed = world("run", "list", "--scheduled").lines
    assert re.split(r" {2,}", listed[0]) == ["RUN ID", "WORKFLOW", "RUN AT", "STATUS"]
    assert listed[1].split() == [short, "later", at, "scheduled"]
    assert world("run", "status", short).lines[1] == "Status: scheduled"
    cancelled = world("run", "cancel", short)
    assert re.fullmatch(rf"Cancelled: {short}[0-9a-f]{{24}}\n", cancelled.out)
    assert world("run", "list", "--scheduled").out == "No scheduled runs.\n"


def test_events(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("events"), json.dumps({"long": "x" * 300}))
    done = world("run", "events", run_id)
    assert done.lines[0].split() == ["TIMESTAMP", "TYPE", "STEP", "TRACE", "DATA"]
    only = world("run", "events", run_id, "--type=step.completed", "--step=a", "--json").json
    assert [(event["type"], event["step_id"]) for event in only] == [("step.completed", "a")]
    assert len(only[0]["data"]) == 200
    full = world("run", "events", run_id, "--type=step.completed", "--full", "--json").json
    assert len(full[0]["data"]) > 300
    assert world("run", "events", run_id, "--type=none", "--json").out == "[]\n"
    assert world("run", "events", run_id, "--type=none").out == "No events found.\n"


def test_output(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("output"), '{"n": 1}')
    assert world("run", "output", run_id).out == '{"got":{"got":{"n":1}}}\n'
    shown = world("run", "output", "--last", "--json").json
    assert shown == {
        "run_id": run_id,
        "status": "completed",
        "outputs": {"b": '{"got":{"got":{"n":1}}}'},
    }


def test_output_of_several_terminal_steps(world: World, workflow: Make) -> None:
    name = workflow("two-ends", step("a"), step("b"))
    run_id = started(world, name, "7")
    assert world("run", "output", run_id).out == '--- a ---\n{"got":7}\n--- b ---\n{"got":7}\n'


def test_output_of_a_failed_run(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("no-output", step("a", task="fail")), "{}", code=3)
    done = world("run", "output", run_id)
    assert (done.code, done.out) == (1, "")
    assert f"Run {run_id} is not completed (status: failed)" in done.err
    assert world("run", "output", run_id, "--json").json == {"run_id": run_id, "status": "failed"}


def test_inspect_shows_failures_and_dead_letters(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("inspected", step("lint", task="fail")), "{}", code=3)
    done = world("run", "inspect", run_id)
    assert done.code == 0
    assert "\nFailures:\n" in done.out
    assert re.search(r"^  \d\d:\d\d:\d\d  step\.failed {13} lint$", done.out, re.MULTILINE)
    assert re.search(r"^  SEQ  TASK  STEP  ERROR$", done.out, re.MULTILINE)
    assert re.search(r'^ {10}\{"error":"no such luck",.*\}$', done.out, re.MULTILINE)
    assert re.search(r"^ {10}Traceback \(most recent call last\):$", done.out, re.MULTILINE)
    assert "\\n" not in done.out, "a traceback is shown in lines"
    shown = world("run", "inspect", run_id, "--json").json
    assert list(shown)[:3] == ["run", "failures", "dead_letters"]


def test_retry(world: World, workflow: Make) -> None:
    name = workflow("retried")
    run_id = started(world, name, '{"n": 1}')
    done = world("run", "retry", run_id)
    assert re.fullmatch(rf"Retrying workflow retried: {ID}\n", done.out)
    changed = world("run", "retry", "--last", '{"n": 2}', "--json").json
    assert list(changed) == ["original_run_id", "workflow", "new_run_id"]
    watched = world("run", "watch", changed["new_run_id"])
    assert watched.code == 0
    assert '{"n":2}' in world("run", "output", changed["new_run_id"]).out


def test_bulk(world: World, workflow: Make, tmp_path: Path) -> None:
    name = workflow("many")
    more = tmp_path / "inputs.jsonl"
    more.write_text('{"env":"c"}\n\n{"env":"d"}\n')
    done = world("run", "bulk", f"--workflow={name}", '{"env":"a"}', '{"env":"b"}')
    assert re.fullmatch(rf"Started 2 runs:\n  {ID}\n  {ID}\n", done.out)
    both = world("run", "bulk", f"--workflow={name}", "1", f"--from-file={more}", "--json").json
    assert list(both) == ["run_ids", "total"]
    assert both["total"] == len(both["run_ids"]) == 3
    more.write_text('{"env":"c"}\n{nope\n')
    bad = world("run", "bulk", f"--workflow={name}", f"--from-file={more}")
    assert bad.code == 1
    assert "line 2" in bad.err


def test_cancel_all(world: World, workflow: Make) -> None:
    name = workflow("stuck", step("a", task="nobody"))
    ids = world("run", "bulk", f"--workflow={name}", "1", "2", "3", "--json").json["run_ids"]
    for run_id in ids:
        world.do(lambda s, r=run_id: _appeared(s, r))
    dry = world("run", "cancel-all", f"--workflow={name}", "--dry-run")
    assert dry.lines[0] == "[dry-run] Would cancel 3 runs"
    assert sorted(dry.lines[1:]) == sorted(f"  {run_id}" for run_id in ids)
    assert world("run", "cancel-all", f"--workflow={name}").out == "Cancelled 3 runs\n"


async def _appeared(session: object, run_id: str) -> None:
    from dagnats.services.run_query import appearing_run

    await appearing_run(session, run_id)  # type: ignore[arg-type]


def test_cancel_says_what_it_cannot(world: World, workflow: Make) -> None:
    run_id = world("run", "start", workflow("c", step("a", task="nobody")), "-o", "name").lines[0]
    world.do(lambda s: _appeared(s, run_id))
    assert world("run", "cancel", run_id).out == f"Cancelled: {run_id}\n"
    again = world("run", "cancel", run_id, "--json")
    assert again.code == 1
    assert again.json["error"]["code"] == "conflict"
    unknown = world("run", "cancel", "f" * 32)
    assert unknown.code == 1
    assert "Hint: " in unknown.err


def test_retry_all(world: World, workflow: Make) -> None:
    name = workflow("broken", step("a", task="fail"))
    run_id = started(world, name, "{}", code=3)
    dry = world("run", "retry-all", f"--workflow={name}", "--mode=rerun", "--dry-run")
    assert dry.out == f"[dry-run] Would retry 1 runs\n  {run_id}\n"
    done = world("run", "retry-all", f"--workflow={name}", "--mode=rerun")
    assert re.fullmatch(rf"Retried 1 runs\n  {run_id} -> {ID}\n", done.out)
    assert world("run", "retry-all", f"--workflow={name}").code == 2


def test_signal(world: World, workflow: Make) -> None:
    run_id = world("run", "start", workflow("s", step("a", task="nobody")), "-o", "name").lines[0]
    world.do(lambda s: _appeared(s, run_id))
    done = world("run", "signal", run_id, "approval", '{"approved": true}')
    assert done.out == "Signal sent: approval\n", done.err
    shown = world("run", "signal", "--last", "done", "{}", "--json").json
    assert shown == {"run_id": run_id, "signal": "done", "sent": True}
    assert world("run", "signal", run_id, "done", "nope").code == 1
    assert world("run", "signal", run_id, "done").code == 2


def test_prefixes(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("prefix"), "{}")
    assert world("run", "status", run_id[:7]).code == 2
    assert world("run", "status", "0" * 12).code == 1
    assert world("run", "status").code == 2


def test_rerun_from_a_step(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("again"), '{"n": 1}')
    plan = world("run", "rerun", run_id, "--from", "b", "--plan")
    assert plan.lines[1:3] == ["Reuse:   a", "Execute: b"]
    done = world("run", "rerun", run_id, "--from", "b", "--json").json
    assert done["original_run_id"] == run_id
    assert world("run", "watch", done["new_run_id"]).code == 0


def test_show_as_it_was(world: World, workflow: Make) -> None:
    run_id = started(world, workflow("past"), "{}")
    first = world("run", "events", run_id, "--json").json[0]["seq"]
    then = world("run", "show", run_id, "--at-seq", str(first), "--json").json
    assert then["status"] != "completed"
    assert world("run", "show", run_id, "--json").json["status"] == "completed"


def test_why_and_diff(world: World, workflow: Make) -> None:
    run_id = world("run", "start", workflow("w", step("a", task="nobody")), "-o", "name").lines[0]
    world.do(lambda s: _appeared(s, run_id))
    why = world("run", "why", run_id)
    assert why.code == 0
    assert "nobody" in why.out
    name = workflow("twins")
    one, two, three = (started(world, name, text) for text in ("1", "1", "2"))
    same = world("run", "diff", one, two)
    assert same.lines[:2] == ["The runs are the same.", ""]
    assert same.lines[2].split() == ["TOOK", one[:8], two[:8]]
    assert [line.split()[0] for line in same.lines[3:]] == ["a", "b"]
    other = world("run", "diff", one, three)
    assert other.code == 1
    assert other.lines[0].split() == ["PATH", one[:8], three[:8]]


def test_list_where(world: World, workflow: Make) -> None:
    good, bad = workflow("where-good"), workflow("where-bad", step("a", task="fail"))
    first, second = started(world, good, "1"), started(world, good, "2")
    failed = started(world, bad, "{}", code=3)

    def found(query: str, *more: str) -> list[str]:
        done = world("run", "list", "--where", query, "-o", "name", *more)
        assert done.code == 0, done.err
        return done.lines

    assert found("wf:where-*") == [failed, second, first]
    assert found("wf:where-* !status:failed sort:-age") == [first, second]
    assert found("wf:where-* sort:-age", "--limit=1") == [first]
    assert found("wf:where-* /no such luck") == [failed]
    assert found("err:luck", "--workflow=where-bad", "--status=failed") == [failed]
    assert world("run", "count", "--where=wf:where-good").out == "2\n"
    refused = world("run", "list", "--where=colour:red")
    assert refused.code == 1
    assert "colour" in refused.err
