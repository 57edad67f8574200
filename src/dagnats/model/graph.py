"""Graphs of steps, given as parents by step id. Iterative, so depth is no danger."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

Parents = Mapping[str, Sequence[str]]


def topological(parents: Parents) -> list[str]:
    """The steps with parents before children; steps on or behind a cycle are left out (Kahn)."""
    left = {step: len(set(of)) for step, of in parents.items()}
    children: dict[str, list[str]] = {step: [] for step in parents}
    for step, of in parents.items():
        for parent in set(of):
            children[parent].append(step)
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


def longest_depth(parents: Parents) -> int | None:
    """The number of steps on the longest chain; ``None`` when there is a cycle."""
    order = topological(parents)
    if len(order) < len(parents):
        return None
    depth: dict[str, int] = {}
    for step in order:
        depth[step] = 1 + max((depth[parent] for parent in parents[step]), default=0)
    return max(depth.values(), default=0)
