"""Attempts read from events: what waited, what ran, how it ended, and what was known when."""

from __future__ import annotations

from typing import Any

from dagnats.model.codec import raw
from dagnats.model.event import Event, EventType, OverridePayload
from dagnats.model.run import StepState
from dagnats.model.times import SECOND
from dagnats.services.run_events import RunEvent
from dagnats.tui.run.tracks import Attempt, Tracks, attempts_of
from tests.tui.run.stories import Story, flow, step

ASK = {"timeout": 60 * SECOND, "subject": "ask.someone"}


def tracks_of(story: Story, run_id: str = "r1") -> Tracks:
    tracks = Tracks()
    history = story.history(run_id)
    for event, at in zip(history.events, history.times, strict=True):
        tracks.add(event, at)
    return tracks


def seen(attempts: list[Attempt], story: Story) -> list[tuple[Any, ...]]:
    """Outcome, seconds queued, seconds run."""

    def seconds(span: int | None) -> float | None:
        return None if span is None else span / SECOND

    return [(one.outcome, seconds(one.waited), seconds(one.ran)) for one in attempts]


def test_an_attempt_waits_runs_and_completes() -> None:
    story = Story(flow("w", step("a")))
    story.start("w")
    story.sleep(2)
    story.work(3)
    track = tracks_of(story).steps["a"]
    assert seen(track.attempts, story) == [("completed", 2, 3)]
    assert track.attempts[0].worker == "w-1"


def test_retries_are_attempts_of_their_own() -> None:
    story = Story(flow("w", step("a", retry={"max_attempts": 2, "initial_delay": 5 * SECOND})))
    story.start("w")
    story.break_down(1, "first")
    story.sleep(5)
    story.sleep(2)
    story.break_down(1, "second")
    story.sleep(5)
    story.work(4)
    attempts = tracks_of(story).steps["a"].attempts
    assert seen(attempts, story) == [("failed", 0, 1), ("failed", 2, 1), ("completed", 0, 4)]
    assert [one.error for one in attempts] == ["first", "second", ""]
    assert [one.dispatch for one in attempts] == [1, 2, 3]


def test_what_later_events_tell_was_not_known_before() -> None:
    story = Story(flow("w", step("a")))
    story.start("w")
    story.work(3)
    track = tracks_of(story).steps["a"]
    known = [track.as_of(count) for count in range(5)]
    assert known[0] == known[1] == []
    assert [one.outcome for one in known[2]] == [""]
    assert known[2][0].started is None
    assert known[3][0].started is not None
    assert known[3][0].ended is None
    assert known[4][0].outcome == "completed"


def test_a_timeout_ends_an_attempt_and_the_late_result_does_not() -> None:
    retry = {"max_attempts": 1, "initial_delay": SECOND}
    story = Story(flow("w", step("a", timeout=2 * SECOND, retry=retry)))
    story.start("w")
    task = story.begin()
    story.sleep(2)
    story.sleep(1)
    story.report(task, EventType.STEP_COMPLETED, 1, worker_id="late")
    story.work(1)
    attempts = tracks_of(story).steps["a"].attempts
    assert [one.outcome for one in attempts] == ["timeout", "completed"]
    assert attempts[1].worker == "w-1"


def test_items_of_a_map_have_tracks_under_their_step() -> None:
    story = Story(
        flow("w", step("seed"), step("each", "seed", type="map", config={"max_items": 9}))
    )
    story.start("w")
    story.work(output=[1, 2, 3])
    for _ in range(3):
        story.work(2)
    tracks = tracks_of(story)
    assert set(tracks.steps) == {"seed", "each"}
    items = tracks.steps["each"].items
    assert [items[at].attempts[0].outcome for at in range(3)] == ["completed"] * 3
    attempts = attempts_of(tracks.steps["each"], story.state("each"), None)
    assert seen(list(attempts), story) == [("completed", None, 6)]


def test_a_loop_goes_on_iteration_by_iteration() -> None:
    story = Story(flow("w", step("act", type="agent_loop", config={"max_iterations": 5})))
    story.start("w")
    for _ in range(2):
        task = story.begin()
        story.sleep(1)
        story.report(task, EventType.STEP_CONTINUE, {})
        story.sleep(1)
    story.work(1)
    attempts = tracks_of(story).steps["act"].attempts
    assert seen(attempts, story) == [("continued", 0, 1), ("continued", 1, 1), ("completed", 1, 1)]


def test_sleeps_waits_and_approvals_begin_by_themselves() -> None:
    story = Story(
        flow(
            "w",
            step("nap", type="sleep", task="", config={"duration": 3 * SECOND}),
            step("ask", "nap", type="approval", task="", config=ASK),
        )
    )
    story.start("w")
    story.sleep(3)
    story.sleep(4)
    story.send(Event(type=EventType.APPROVAL_REJECTED, run_id="r1", step_id="ask"))
    tracks = tracks_of(story)
    assert seen(tracks.steps["nap"].attempts, story) == [("completed", None, 3)]
    assert [one.outcome for one in tracks.steps["ask"].attempts] == ["failed"]


def test_an_operator_shows_in_the_attempts() -> None:
    story = Story(flow("w", step("a"), step("b")))
    story.start("w")
    story.begin()
    story.sleep(1)
    again = OverridePayload(action="retry", reason="stuck", actor="ada")
    stop = OverridePayload(action="cancel", reason="not needed", actor="ada")
    override = EventType.STEP_OVERRIDE
    story.send(Event(type=override, run_id="r1", step_id="a", payload=raw(again)))
    story.send(Event(type=override, run_id="r1", step_id="b", payload=raw(stop)))
    tracks = tracks_of(story)
    assert [one.outcome for one in tracks.steps["a"].attempts] == ["retried", "cancelled"]
    last = tracks.steps["b"].last
    assert last is not None
    assert last.error == "cancel by ada: not needed"


def test_the_end_of_the_run_ends_what_was_under_way() -> None:
    story = Story(flow("w", step("a"), step("b")))
    story.start("w")
    story.begin()
    story.sleep(2)
    story.send(Event(type=EventType.WORKFLOW_CANCELLED, run_id="r1"))
    tracks = tracks_of(story)
    assert [track.attempts[0].outcome for track in tracks.steps.values()] == ["cancelled"] * 2


def test_a_replayed_step_waits_from_the_reopening_on() -> None:
    story = Story(flow("w", step("a")))
    story.start("w")
    story.break_down(1, "no", "non_retriable")
    story.sleep(10)
    story.send(Event(type=EventType.WORKFLOW_REOPENED, run_id="r1", step_id="a"))
    story.sleep(2)
    story.work(1)
    tracks = tracks_of(story)
    assert seen(tracks.steps["a"].attempts, story) == [("failed", 0, 1), ("completed", 2, 1)]
    assert len(tracks.failures) == 2


def test_without_events_the_snapshot_has_to_do() -> None:
    state = StepState(
        status="completed",
        queued_at="2026-01-01T00:00:00Z",
        started_at="2026-01-01T00:00:01Z",
        finished_at="2026-01-01T00:00:04Z",
        worker_id="w-9",
    )
    (one,) = attempts_of(None, state, None)
    assert (one.outcome, one.waited, one.ran, one.worker) == (
        "completed",
        SECOND,
        3 * SECOND,
        "w-9",
    )
    assert attempts_of(None, StepState(), None) == []


def test_events_nobody_can_read_do_no_harm() -> None:
    tracks = Tracks()
    for kind in EventType:
        tracks.add(RunEvent(type=kind.value, run_id="r", step_id="a", data='{"action":7', seq=1), 1)
        tracks.add(RunEvent(type=kind.value, run_id="r", step_id="a.map.x", timestamp="soon"), 2)
    tracks.add(RunEvent(type="something.new", run_id="r"), 3)
    assert tracks.count == 2 * len(EventType) + 1
