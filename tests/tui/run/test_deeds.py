"""What can be done from the screen of a run: each key does what the command it names does."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from typing import Any

import pytest
from textual.widgets import TextArea

from dagnats.model.times import SECOND
from dagnats.server.embedded import EmbeddedServer
from dagnats.services.dlq import list_dead
from dagnats.services.run_query import RunQuery, find_run, list_runs
from dagnats.services.run_watch import wait_run
from dagnats.services.session import Session
from dagnats.tui import clipboard
from tests.cli.runner import cli
from tests.conftest import eventually
from tests.services.conftest import step
from tests.tui.run.conftest import Run, waits

pytestmark = pytest.mark.usefixtures("engine", "worker")
IDLE = step("idle", task="nobody")
ASK = step("ask", type="approval", task="", config={"timeout": 3600 * SECOND, "subject": "ask.who"})
FAILING = (step("a"), step("b", "a", task="bad"), step("c", "b"))


async def write(ui: Any, text: str, has: str = "") -> None:
    """Replace what stands in the editor, which holds ``has``, and take it."""
    await ui.until(lambda: ui.app.screen.query(TextArea))
    area = ui.app.screen.query_one(TextArea)
    assert has in area.text
    area.text = text
    await ui.press("ctrl+g")


async def newest(session: Session) -> Any:
    return (await list_runs(session, RunQuery(limit=1))).runs[0]


async def test_a_run_is_retried_and_that_is_taken_back(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", IDLE, end=False)
    await waits(session, run_id, "idle", "queued")
    async with console(f"run {run_id}") as ui:
        await ui.press("r", "r")
        await ui.sees("same as: dagnats run retry")
        await ui.press("enter")
        await ui.sees("this is the new run")
        new = ui.app.view.state.run_id
        await waits(session, new, "idle", "queued")
        assert (await find_run(session, new)).origin_run_id == run_id
        await ui.sees(f"rerun of {run_id[:8]}")
        await ui.press("u")
        await ui.sees(f"cancelled {new[:8]}")
        assert (await find_run(session, new)).status == "cancelled"
        await ui.press("backspace")
        await ui.sees(f"{run_id[:8]} running")


async def test_a_run_is_retried_with_another_input(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", step("a"), given={"n": 1, "keep": True})
    async with console(f"run {run_id}") as ui:
        await ui.press("r", "e")
        await write(ui, '{"n": }', has='"keep": true')
        await ui.sees("not JSON")
        await write(ui, '{"n": 2, "keep": true}')
        await ui.sees("n  1 → 2")
        await ui.press("enter")
        await ui.sees("this is the new run")
        new = await wait_run(session, ui.app.view.state.run_id, 10)
        assert json.loads(bytes(new.input)) == {"n": 2, "keep": True}


async def test_a_rerun_shows_its_plan_first(
    console: Any, started: Run, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    monkeypatch.setattr(clipboard, "copy", lambda text, by: copied.append(text) or "a test")
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}") as ui:
        await ui.press("r", "f")
        await ui.sees("Runs again: 2 steps")
        await ui.sees("Taken over: 1 step")
        await ui.press("escape")
        assert (await newest(session)).run_id == run_id
        await ui.press("r", "f")
        await ui.sees(f"same as: dagnats run rerun {run_id} --from b")
        await ui.press("y")
        await ui.sees("the command is copied")
        assert copied == [f"dagnats run rerun {run_id} --from b"]
        await ui.press("enter")
        await ui.sees("this is the new run")
        new = await wait_run(session, ui.app.view.state.run_id, 10)
        assert new.steps["a"].status == "completed"
        assert new.steps["a"].attempts == 0


async def test_a_rerun_takes_another_input(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id} step:a") as ui:
        await ui.press("r", "F")
        await write(ui, '{"n": 5}')
        await ui.sees("n  1 → 5")
        await ui.press("enter")
        await ui.sees("this is the new run")
        new = await wait_run(session, ui.app.view.state.run_id, 10)
        assert json.loads(bytes(new.input)) == {"n": 5}


async def test_a_dead_letter_is_replayed_with_another_input(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}") as ui:
        await ui.until(lambda: ui.app.view.state.dead)
        await ui.press("r", "D")
        await write(ui, '{"healed": true}')
        await ui.sees("same as: dagnats dlq replay 1")
        await ui.press("enter")
        await ui.sees("replayed #1")
        await ui.sees("completed   w v1")
        assert (await list_dead(session)).entries == []
        await ui.sees("replayed 1 time")


async def test_a_dead_letter_is_replayed_as_it_is(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}") as ui:
        await ui.until(lambda: ui.app.view.state.dead)
        await ui.press("r", "d")
        await ui.sees("Replay dead letter #1")
        await ui.press("enter")
        await ui.sees("replayed #1")

        async def dead_again() -> bool:
            return [letter.sequence for letter in (await list_dead(session)).entries] == [2]

        await eventually(dead_again)
        await ui.until(lambda: [each.sequence for each in ui.app.view.state.dead] == [2])


async def test_a_signal_is_sent(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", IDLE, end=False)
    await waits(session, run_id, "idle", "queued")
    async with console(f"run {run_id}") as ui:
        await ui.press("i")
        await ui.sees("name")
        await ui.type("go-on")
        await ui.press("enter")
        await write(ui, '{"by": "ada"}')
        await ui.sees("signal go-on sent")
    entry = await session.stores.signals.get(f"{run_id}.go-on")
    assert entry is not None
    assert json.loads(entry.value) == {"by": "ada"}


COMMANDS = {
    "cancel": (IDLE, ("c", "enter")),
    "complete": (IDLE, ("s", "c", ("edit", '{"by": "hand"}'), ("type", "why not"), "enter")),
    "fail": (IDLE, ("s", "f", ("type", "why not"), "enter")),
    "skip": (IDLE, ("s", "s", ("type", "why not"), "enter")),
    "retry": (IDLE, ("s", "r", ("type", "why not"), "enter")),
    "giveup": (IDLE, ("s", "x", ("type", "why not"), "enter")),
    "approve": (ASK, ("a", "a", "enter")),
    "approve-output": (ASK, ("a", "o", ("edit", '{"ok": 1}'), "enter")),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_key_does_what_the_command_it_names_does(
    console: Any, started: Run, session: Session, nats_server: EmbeddedServer, name: str
) -> None:
    first, keys = COMMANDS[name]
    status = "running" if first is ASK else "queued"
    by_key = await started("w", first, step("z", first["id"]), end=False)
    by_command = await started("w", end=False)
    await waits(session, by_key, first["id"], status)
    await waits(session, by_command, first["id"], status)
    async with console(f"run {by_key}") as ui:
        for key in keys[:-1]:
            await pressed(ui, key)
        await ui.sees("same as:")
        plan = ui.app.screen.plan
        await ui.press(keys[-1])
        await ui.until(lambda: ui.app.reports.last[0])
        assert ui.app.reports.last[1] == "ok", ui.app.reports.last
    words = plan.command.replace(by_key, by_command).split(" ", 1)[1]
    env = {"DAGNATS_NATS_URL": nats_server.url}
    done = await asyncio.to_thread(cli, *shlex.split(words), env=env)
    assert done.code == 0, done.err

    async def same() -> bool:
        runs = [await find_run(session, run_id) for run_id in (by_key, by_command)]
        return plain(runs[0]) == plain(runs[1])

    await eventually(same)


async def pressed(ui: Any, key: Any) -> None:
    if isinstance(key, str):
        await ui.press(key)
    elif key[0] == "edit":
        await write(ui, key[1])
    else:
        await ui.until(lambda: ui.app.screen.query("#answer"))
        await ui.type(key[1])
        await ui.press("enter")


def plain(run: Any) -> list[Any]:
    """What two runs of a kind have in common."""
    actor = re.compile(r"by \S+:")
    return [
        run.status,
        actor.sub("by X:", run.error),
        [
            (key, step.status, step.output, step.attempts, actor.sub("by X:", step.error))
            for key, step in sorted(run.steps.items())
        ],
    ]


async def test_an_approval_is_rejected(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", ASK, end=False)
    await waits(session, run_id, "ask")
    async with console(f"run {run_id}") as ui:
        await ui.press("a", "r")
        await ui.sees("Reject step ask")
        await ui.type("not today")
        await ui.press("enter")
        await ui.sees("rejected ask")
        ended = await wait_run(session, run_id, 10)
        assert "not today" in ended.error
        await ui.sees("DLQ #1")  # Now the screen knows as well.
        await ui.press("a")
        await ui.sees("nothing waits for approval")


async def test_what_cannot_be_done_says_why(console: Any, started: Run) -> None:
    run_id = await started("w", step("a"))
    async with console(f"run {run_id}") as ui:
        await ui.press("c")
        await ui.sees("the run has ended (completed)")
        await ui.press("s")
        await ui.sees("the run has ended")
        await ui.press("r", "d")
        await ui.sees("nothing is dead here")
        await ui.press("g", "r", "f")
        await ui.sees("choose a step first")
        await ui.press("{")
        await ui.sees("no failure before")


async def test_read_only_changes_nothing(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", IDLE, end=False)
    await waits(session, run_id, "idle", "queued")
    async with console(f"run {run_id}", read_only="read-only: --read-only") as ui:
        for keys in (("c",), ("i",), ("r", "r"), ("s", "f")):
            await ui.press(*keys)
            await ui.sees("read-only: --read-only")
            assert not ui.app.screen.query("#box")
    assert (await find_run(session, run_id)).status == "running"


async def test_nothing_happens_when_a_dialog_is_left(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", IDLE, ASK, end=False)
    await waits(session, run_id, "ask")
    async with console(f"run {run_id} step:idle") as ui:
        for keys in (("c",), ("i",), ("r", "r"), ("r", "e"), ("a", "a"), ("a", "o"), ("a", "r")):
            await ui.press(*keys)
            await ui.until(lambda: ui.app.screen.query("#box"))
            await ui.press("escape")
            await ui.until(lambda: not ui.app.screen.query("#box"))
        for key in "cfsrx":
            await ui.press("s", key)
            await ui.until(lambda: ui.app.screen.query("#box"))
            await ui.press("escape")
            await ui.until(lambda: not ui.app.screen.query("#box"))
    run = await find_run(session, run_id)
    assert (run.steps["idle"].status, run.steps["ask"].status) == ("queued", "running")
    assert len((await list_runs(session, RunQuery())).runs) == 1
