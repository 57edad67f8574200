"""The past of a run: any moment of it, in any order, as the machine knew it."""

from __future__ import annotations

from typing import cast

import pytest
from msgspec import structs

from dagnats.engine.fold import fold
from dagnats.errors import NotFoundError
from dagnats.model.codec import encode
from dagnats.model.event import Event
from dagnats.model.times import format_time
from dagnats.services import run_history
from dagnats.services.session import Session
from dagnats.wire.readers import StoredEvent
from tests.tui.run.stories import Story, flow, step

NO_SESSION = cast("Session", None)
"""The start of these runs carries the definition, so nothing is asked of a server."""


def busy_story() -> Story:
    """A map over many items, a retry, a child: more than one saved state's worth of events."""
    story = Story(
        flow(
            "w",
            step("seed"),
            step("each", "seed", type="map", config={"max_items": 100}),
            step("shaky", "each", retry={"max_attempts": 1, "initial_delay": 10**9}),
            step("child", "shaky", type="sub_workflow", task="", config={"workflow": "inner"}),
        ),
        flow("inner", step("only")),
    )
    story.start("w")
    story.work(output=list(range(40)))
    for _ in range(40):
        story.work(0.1, output=1)
    story.break_down()
    story.sleep(1)
    story.work()
    story.work()
    return story


async def test_every_moment_is_what_a_fold_from_the_start_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_history, "SPACING", 16)
    story = busy_story()
    history, log = story.history(), story.stored()
    await history.begin(NO_SESSION)
    places = [len(log), 1, 50, 49, 17, 90, 91, 3, len(log)]
    for count in places:
        expected = encode(fold(story.defs["w"], log, log[count - 1].seq))
        assert encode(history.at(count)) == expected, count


async def test_saved_states_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_history, "SPACING", 2)
    monkeypatch.setattr(run_history, "MAX_SAVED", 8)
    story = busy_story()
    history, log = story.history(), story.stored()
    await history.begin(NO_SESSION)
    history.at(len(log))
    assert len(history._saved) <= 9
    assert encode(history.at(30)) == encode(fold(story.defs["w"], log, log[29].seq))


async def test_a_run_that_waited_for_its_slot_was_pending_and_then_ran() -> None:
    story = Story(flow("w", step("a"), concurrency={"max_runs": 1}))
    story.start("w", run_id="first")
    story.start("w", run_id="second")
    story.work()
    story.work()
    history = story.history("second")
    await history.begin(NO_SESSION)
    assert [history.at(n).status for n in (1, 2, 3)] == ["pending", "pending", "running"]
    assert history.at(len(history.events)).status == "completed"


async def test_what_comes_later_can_change_what_was_known() -> None:
    story = Story(flow("w", step("a"), concurrency={"max_runs": 1}))
    story.start("w", run_id="first")
    story.start("w", run_id="second")
    history = story.history("second")
    await history.begin(NO_SESSION)
    history.at(1)
    story.work()
    for stored in story.stored("second")[1:]:
        history.add(stored)
    assert history.at(1).status == "pending"


async def test_a_history_without_its_beginning_has_no_past() -> None:
    story = busy_story()
    history = run_history.RunHistory("r1")
    with pytest.raises(NotFoundError, match="beginning of run"):
        await history.begin(NO_SESSION)
    for stored in story.stored()[3:]:
        history.add(stored)
    with pytest.raises(NotFoundError, match="beginning of run"):
        await history.begin(NO_SESSION)


async def test_the_events_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_history, "MAX_EVENTS", 10)
    story = busy_story()
    history = story.history()
    assert (len(history.events), history.beyond) == (10, len(story.stored()) - 10)
    await history.begin(NO_SESSION)
    assert history.at(10_000).applied_seq == story.stored()[9].seq


def test_a_child_that_could_start_does_so_in_the_fold_as_well() -> None:
    story = busy_story()
    folded = fold(story.defs["w"], story.stored())
    assert folded.status == "completed"
    assert folded.steps["child"].child_run_id


async def test_a_recording_goes_by_the_times_that_the_events_carry() -> None:
    story = busy_story()
    history = run_history.RunHistory("r1", own_times=True)
    later = 10**18
    for stored in story.stored():
        history.add(StoredEvent(stored.seq, later, _stamped(stored.event, stored.timestamp_ns)))
    await history.begin(NO_SESSION)
    assert history.times == [stored.timestamp_ns for stored in story.stored()]
    then = history.at(len(history.events))
    assert then.steps["shaky"].finished_at == story.state("shaky").finished_at


def _stamped(event: Event, at: int) -> Event:
    return structs.replace(event, timestamp=format_time(at))
