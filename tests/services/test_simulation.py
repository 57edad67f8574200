"""A workflow played offline: what happens, in what order, when."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.errors import InvalidError, RefusedError, UsageError
from dagnats.model.codec import decode, encode
from dagnats.model.times import MINUTE, SECOND
from dagnats.model.workflow import WorkflowDef
from dagnats.services.simulation import ALWAYS, Scenario, Simulation, simulate
from dagnats.services.timeline import BUSY, WAITING, Span


def step(id: str, *after: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "task": id, "depends_on": list(after)} | more


def play(*steps: dict[str, Any], **scenario: Any) -> Simulation:
    definition = decode(encode({"name": "w", "version": "1", "steps": steps}), WorkflowDef)
    return simulate(definition, Scenario(**scenario))


def when(found: Simulation) -> dict[str, tuple[int, int]]:
    return {row.step: (row.begin // SECOND, row.end // SECOND) for row in found.steps}


def test_steps_come_in_the_order_in_which_they_begin_and_take_their_time() -> None:
    found = play(
        step("c", "b"),
        step("b", "a"),
        step("a"),
        durations={"a": 2 * SECOND, "b": 3 * SECOND},
    )
    assert [row.step for row in found.steps] == ["a", "b", "c"]
    assert when(found) == {"a": (0, 2), "b": (2, 5), "c": (5, 5)}
    assert (found.completed, found.took, bytes(found.outputs or b"")) == (True, 5 * SECOND, b"{}")


def test_failures_are_retried_as_the_engine_does() -> None:
    retry = {"max_attempts": 2, "strategy": "fixed", "initial_delay": MINUTE}
    found = play(step("a", retry=retry), failures={"a": 1}, durations={"a": SECOND})
    (row,) = found.steps
    assert (row.status, row.attempts, found.took) == ("completed", 2, 62 * SECOND)
    assert row.spans == [
        Span(0, SECOND, BUSY),
        Span(SECOND, 61 * SECOND, WAITING),
        Span(61 * SECOND, 62 * SECOND, BUSY),
    ]
    found = play(step("a", retry=retry), failures={"a": ALWAYS})
    assert (found.status, found.error, found.dead_letters) == ("failed", "simulated failure", ["a"])


def test_outputs_decide_what_is_skipped_and_how_wide_a_map_is() -> None:
    skip = {"step_id": "a", "field": "stop", "op": "==", "value": True}
    found = play(
        step("a"),
        step("b", "a", skip_if=skip),
        step("l", "a"),
        step("m", "l", type="map", config={"max_items": 9, "max_concurrency": 1}),
        outputs={"a": b'{"stop":true}', "l": b"[1,2,3,4]", "m.map.2": b"5"},
        durations={"m": SECOND},
    )
    status = {row.step: row.status for row in found.steps}
    assert status == {"a": "completed", "l": "completed", "m": "completed", "b": "skipped"}
    assert found.took == 4 * SECOND
    assert bytes(found.outputs or b"") == b'{"b":null,"m":[{},{},5,{}]}'


def test_people_events_loops_and_children_are_played() -> None:
    match = {"left": "id", "op": "==", "right": "input.id"}
    steps = (
        step("ask", type="approval", task="", config={"timeout": MINUTE, "subject": "a.b"}),
        step(
            "paid",
            "ask",
            type="wait_for_event",
            task="",
            config={"event": "p", "timeout": MINUTE, "match": match},
        ),
        step("loop", "paid", type="agent_loop", config={"max_iterations": 9, "loop_delay": SECOND}),
        step("sub", "loop", type="sub_workflow", task="", config={"workflow": "kid"}),
    )
    found = play(
        *steps,
        input=b'{"id":1}',
        durations={"ask": 5 * SECOND, "paid": 6 * SECOND, "sub": 7 * SECOND},
        loops={"loop": 3},
        outputs={"sub": b"42"},
    )
    assert when(found) == {"ask": (0, 5), "paid": (5, 11), "loop": (11, 14), "sub": (14, 21)}
    assert bytes(found.outputs or b"") == b"42"
    late = play(*steps, input=b'{"id":1}', failures={"paid": ALWAYS})
    assert when(late)["paid"] == (0, 60)
    refused = play(*steps, input=b'{"id":1}', failures={"ask": ALWAYS})
    assert refused.error == "approval rejected"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match='no step "x"'):
        play(step("a"), failures={"x": 1})
    endless = {"max_attempts": 100_000, "initial_delay": SECOND}
    with pytest.raises(RefusedError, match="has not ended"):
        play(step("a", retry=endless), failures={"a": ALWAYS})
    definition = WorkflowDef(name="w", input_schema=encode_raw({"type": "object"}))
    with pytest.raises(InvalidError, match="input validation"):
        simulate(definition, Scenario(input=b"5"))


def encode_raw(value: Any) -> Any:
    from dagnats.model.codec import raw

    return raw(value)
