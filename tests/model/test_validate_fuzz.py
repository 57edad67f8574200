from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.codec import encode, raw
from dagnats.model.validate import validate
from dagnats.model.workflow import RateLimit, RetryPolicy, StepDef, WorkflowDef
from tests.model.test_validate import step, workflow

words = st.sampled_from(["", "a", "b", "c", ".", "a b", "input.x", "step.a.output.x", "*"])
numbers = st.integers(-2, 3) | st.sampled_from([10**30, -(10**30), 100_001])
configs = st.none() | st.dictionaries(
    st.sampled_from(["max_items", "duration", "event", "match", "timeout", "subject", "status"]),
    words | numbers | st.none() | st.just({"left": "a", "op": "eq", "right": "step."}),
)


@given(
    st.lists(
        st.builds(
            step,
            words,
            words,
            task=words,
            type=st.sampled_from(["normal", "map", "sleep", "approval", "respond", "planner", "?"])
            | st.just("wait_for_event"),
            config=configs.map(raw),
            retries=numbers,
            timeout=numbers,
            on_failure=words,
            compensate=words,
            retry=st.none() | st.builds(RetryPolicy, max_attempts=numbers, max_delay=numbers),
            rate_limit=st.none() | st.builds(RateLimit, limit=numbers, period=numbers),
        ),
        max_size=5,
    )
)
def test_no_definition_breaks_validation(steps: list[StepDef]) -> None:
    definition = workflow(*steps)
    problems = validate(definition)
    assert all(problem.text for problem in problems)
    assert validate(msgspec.json.decode(encode(definition), type=WorkflowDef)) == problems
