"""Graphs of steps, given as parents by step id. Iterative, so depth is no danger.

Parents that are not steps themselves are ignored: the rules report them elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

Parents = Mapping[str, Sequence[str]]


def children_of(parents: Parents) -> dict[str, list[str]]:
    """The same edges the other way round: who waits for a step, without repeats."""
    children: dict[str, list[str]] = {step: [] for step in parents}
    for step, of in parents.items():
        for parent in dict.fromkeys(of):
            if parent in children:
                children[parent].append(step)
    return children


def topological(parents: Parents) -> list[str]:
    """The steps with parents before children; steps on or behind a cycle are left out (Kahn)."""
    children = children_of(parents)
    left = {step: sum(parent in parents for parent in set(of)) for step, of in parents.items()}
    ready = deque(step for step, count in left.items() if count == 0)
    order: list[str] = []
    while ready:
        step = ready.popleft()
        order.append(step)
        for child in children[step]:
            left[child] -= 1
            if left[child] == 0:
                ready.append(child)
    return order


def find_cycle(parents: Parents) -> list[str]:
    """The steps of one cycle in the order in which they would run; empty when there is none."""
    sound = set(topological(parents))
    stuck = [step for step in parents if step not in sound]
    if not stuck:
        return []
    # Whoever is left over has a parent that is left over too, so walking up must come round.
    step, seen = stuck[0], dict[str, None]()
    while step not in seen:
        seen[step] = None
        step = next(parent for parent in parents[step] if parent in parents and parent not in sound)
    walked = list(seen)
    return walked[walked.index(step) :][::-1]


def depths(parents: Parents) -> dict[str, int]:
    """How many steps are on the longest chain that ends with each; none for those on a cycle."""
    depth: dict[str, int] = {}
    for step in topological(parents):
        above = (depth[parent] for parent in parents[step] if parent in depth)
        depth[step] = 1 + max(above, default=0)
    return depth


def longest_depth(parents: Parents) -> int | None:
    """The number of steps on the longest chain; ``None`` when there is a cycle."""
    known = depths(parents)
    return None if len(known) < len(parents) else max(known.values(), default=0)


def ancestors(parents: Parents, step: str) -> set[str]:
    """Every step that must be done before ``step`` starts."""
    return _reach(parents, step)


def descendants(parents: Parents, step: str) -> set[str]:
    """Every step that waits for ``step``, directly or not."""
    return _reach(children_of(parents), step)


def _reach(edges: Parents, start: str) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        for other in edges.get(left.pop(), ()):
            if other not in found:
                found.add(other)
                left.append(other)
    return found
