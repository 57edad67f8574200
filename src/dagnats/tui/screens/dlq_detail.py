"""What the cursor is on among the dead letters: a group in numbers, a letter with its input."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from dagnats.model.codec import is_absent
from dagnats.services.dlq import reason_class
from dagnats.tui.format import clock, plural, size, spark
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.dlq_rows import Facts, GroupRow, Row
from dagnats.tui.screens.listing import json_lines, labelled, paired, stamp, title, when

ERROR_ROWS = 8
"""Rows of an error text in the pane; the whole is a key away."""


class Shower(Protocol):
    """What the lines need of the view."""

    @property
    def host(self) -> Host:
        """The application."""
        ...

    def why_not(self, facts: Facts) -> str:
        """Why a letter cannot be replayed."""
        ...


def detail_lines(view: Shower, row: Row, width: int) -> list[Line]:
    """The pane beside the tree."""
    if isinstance(row, GroupRow):
        return _indented(_group_lines(view, row, width - 2))
    return _indented(letter_lines(view, row.facts, width - 2, whole=False))


def _indented(lines: list[Line]) -> list[Line]:
    return [Line().gap().extend(each) for each in lines]


def _group_lines(view: Shower, row: GroupRow, width: int) -> list[Line]:
    host, now = view.host, view.host.now()
    group = row.group
    head = Line().add(plural(group.count, "letter"), "text bold").gap(2).add(row.where, "accent")
    lines = [head.clip(width), *wrapped(group.sample or "no error text", width, "bad", 4), Line()]
    ages = [
        labelled("first", f"{stamp(group.first)}  {when(group.first, now)}"),
        labelled("last", f"{stamp(group.last)}  {when(group.last, now)}"),
    ]
    lines += paired(ages, width)
    lines.append(
        labelled("60 min", spark(row.minutes(now), min(60, width - 13), host.look.ascii_only))
    )
    runs = {each.letter.run_id for each in row.facts if each.letter.run_id}
    stuck = Counter(reason for each in row.facts if (reason := view.why_not(each)))
    ready = group.count - stuck.total()
    text = f"{ready} of {group.count}, {plural(len(runs), 'run')}"
    replayable = labelled("replayable", text, "text" if ready else "warn")
    lines += paired([replayable, _workers(view, row)], width)
    lines += [Line().gap(12).add(f"{number} not: {why}", "warn") for why, number in stuck.items()]
    lines += [Line(), *_sample(view, row, width)]
    return lines


def _workers(view: Shower, row: GroupRow) -> Line:
    """Whether anybody would take the task."""
    health = view.host.feed.health
    task = row.group.task
    if health is None or not task:
        return labelled("worker", "not known", "muted")
    able = sum(task in worker.task_types for worker in health.workers)
    if able:
        return labelled("worker", f"{able} for {task}")
    return labelled("worker", f"nobody serves {task}", "bad")


def _sample(view: Shower, row: GroupRow, width: int) -> list[Line]:
    newest = row.newest
    about = f"newest, #{newest.letter.sequence}"
    return [title("SAMPLE INPUT", width, about), *_input(view, newest, 40)]


def _input(view: Shower, facts: Facts, most: int) -> list[Line]:
    if not facts.letter.body_preserved:
        return [line("the body was not kept; a replay takes the input from the run", "warn")]
    if is_absent(facts.payload.input):
        return json_lines(facts.letter.body, view.host.look, most)
    return json_lines(bytes(facts.payload.input), view.host.look, most)


def letter_lines(view: Shower, facts: Facts, width: int, *, whole: bool) -> list[Line]:
    """One letter.

    Args:
        view: whose.
        facts: the letter.
        width: cells.
        whole: everything there is, rather than what a small pane holds.
    """
    letter, now = facts.letter, view.host.now()
    head = Line().add(f"#{letter.sequence}", "accent bold").gap(2)
    head.add(facts.workflow or "workflow not known", "text bold").gap().add("/", "muted").gap()
    lines = [head.add(letter.step_id, "text bold").clip(width)]
    lines += wrapped(letter.error or "no error text", width, "bad", 0 if whole else ERROR_ROWS)
    lines.append(Line())
    tries = f"{facts.attempts} attempts, " if facts.attempts else ""
    reason = view.why_not(facts)
    rows = [
        _run_line(view, facts),
        labelled("failed", f"{stamp(letter.timestamp)}  {when(letter.timestamp, now)}"),
        labelled("reason", f"{tries}{reason_class(letter.error)}"),
        labelled("task", letter.task or "none"),
    ]
    if reason:
        rows.append(labelled("replay", reason, "warn"))
    lines += paired(rows, width)
    lines += _more(facts, now) if whole else []
    about = size(len(letter.body)) if letter.body_preserved else "not kept"
    lines += [Line(), title("INPUT", width, about), *_input(view, facts, 400 if whole else 60)]
    if whole and letter.body_preserved:
        lines += [Line(), title("TASK AS IT WAS SENT", width)]
        lines += json_lines(letter.body, view.host.look)
    return lines


def _run_line(view: Shower, facts: Facts) -> Line:
    letter = facts.letter
    row = Line().add("run", "muted", width=11).gap()
    if not letter.run_id:
        return row.add("none", "muted")
    row.add(letter.run_id[:8], "accent", link=f"go:run {letter.run_id}")
    run = view.host.feed.runs.get(letter.run_id)
    if run is None:
        return row.add("  not known", "muted")
    glyph, role = view.host.look.status(run.state)
    return row.gap(2).add(f"{glyph} {run.state}", role)


def _more(facts: Facts, now: int) -> list[Line]:
    letter = facts.letter
    rows = [
        labelled("run id", letter.run_id),
        labelled("subject", letter.subject),
        labelled("consumer", letter.consumer or "none"),
        labelled("deliveries", letter.delivery_count),
        labelled("at", f"{letter.timestamp}   (now {clock(now)})", "muted"),
    ]
    return [*rows, *(labelled(k, v) for k, v in facts.payload.metadata.items())]
