"""Dead letters as the rows of a tree: groups, and below those that are open their letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.records import DeadLetter
from dagnats.model.task import TaskPayload
from dagnats.model.times import MINUTE, read_time
from dagnats.services.dlq import (
    GROUPINGS,
    HISTORY_CONSUMER,
    REOPENABLE,
    DeadGroup,
    group_dead,
    reason_class,
)
from dagnats.services.run_rows import RunRow

SLOTS = 60
"""Minutes of a group's history that are drawn."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a letter besides what it says: worked out once per letter."""

    letter: DeadLetter
    at: int
    workflow: str
    payload: TaskPayload
    haystack: str
    kinds: dict[str, str]

    @property
    def values(self) -> dict[str, str]:
        """What the filter's terms look at."""
        return {
            "wf": self.workflow,
            "run": self.letter.run_id,
            "step": self.letter.step_id,
            "task": self.letter.task,
            "reason": reason_class(self.letter.error),
        }

    @property
    def attempts(self) -> str:
        """How often it was tried, as the letter says."""
        return next(iter(self.letter.headers.get("Dagnats-Dlq-Attempts", [])), "")


def facts_of(letter: DeadLetter) -> Facts:
    """Read a letter."""
    payload = payload_of(letter)
    workflow = payload.workflow_name
    text = " ".join(
        (letter.error, letter.run_id, letter.step_id, letter.task, workflow, str(letter.sequence))
    )
    kinds = {name: kind_of(letter) for name, kind_of in GROUPINGS.items()}
    return Facts(letter, read_time(letter.timestamp) or 0, workflow, payload, text.lower(), kinds)


def payload_of(letter: DeadLetter) -> TaskPayload:
    """The task that failed; an empty one where the body was not kept."""
    try:
        return decode(letter.body, TaskPayload)
    except InvalidError:
        return TaskPayload()


def unreplayable(letter: DeadLetter, run: RunRow | None) -> str:
    """Why a letter cannot be replayed, as far as is known; empty when it can."""
    if letter.consumer == HISTORY_CONSUMER or not letter.run_id:
        return "a history event cannot be replayed"
    if run is not None and run.status not in REOPENABLE:
        return f"its run is {run.status}"
    return ""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group; ``facts`` are those of its letters, newest first."""

    group: DeadGroup
    facts: list[Facts]
    open: bool

    @property
    def key(self) -> str:
        """What the row is known by."""
        return f"g{self.group.fingerprint}"

    @property
    def newest(self) -> Facts:
        """The letter that stands for the group."""
        return self.facts[0]

    @property
    def where(self) -> str:
        """Workflow and step, and how many others."""
        places = Counter(_place(each) for each in self.facts)
        first = places.most_common(1)[0][0]
        return first if len(places) == 1 else f"{first} +{len(places) - 1}"

    def minutes(self, now: int) -> list[int]:
        """How many died in each of the last sixty minutes, oldest first."""
        slots = [0] * SLOTS
        for each in self.facts:
            back = (now - each.at) // MINUTE
            if 0 <= back < SLOTS:
                slots[SLOTS - 1 - back] += 1
        return slots


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A letter below its group."""

    facts: Facts
    group: DeadGroup

    @property
    def key(self) -> str:
        """What the row is known by."""
        return str(self.facts.letter.sequence)


Row = GroupRow | LetterRow


def _place(facts: Facts) -> str:
    place = facts.workflow or facts.letter.task or "?"
    return f"{place}/{facts.letter.step_id}" if facts.letter.step_id else place


def rows_of(known: Iterable[Facts], by: str, is_open: Callable[[DeadGroup], bool]) -> list[Row]:
    """The rows: groups with most letters first, letters newest first."""
    facts = {each.letter.sequence: each for each in known}
    kinds = {each.letter.sequence: each.kinds[by] for each in facts.values()}
    rows: list[Row] = []
    groups = group_dead(
        (each.letter for each in facts.values()), lambda letter: kinds[letter.sequence]
    )
    for group in groups:
        inside = [facts[sequence] for sequence in reversed(group.sequences)]
        opened = is_open(group)
        rows.append(GroupRow(group, inside, opened))
        if opened:
            rows += [LetterRow(each, group) for each in inside]
    return rows


def letters_of(rows: Iterable[Row]) -> list[Facts]:
    """The letters that rows stand for, each once, newest first."""
    found: dict[int, Facts] = {}
    for row in rows:
        for each in row.facts if isinstance(row, GroupRow) else [row.facts]:
            found[each.letter.sequence] = each
    return [found[sequence] for sequence in sorted(found, reverse=True)]
