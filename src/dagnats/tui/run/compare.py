"""Two runs side by side: step by step, and where they part ways first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from msgspec import Struct

from dagnats.model.event import EventType
from dagnats.model.times import read_time
from dagnats.services.run_diff import Difference, RunDiff, step_duration
from dagnats.services.run_events import RunEvent
from dagnats.services.run_query import RunView
from dagnats.tui.run.model import shown_status

WHOLE = ""
"""The pair that stands for the runs as a whole."""


class Side(Struct, frozen=True):
    """A step, or the run, on one side.

    Args:
        status: in one word; empty: it has no such step.
        took: how long, ns; ``None`` while that is not known.
        tries: attempts.
    """

    status: str = ""
    took: int | None = None
    tries: int = 0


class Pair(Struct, frozen=True):
    """A step, or the run, on both sides, and in how many places it differs."""

    step: str
    a: Side
    b: Side
    differences: int = 0

    @property
    def delta(self) -> int | None:
        """How much longer it took in B, ns."""
        if self.a.took is None or self.b.took is None:
            return None
        return self.b.took - self.a.took


class Parting(Struct, frozen=True):
    """The first event that one run has and the other has not, or has otherwise."""

    step: str
    number: int
    a: str
    b: str


def pairs_of(a: RunView, b: RunView, found: RunDiff) -> list[Pair]:
    """The runs as a whole, then every step of either."""
    steps = list(dict.fromkeys([*a.step_ids, *b.step_ids]))
    counts = Counter(step_of(each, steps) for each in found.differences)
    rows = [Pair(WHOLE, _whole(a), _whole(b), counts[WHOLE])]
    return rows + [Pair(step, _side(a, step), _side(b, step), counts[step]) for step in steps]


def _whole(view: RunView) -> Side:
    created, ended = read_time(view.run.created_at), read_time(view.run.completed_at)
    took = None if created is None or ended is None else ended - created
    return Side(view.run.status, took, 0)


def _side(view: RunView, step: str) -> Side:
    state = view.run.steps.get(step)
    if state is None:
        return Side()
    status = shown_status(view.steps.get(step), state, view.run)
    return Side(status, step_duration(state), state.attempts)


def step_of(difference: Difference, steps: Sequence[str]) -> str:
    """The step a difference is about, among steps whose ids may hold dots."""
    kind, _, rest = difference.path.partition(".")
    if kind != "steps":
        return WHOLE
    fitting = [step for step in steps if rest == step or rest.startswith(f"{step}.")]
    return max(fitting, key=len, default=WHOLE)


_IGNORED = frozenset({EventType.STEP_QUEUED.value, EventType.STEP_DISPATCH.value})


def parting(a: Sequence[RunEvent], b: Sequence[RunEvent]) -> Parting | None:
    """Where the runs part ways: the first event, in the order of A, that B has not in its place.

    Steps beside each other come in any order, so each step's events are compared with its own.
    """
    left, right = _by_step(a), _by_step(b)
    found: list[Parting] = []
    for step in dict.fromkeys([*left, *right]):
        ours, theirs = left.get(step, []), right.get(step, [])
        for mine, other in zip_longest(ours, theirs):
            if mine is None or other is None or mine[1] != other[1]:
                number = mine[0] if mine is not None else len(a) + (other[0] if other else 0)
                texts = (mine[1] if mine else "", other[1] if other else "")
                found.append(Parting(step, number, *texts))
                break
    return min(found, key=lambda each: each.number, default=None)


def _by_step(events: Sequence[RunEvent]) -> dict[str, list[tuple[int, str]]]:
    steps: dict[str, list[tuple[int, str]]] = {}
    for number, event in enumerate(events, 1):
        if event.type not in _IGNORED:
            steps.setdefault(event.step_id, []).append((number, event.type))
    return steps
