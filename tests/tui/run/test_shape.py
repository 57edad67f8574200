"""The rail says who waits for whom, and nothing else; what is alike is folded."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.services.run_query import RunView
from dagnats.tui.run.shape import Node, Rung, Shape, lay_rail, ordered, shape_of

Edges = dict[str, list[str]]


def view_of(parents: Edges, **more: StepDef) -> RunView:
    steps = [
        more.get(step, StepDef(id=step, task="t", depends_on=of)) for step, of in parents.items()
    ]
    run = WorkflowRun(run_id="r", steps={step: StepState() for step in parents})
    return RunView(run, WorkflowDef(name="w", steps=steps))


def drawn(shape: Shape) -> list[str]:
    lines: list[str] = []
    for node, rung in zip(shape.nodes, shape.rungs, strict=True):
        cells = f"{rung.cells[: rung.column]}o{rung.cells[rung.column + 1 :]}"
        lines.append(f"{cells.ljust(shape.width)} {node.id}")
    return lines


def test_a_pipeline_with_branches() -> None:
    parents: Edges = {
        "plan": [],
        "code": ["plan"],
        "lint": ["code"],
        "unit": ["code"],
        "types": ["code"],
        "e2e": ["unit"],
        "review": ["lint", "types", "e2e"],
        "fix": ["review"],
        "notify": ["review"],
        "merge": ["fix", "notify"],
    }
    assert drawn(shape_of(view_of(parents), 8)) == [
        "o     plan",
        "o─┬─╮ code",
        "o │ │ lint",
        "│ o │ unit",
        "├─│─o types",
        "├─o   e2e",
        "o─╮   review",
        "o │   fix",
        "├─o   notify",
        "o     merge",
    ]


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    size = draw(st.integers(1, 12))
    return {
        f"s{at}": [f"s{up}" for up in sorted(draw(st.sets(st.integers(0, at - 1))))] if at else []
        for at in range(size)
    }


def traced(rungs: list[Rung]) -> set[tuple[int, int]]:
    """The edges as an eye finds them: from a node along its row, then down to the next node."""
    found: set[tuple[int, int]] = set()
    for index, rung in enumerate(rungs):
        ends = {at for at, char in enumerate(rung.cells) if char in "├┤┼╮╭┬"}
        if rung.below[rung.column : rung.column + 1] == "│":
            ends.add(rung.column)
        for end in ends:
            for other in range(index + 1, len(rungs)):
                if rungs[other].column == end:
                    found.add((index, other))
                    break
    return found


@given(graphs())
def test_the_rail_shows_every_edge_and_no_other(parents: Edges) -> None:
    nodes = [Node(step) for step in ordered(parents, {})]
    place = {node.id: index for index, node in enumerate(nodes)}
    rungs = list(lay_rail(nodes, parents, 20))
    expected = {(place[parent], place[step]) for step, of in parents.items() for parent in of}
    assert traced(rungs) == expected


@given(graphs(), st.integers(1, 3))
def test_a_narrow_rail_stays_narrow(parents: Edges, most: int) -> None:
    shape = shape_of(view_of(parents), most)
    assert shape.width <= 2 * most + 1
    assert all(len(rung.cells) > rung.column for rung in shape.rungs)


@given(graphs())
def test_parents_come_first_and_nobody_is_lost(parents: Edges) -> None:
    order = ordered(parents, {})
    assert sorted(order) == sorted(parents)
    assert all(order.index(up) < order.index(step) for step, of in parents.items() for up in of)


def test_a_cycle_loses_nobody() -> None:
    shape = shape_of(view_of({"a": ["b"], "b": ["a"], "c": ["b"], "d": []}), 4)
    assert {node.id for node in shape.nodes} == {"a", "b", "c", "d"}


def test_a_fan_of_a_thousand_is_three_rows() -> None:
    wide = {f"w{at}": ["a"] for at in range(1000)}
    shape = shape_of(view_of({"a": [], **wide, "z": list(wide)}), 8)
    assert [(node.id, len(node.members)) for node in shape.nodes] == [
        ("a", 0),
        ("w0", 1000),
        ("z", 0),
    ]
    assert shape.width == 1


def test_chains_beside_each_other_fold_level_by_level() -> None:
    chains: Edges = {"a": []}
    for at in range(20):
        chains |= {f"x{at}": ["a"], f"y{at}": [f"x{at}"]}
    shape = shape_of(view_of({**chains, "z": [f"y{at}" for at in range(20)]}), 8)
    assert [len(node.members) for node in shape.nodes] == [0, 20, 20, 0]


def test_steps_of_another_task_or_place_are_not_folded() -> None:
    wide = {f"w{at}": ["a"] for at in range(10)}
    odd = StepDef(id="w3", task="other", depends_on=["a"])
    shape = shape_of(view_of({"a": [], **wide, "z": [*wide][:-1]}, w3=odd), 8)
    assert {node.id for node in shape.nodes} >= {"w3", "w9"}


def test_rescuers_follow_their_owner() -> None:
    first = StepDef(id="a", task="t", on_failure="fix", compensate="undo")
    view = view_of({"a": [], "b": ["a"], "fix": [], "undo": []}, a=first)
    shape = shape_of(view, 8)
    assert [node.id for node in shape.nodes] == ["a", "fix", "undo", "b"]
    assert shape.rescuers == {"fix": "a", "undo": "a"}


def test_a_plan_stands_behind_its_planner() -> None:
    view = view_of({"p": [], "other": [], "z": ["p"]})
    made = [
        StepDef(id="p.x", task="t", depends_on=["p"]),
        StepDef(id="p.y", task="t", depends_on=["p.x"]),
    ]
    view.run.dynamic_steps = made
    view.run.steps |= {step.id: StepState() for step in made}
    assert [node.id for node in shape_of(view, 8).nodes] == ["p", "p.x", "p.y", "other", "z"]


def test_without_a_definition_the_steps_stand_alone() -> None:
    view = RunView(WorkflowRun(run_id="r", steps={"b": StepState(), "a": StepState()}))
    assert drawn(shape_of(view, 8)) == ["o a", "o b"]


def test_a_thousand_steps_take_no_time() -> None:
    parents = {f"s{at}": [f"s{at // 2}", f"s{at * 2 // 3}"] if at else [] for at in range(1000)}
    view = view_of(parents)
    began = time.perf_counter()
    shape = shape_of(view, 8)
    took = time.perf_counter() - began
    assert len(shape.nodes) > 100
    assert took < 0.5  # 25 ms on a quiet machine; this catches only disasters
