from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.graph import (
    ancestors,
    children_of,
    descendants,
    find_cycle,
    longest_depth,
    topological,
)

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
LOOP = {"a": [], "b": ["a", "d"], "c": ["b"], "d": ["c"], "e": ["d"]}
MANY = 10_000


def test_parents_stand_before_their_children() -> None:
    assert topological(DIAMOND) == ["a", "b", "c", "d"]


def test_steps_on_and_behind_a_cycle_are_left_out() -> None:
    assert topological(LOOP) == ["a"]


def test_a_cycle_is_named_in_the_order_of_its_steps() -> None:
    assert find_cycle(DIAMOND) == []
    cycle = find_cycle(LOOP)
    assert cycle[cycle.index("b") :] + cycle[: cycle.index("b")] == ["b", "c", "d"]
    assert find_cycle({"a": ["a"]}) == ["a"]


def test_relatives() -> None:
    assert children_of({"a": [], "b": ["a", "a", "ghost"]}) == {"a": ["b"], "b": []}
    assert ancestors(DIAMOND, "d") == {"a", "b", "c"}
    assert descendants(DIAMOND, "a") == {"b", "c", "d"}
    assert ancestors(DIAMOND, "a") == descendants(DIAMOND, "d") == set()


def test_depth_counts_the_steps_of_the_longest_chain() -> None:
    assert longest_depth(DIAMOND) == 3
    assert longest_depth({}) == 0
    assert longest_depth(LOOP) is None


def test_a_chain_of_ten_thousand_steps() -> None:
    chain = {f"s{index}": [f"s{index - 1}"] if index else [] for index in range(MANY)}
    assert longest_depth(chain) == MANY
    assert len(descendants(chain, "s0")) == len(ancestors(chain, f"s{MANY - 1}")) == MANY - 1
    assert len(find_cycle(chain | {"s0": [f"s{MANY - 1}"]})) == MANY


def test_a_fan_of_ten_thousand_steps() -> None:
    middle = [f"m{index}" for index in range(MANY)]
    fan = {"start": [], **{step: ["start"] for step in middle}, "end": middle}
    assert topological(fan)[0] == "start"
    assert topological(fan)[-1] == "end"


@given(
    st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=10).map(
        lambda rows: {str(index): [str(parent) for parent in row] for index, row in enumerate(rows)}
    )
)
def test_an_order_is_sound_and_a_cycle_is_one(parents: dict[str, list[str]]) -> None:
    order = topological(parents)
    position = {step: index for index, step in enumerate(order)}
    for step in order:
        assert all(position[up] < position[step] for up in parents[step] if up in parents)
    cycle = find_cycle(parents)
    assert bool(cycle) == (len(order) < len(parents))
    for step, child in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        assert step in parents[child]
