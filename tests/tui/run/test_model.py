"""The rows of a run: what each says at any moment."""

from __future__ import annotations

import time
from typing import cast

from dagnats.model.codec import raw
from dagnats.model.event import Event, EventType
from dagnats.model.times import SECOND
from dagnats.services.run_query import RunView
from dagnats.services.session import Session
from dagnats.tui.run.model import Moment, Row, build_rows, common_name, critical_path
from dagnats.tui.run.shape import shape_of
from dagnats.tui.run.tracks import Attempt, Mark, Tracks
from tests.tui.run.stories import Story, flow, step
from tests.tui.run.test_tracks import ASK, tracks_of

NO_SESSION = cast("Session", None)


def rows_of(story: Story, *opened: str) -> dict[str, Row]:
    view = story.view()
    rows = build_rows(Moment(view), shape_of(view, 8), tracks_of(story), frozenset(opened))
    return {row.key: row for row in rows}


def said(rows: dict[str, Row]) -> dict[str, tuple[str, str, str]]:
    return {key: (row.status, row.extra, row.note) for key, row in rows.items()}


def test_every_state_has_its_word() -> None:
    story = Story(
        flow(
            "w",
            step("done"),
            step("shaky", retry={"max_attempts": 2, "initial_delay": 9 * SECOND}),
            step("nap", type="sleep", task="", config={"duration": 60 * SECOND}),
            step("ask", type="approval", task="", config=ASK),
            step("queued"),
            step("last", "done", "shaky", "nap"),
        )
    )
    story.start("w")
    story.work(of="done")
    story.break_down(of="shaky")
    assert said(rows_of(story)) == {
        "": ("running", "", ""),
        "done": ("completed", "", ""),
        "shaky": ("retrying", "", "retries"),
        "nap": ("sleeping", "", "wakes"),
        "ask": ("waiting", "", "asks approval"),
        "queued": ("queued", "", ""),
        "last": ("pending", "", "waits shaky +1"),
    }
    story.sleep(9)
    assert said(rows_of(story))["shaky"] == ("queued", "x2", "")
    story.send(Event(type=EventType.WORKFLOW_CANCELLED, run_id="r1"))
    found = said(rows_of(story))
    assert found["queued"] == ("cancelled", "", "")
    assert found["last"][0] == "cancelled"


def test_a_failed_run_says_what_was_not_reached() -> None:
    story = Story(flow("w", step("a"), step("b", "a"), step("fix", "a")))
    story.start("w")
    story.break_down(kind="non_retriable")
    assert said(rows_of(story))["b"] == ("pending", "", "not reached")


def test_a_rescuer_says_when_it_runs() -> None:
    story = Story(flow("w", step("a", on_failure="fix"), step("fix")))
    story.start("w")
    assert said(rows_of(story))["fix"] == ("pending", "", "if a fails")
    story.break_down(kind="non_retriable")
    story.work()
    assert said(rows_of(story))["a"][0] == "recovered"


def test_a_map_counts_its_items_and_opens() -> None:
    each = step("each", "seed", type="map", config={"max_items": 9})
    story = Story(flow("w", step("seed"), each))
    story.start("w")
    story.work(output=[1, 2, 3])
    story.work(2)
    rows = rows_of(story)
    assert (rows["each"].extra, rows["each"].opens, len(rows["each"].crowd)) == ("1/3", True, 3)
    opened = rows_of(story, "each")
    assert list(opened) == ["", "seed", "each", "each.map.0", "each.map.1", "each.map.2"]
    assert [opened[f"each.map.{at}"].status for at in range(2)] == ["completed", "queued"]
    assert opened["each.map.0"].under


def test_a_loop_counts_its_iterations() -> None:
    story = Story(flow("w", step("act", type="agent_loop", config={"max_iterations": 5})))
    story.start("w")
    story.report(story.begin(), EventType.STEP_CONTINUE, {})
    assert said(rows_of(story))["act"] == ("queued", "r1", "")


def test_a_child_run_is_named() -> None:
    story = Story(
        flow("w", step("sub", type="sub_workflow", task="", config={"workflow": "in"})),
        flow("in", step("x")),
    )
    story.start("w")
    child = story.state("sub").child_run_id
    assert said(rows_of(story))["sub"] == ("running", "", f"child {child[:8]}")


def fan(width: int) -> Story:
    names = [f"w{at}" for at in range(width)]
    wide = [step(name, "a") for name in names]
    story = Story(flow("w", step("a"), *wide, step("z", *names)))
    story.start("w")
    story.work(of="a")
    return story


def test_a_fan_out_is_one_row_that_opens() -> None:
    story = fan(20)
    for _ in range(5):
        story.work(0.1)
    story.begin()
    rows = rows_of(story)
    assert list(rows) == ["", "a", "fold:w0", "z"]
    row = rows["fold:w0"]
    assert (row.name, row.status, row.extra) == ("w*", "running", "5/20")
    assert row.note == "1 running  14 queued"
    assert len(rows_of(story, "fold:w0")) == 24


def test_the_critical_path_leads_back_from_the_last_to_end() -> None:
    def ended(at: int) -> list[Attempt]:
        return [Attempt(started=Mark(0), ended=Mark(at))]

    parents = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["a"]}
    times = {"a": ended(1), "b": ended(5), "c": ended(7), "d": ended(9), "e": ended(8)}
    assert critical_path(parents, times) == {"a", "c", "d"}
    assert critical_path(parents, {**times, "e": [Attempt(started=Mark(0))]}) == {"a", "e"}
    assert critical_path(parents, {}) == set()


def test_names_of_a_group() -> None:
    assert common_name(["w0", "w1", "w12"]) == "w*"
    assert common_name(["shard-08", "shard-09"]) == "shard-*"
    assert common_name(["alpha", "beta"]) == "alpha …"


async def test_the_past_shows_what_was_known_then() -> None:
    story = Story(flow("w", step("a"), step("b", "a")))
    story.start("w")
    story.work(2)
    story.work(3)
    history, view = story.history(), story.view()
    await history.begin(NO_SESSION)
    shape, tracks = shape_of(view, 8), tracks_of(story)
    words: list[list[str]] = []
    for count in range(1, len(history.events) + 1):
        moment = Moment(RunView(history.at(count), view.definition), count)
        words.append([row.status for row in build_rows(moment, shape, tracks)])
    assert words[0] == ["running", "queued", "pending"]
    assert words[2] == ["running", "running", "pending"]
    assert words[-1] == ["completed", "completed", "completed"]


def test_what_a_planner_adds_is_shown() -> None:
    config = {"max_steps": 5}
    story = Story(flow("w", step("p", type="planner", config=config), step("z", "p")))
    story.start("w")
    task = story.begin()
    plan = {"steps": [step("x"), step("y", "x")]}
    story.report(task, EventType.STEP_COMPLETED, plan)
    assert list(rows_of(story)) == ["", "p", "p.x", "p.y", "z"]
    assert raw(plan)


def test_a_thousand_steps_take_no_time() -> None:
    story = fan(1000)
    for _ in range(1000):
        story.work(0.001)
    view, tracks = story.view(), tracks_of(story)
    shape = shape_of(view, 8)
    began = time.perf_counter()
    rows = build_rows(Moment(view), shape, tracks, frozenset({"fold:w0"}))
    assert len(rows) == 1004
    assert time.perf_counter() - began < 0.5  # 10 ms on a quiet machine


def test_nothing_is_lost_without_events() -> None:
    story = fan(10)
    view = story.view()
    rows = build_rows(Moment(view), shape_of(view, 8), Tracks())
    assert [row.status for row in rows] == ["running", "completed", "queued", "pending"]
    assert rows[1].began is not None
