"""The shape of a run: its steps in order, large fan-outs folded, and the rail beside them.

The rail is drawn like ``git log --graph`` with parents above: one lane for each step that is still
to come and that a step above leads to.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from dagnats.engine.plan import Plan
from dagnats.model.graph import children_of, depths
from dagnats.model.workflow import StepDef
from dagnats.services.run_query import RunView

FOLD_AT = 9
"""From how many steps of a kind on they share one row: fewer are easier to read one by one."""

ROUNDS = 3
"""How far around itself a step is compared with others before they are folded together."""

Parents = Mapping[str, Sequence[str]]


class Node(Struct, frozen=True):
    """One row of the picture: a step, or several of a kind.

    Args:
        id: the step, or for a fold the first of its members.
        members: the steps that are folded; empty for a single step.
    """

    id: str
    members: tuple[str, ...] = ()


class Rung(Struct, frozen=True):
    """The rail beside one node.

    Args:
        cells: one character for each column; the node's own is a blank to be filled.
        column: where the node stands.
        below: the lanes that go on under it.
    """

    cells: str
    column: int
    below: str


class Shape(Struct, frozen=True):
    """What is drawn for a run, independent of how far it has come.

    Args:
        nodes: the rows, parents first.
        rungs: the rail, one for each node.
        parents: every step with those it waits for.
        width: columns of the rail.
        rescuers: steps that run only when another fails, and whom they help first.
    """

    nodes: tuple[Node, ...]
    rungs: tuple[Rung, ...]
    parents: Parents
    width: int
    rescuers: Mapping[str, str]


def shape_of(view: RunView, max_lanes: int) -> Shape:
    """Order the steps of a run, fold what is alike, and lay out the rail.

    Args:
        view: the run and its definition; without one there are no edges to draw.
        max_lanes: lanes side by side at most; what is more shares one more column.
    """
    steps = view.steps
    rescuers = _rescuers(steps)
    parents, planned = _parents(view, rescuers)
    nodes = tuple(_folded(parents, steps, planned | rescuers))
    rungs = tuple(lay_rail(nodes, parents, max_lanes))
    width = max((len(rung.cells) for rung in rungs), default=1)
    return Shape(nodes, rungs, parents, width, rescuers)


def _rescuers(steps: Mapping[str, StepDef]) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in steps.values():
        for rescuer in (step.on_failure, step.compensate):
            if rescuer in steps:
                found.setdefault(rescuer, step.id)
    return found


def _parents(
    view: RunView, rescuers: Mapping[str, str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Every step with its parents, and the planned ones with their planner."""
    if view.definition is None:
        return {step: [] for step in view.step_ids}, {}
    plan = Plan(view.definition, view.run.dynamic_steps)
    parents = {step: list(of) for step, of in plan.parents.items()}
    for rescuer, owner in rescuers.items():
        parents[rescuer].append(owner)
    for step in sorted(view.run.steps):
        parents.setdefault(step, [])
    return parents, {step: planner for planner, made in plan.generated.items() for step in made}


# --- order and folds ---------------------------------------------------------------------------


def ordered(parents: Parents, after: Mapping[str, str]) -> list[str]:
    """The steps with parents before children, otherwise as they were written.

    Args:
        parents: the steps as written, with their parents. Steps of a cycle come last.
        after: steps that are to come as close behind another as can be.
    """
    index = {step: at for at, step in enumerate(parents)}
    place = {step: (index.get(after.get(step, step), at), at) for step, at in index.items()}
    children = children_of(parents)
    left = {step: sum(parent in parents for parent in set(of)) for step, of in parents.items()}
    ready = [(place[step], step) for step, count in left.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        _, step = heapq.heappop(ready)
        order.append(step)
        for child in children[step]:
            left[child] -= 1
            if left[child] == 0:
                heapq.heappush(ready, (place[child], child))
    return order + [step for step in parents if left[step] > 0]


def _folded(
    parents: Parents, steps: Mapping[str, StepDef], after: Mapping[str, str]
) -> Iterable[Node]:
    kinds = _kinds(parents, steps)
    alike: dict[object, list[str]] = {}
    order = ordered(parents, after)
    for step in order:
        alike.setdefault(kinds[step], []).append(step)
    folds = {group[0]: tuple(group) for group in alike.values() if len(group) >= FOLD_AT}
    owner = {step: first for first, group in folds.items() for step in group}
    joined: dict[str, dict[str, None]] = {}
    for step in order:
        above = joined.setdefault(owner.get(step, step), {})
        above.update(dict.fromkeys(owner.get(parent, parent) for parent in parents[step]))
    for step in ordered({node: list(of) for node, of in joined.items()}, after):
        yield Node(step, folds.get(step, ()))


def _kinds(parents: Parents, steps: Mapping[str, StepDef]) -> dict[str, object]:
    """What a step has in common with others of its kind: depth, task, and the same around it.

    Steps of one kind lie equally deep, so folding them never makes a cycle.
    """
    depth = depths(parents)
    children = children_of(parents)
    color: dict[str, int] = {}
    names: dict[object, int] = {}

    def number(key: object) -> int:
        return names.setdefault(key, len(names))

    for step in parents:
        known = steps.get(step)
        what = (known.type, known.task) if known else ("", step)
        color[step] = number((depth.get(step, -1), what))
    for _ in range(ROUNDS):
        color = {
            step: number(
                (
                    color[step],
                    frozenset(color[parent] for parent in of if parent in color),
                    frozenset(color[child] for child in children[step]),
                )
            )
            for step, of in parents.items()
        }
    return dict(color)


# --- the rail ----------------------------------------------------------------------------------


class _Lanes:
    """Which step each lane leads to. The last lane holds all that have no room of their own."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._targets: list[str | None] = []
        self._crowd: dict[str, None] = {}

    def line(self, column: int) -> str:
        """How a lane looks where nothing happens on it."""
        return "┊" if column == self._most else "│"

    @property
    def active(self) -> list[int]:
        """Columns with a lane, from the left."""
        own = [column for column, target in enumerate(self._targets) if target is not None]
        return own + ([self._most] if self._crowd else [])

    def find(self, step: str) -> int | None:
        """The column that leads to a step."""
        if step in self._crowd:
            return self._most
        return self._targets.index(step) if step in self._targets else None

    def take(self, step: str) -> int:
        """The column at which a step stands; its lane ends there."""
        column = self.find(step)
        if column is None:
            column = self._free()
        elif step in self._crowd:
            del self._crowd[step]
        else:
            self._targets[column] = None
        return column

    def lead(self, step: str, wish: int | None) -> int:
        """Open a lane to a step, in the column ``wish`` if that is a lane of its own."""
        column = self._free() if wish is None or wish == self._most else wish
        if column == self._most:
            self._crowd[step] = None
            return column
        while len(self._targets) <= column:
            self._targets.append(None)
        self._targets[column] = step
        return column

    def _free(self) -> int:
        for column, target in enumerate(self._targets):
            if target is None:
                return column
        return min(len(self._targets), self._most)


def lay_rail(nodes: Sequence[Node], parents: Parents, max_lanes: int) -> Iterable[Rung]:
    """The rail beside nodes that are given parents first."""
    children = _node_children(nodes, parents)
    lanes = _Lanes(max_lanes)
    for node in nodes:
        column = lanes.take(node.id)
        passing = set(lanes.active)
        opened: set[int] = set()
        joined: set[int] = set()
        own: int | None = column
        for child in children[node.id]:
            known = lanes.find(child)
            if known is not None:
                joined.add(known)
            else:
                opened.add(lanes.lead(child, own))
                own = None
        yield _rung(column, passing, opened, joined, lanes)


def _node_children(nodes: Sequence[Node], parents: Parents) -> dict[str, list[str]]:
    """Whom each node leads to, the next first; edges of a cycle that lead back up are left out."""
    owner = {member: node.id for node in nodes for member in (node.members or (node.id,))}
    place = {node.id: index for index, node in enumerate(nodes)}
    found: dict[str, dict[str, None]] = {node.id: {} for node in nodes}
    for step, of in parents.items():
        for parent in of:
            above = owner.get(parent)
            if above is not None and place[above] < place[owner[step]]:
                found[above][owner[step]] = None
    return {node: sorted(below, key=lambda child: place[child]) for node, below in found.items()}


def _rung(
    column: int, passing: set[int], opened: set[int], joined: set[int], lanes: _Lanes
) -> Rung:
    ends = opened | joined | {column}
    low, high = min(ends), max(ends)
    cells: list[str] = []
    for at in range(1 + max(ends | passing)):
        if at == column:
            cells.append(" ")
        elif at in ends:
            cells.append(_corner(at in passing, at == low, at == high))
        elif at in passing:
            cells.append(lanes.line(at))
        else:
            cells.append("─" if low < at < high else " ")
        cells.append("─" if low <= at < high else " ")
    below = "".join(
        f"{lanes.line(at)} " if at in lanes.active else "  "
        for at in range(1 + max(lanes.active, default=-1))
    )
    return Rung("".join(cells[:-1]), column * 2, below.rstrip())


def _corner(passes: bool, first: bool, last: bool) -> str:
    """Where a branch meets a lane: one that comes from above as well, or one that begins here."""
    if passes:
        return "├" if first else "┤" if last else "┼"
    return "╭" if first else "╮" if last else "┬"
