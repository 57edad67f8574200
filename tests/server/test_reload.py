"""Workflows, triggers and policy from the configuration file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.policy import Policy
from dagnats.model.times import MILLISECOND, SECOND
from dagnats.model.trigger import TriggerDef, WebhookTrigger
from dagnats.server import reload_room
from dagnats.server.reload_room import ReloadRoom
from dagnats.server.rooms import Context
from dagnats.server.sections import read_sections
from dagnats.server.settings import Settings
from dagnats.services.session import Session
from dagnats.wire.stores import Stores
from tests.conftest import eventually

GOOD = """\
log_level: info
workflows:
  - name: thumbs
    timeout: 30m
    idempotency_key: order.id
    steps:
      - id: fetch
        task: img.fetch
        timeout: 30s
        retry: {max_attempts: 3, strategy: exponential, initial_delay: 100ms}
        rate_limit: {limit: 10, period: 1s}
      - id: wait
        type: sleep
        depends_on: [fetch]
        skip_if: {step_id: fetch, field: size, op: "==", value: 0}
        config: {duration: 1h30m}
      - {id: save, task: img.save, retries: 2, depends_on: [wait], on_failure: undo}
      - {id: undo, task: img.undo, metadata: {team: a}}
    triggers:
      - id: inside
        subject: {subject: "img.>"}
        debounce: {period: 2s}
triggers:
  - id: hourly
    workflow: thumbs
    cron: {expression: "0 * * * *", timezone: Europe/Berlin}
  - id: hook
    workflow_id: thumbs
    enabled: false
    webhook: {path: /hooks/thumbs, secret: a-secret}
  - id: ask
    workflow: thumbs
    http: {path: /api/thumbs, method: POST}
policy:
  control_plane:
    grant: [thumbs]
    promote: [thumbs]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dagnats.yaml"
    path.write_text(GOOD)
    return path


def test_every_field_reaches_the_definition(path: Path) -> None:
    found = read_sections(path)
    (file,) = found.workflows
    steps = {step.id: step for step in file.definition.steps}
    assert file.definition.timeout == 1800 * SECOND
    assert steps["fetch"].timeout == 30 * SECOND
    assert steps["fetch"].retry is not None
    assert steps["fetch"].retry.initial_delay == 100 * MILLISECOND
    assert steps["fetch"].rate_limit is not None
    assert steps["wait"].skip_if is not None
    assert b"5400000000000" in bytes(steps["wait"].config)
    assert (steps["save"].retries, steps["save"].on_failure) == (2, "undo")
    assert file.definition.aux_steps == {"undo": True}
    triggers = {trigger.id: trigger for trigger in found.triggers}
    assert {t.source for t in triggers.values()} == {"file:dagnats.yaml"}
    assert {t.workflow_id for t in triggers.values()} == {"thumbs"}
    assert {t.id: t.enabled for t in triggers.values()} == {
        "inside": True,
        "hourly": True,
        "hook": False,
        "ask": True,
    }
    http, debounce = triggers["ask"].http, triggers["inside"].debounce
    assert http is not None
    assert debounce is not None
    assert (http.timeout_ms, http.max_body_bytes, debounce.period) == (30_000, 1 << 20, 2 * SECOND)
    assert found.policy is not None
    assert found.policy.control_plane.promote == ["thumbs"]


# What is replaced, by what, the text on the line that is named, and what is said of it.
WRONG = {
    "unknown": ("timeout: 30s", "timout: 30s", "timout", 'steps[0]: unknown field "timout"'),
    "duration": ("timeout: 30s", "timeout: soon", "soon", "steps[0].timeout: expected a dur"),
    "parent": ("depends_on: [fetch]", "depends_on: [fetsch]", "id: wait", "steps[1]: step"),
    "kind": ("type: sleep", "type: slep", "id: wait", "workflows[0].steps[1]"),
    "name": ("name: thumbs", "name: 'a b'", "'a b'", "workflows[0].name: workflow name"),
    "twice": ("- id: hourly", "- id: hook", "id: hook", "duplicate trigger ID"),
    "other": ("workflow: thumbs\n    c", "workflow: x\n    c", "id: hourly", "is not in this file"),
    "zone": ("Europe/Berlin", "Mars/Base", "id: hourly", "triggers[0]: trigger"),
    "path": ("{path: /api/thumbs", "{path: /api/*", "id: ask", "contains wildcard"),
    "grant": ("grant: [thumbs]", "grant: [thumbs, thumbs]", "grant:", "stands here twice"),
    "empty": ("grant: [thumbs]", "grant: ['']", "grant:", "grant[0]: workflow name"),
    "promote": ("grant: [thumbs]", "grant: [x]", "promote:", '"thumbs" is not in grant'),
    "grants": ("grant: [thumbs]", "grants: [thumbs]", "grants:", 'unknown field "grants"'),
    "section": ("policy:", "workflows:", "\nworkflows:\n  control", "stands here and on line 2"),
    "yaml": ("- id: hourly", "- {id: hourly", "workflow: thumbs", ""),
    "steps": ("    steps:", "    steps: 7\n    stps:", "steps: 7", "expected an array"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_line(path: Path, case: str) -> None:
    old, new, marked, said = WRONG[case]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    path.write_text(text)
    with pytest.raises(InvalidError) as error:
        read_sections(path)
    at = text.rindex(marked) if case == "twice" else text.index(marked)
    line = text[:at].count("\n") + 1 + marked.startswith("\n")
    found = [problem for problem in error.value.problems if said in problem]
    assert found, error.value.problems
    assert found[0].startswith(f"{path}:{line}:"), (line, found)
    assert all(problem.startswith(f"{path}:") for problem in error.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "workflows: 7",
        "triggers: {a: 1}",
        "workflows: [1, 2]",
        "triggers: [null]",
        "policy: []",
        "workflows: [{name: a, steps: [{id: x, task: 2020-01-01}]}]",
        "triggers: [{id: 1}]",
        "workflows: [{name: a, triggers: 7}]",
        "triggers: [{1: 2}]",
        "workflows: &a [*a]",
    ],
)
def test_odd_files_are_refused_not_fatal(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(InvalidError, match=r"dagnats\.yaml"):
        read_sections(path)


def test_a_file_has_a_bound(path: Path) -> None:
    many = "\n".join(f"  - {{name: w{n}, steps: [{{id: a, task: t}}]}}" for n in range(501))
    path.write_text(f"workflows:\n{many}\n")
    with pytest.raises(InvalidError, match="501 workflows and triggers"):
        read_sections(path)


@pytest.fixture
def session(stores: Stores) -> Session:
    return Session(stores.bus, stores, actor="serve")


async def test_it_is_applied_and_followed(
    session: Session, path: Path, monkeypatch, caplog
) -> None:
    caplog.set_level("INFO", "dagnats.config")
    monkeypatch.setattr(reload_room, "DEBOUNCE_MS", 50)
    stores = session.stores
    other = TriggerDef(id="api", workflow_id="x", webhook=WebhookTrigger(path="/hooks/x"))
    await stores.triggers.put("api", other)
    context = Context(Settings(data_dir=path.parent), session, ("127.0.0.1", 0), path)
    room = ReloadRoom(context)
    await room.start()
    try:
        assert sorted(await stores.triggers.keys()) == ["api", "ask", "hook", "hourly", "inside"]
        assert await stores.definitions.keys() == ["thumbs"]
        policy = await stores.engine_control.get("policy")
        assert policy is not None
        assert decode(policy.value, Policy).control_plane.grant == ["thumbs"]
        before = await stores.triggers.get("hourly")

        def replace(text: str) -> None:
            new = path.with_suffix(".new")
            new.write_text(text)
            new.rename(path)  # as editors do

        # Touched, or refused: nothing changes.
        os.utime(path)
        replace(GOOD.replace("name: thumbs", "nam: thumbs"))

        async def refused() -> bool:
            return any("refused" in record.message for record in caplog.records)

        await eventually(refused)
        assert sorted(await stores.triggers.keys()) == ["api", "ask", "hook", "hourly", "inside"]
        # Changed: what is not there any more goes, workflows stay.
        end = GOOD.index("  - id: hook")
        replace(GOOD[:end].replace("0 * * * *", "5 * * * *").replace("timeout: 30m", "timeout: 1m"))

        async def applied() -> bool:
            return sorted(await stores.triggers.keys()) == ["api", "hourly", "inside"]

        await eventually(applied)
        after = await stores.triggers.get("hourly")
        assert before is not None
        assert after is not None
        assert after.value.cron is not None
        assert after.value.cron.expression == "5 * * * *"

        async def withdrawn() -> bool:
            return await stores.engine_control.get("policy") is None

        await eventually(withdrawn)
        found = await stores.definitions.get("thumbs")
        assert found is not None
        assert found.value.timeout == 60 * SECOND
        replace("nats_port: 4222\n")

        async def gone() -> bool:
            return await stores.triggers.keys() == ["api"]

        await eventually(gone)
        assert await stores.definitions.keys() == ["thumbs"]
    finally:
        await room.stop()


async def test_two_servers_with_one_file_write_once(session: Session, path: Path) -> None:
    context = Context(Settings(data_dir=path.parent), session, ("127.0.0.1", 0), path)
    rooms = [ReloadRoom(context), ReloadRoom(context)]
    for room in rooms:
        await room.start()
    await asyncio.gather(*(room.stop() for room in rooms))
    state = await session.stores.triggers.state()
    assert state == (4, 4)


async def test_what_belongs_to_others_is_refused(session: Session, path: Path, caplog) -> None:
    mine = TriggerDef(id="hourly", workflow_id="x", webhook=WebhookTrigger(path="/hooks/mine"))
    await session.stores.triggers.put("hourly", mine)
    context = Context(Settings(data_dir=path.parent), session, ("127.0.0.1", 0), path)
    room = ReloadRoom(context)
    await room.start()
    await room.stop()
    told = [record.about["problem"] for record in caplog.records]
    assert told == ['trigger "hourly" exists and was made by the command line or the API']
    assert await session.stores.definitions.keys() == []


def test_a_dry_run_checks_the_file(path: Path) -> None:
    from dagnats.server.config import load
    from dagnats.server.dryrun import examine

    flags = {"data_dir": str(path.parent / "data")}
    found = examine(load(path, {}, flags), must_have_ports=False)
    assert any(finding.note == "1 workflow(s), 4 trigger(s)" for finding in found)
    path.write_text(GOOD.replace("task: img.save", "tusk: img.save"))
    found = examine(load(path, {}, flags), must_have_ports=False)
    problems = [f.problem for f in found if f.check == "workflows and triggers"]
    assert 'unknown field "tusk"' in problems[0]
