"""From a run to what belongs to it: why it stands still, its relatives, a run to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.services.run_why import Reason, why
from dagnats.tui.actions import Action, going
from dagnats.tui.line import Line, wrapped
from dagnats.tui.run.copying import shell
from dagnats.tui.sheets.base import Reading
from dagnats.tui.sheets.prompt import Prompt

if TYPE_CHECKING:
    from dagnats.tui.run.screen import RunScreen


# --- why ---------------------------------------------------------------------------------------


async def explain(screen: RunScreen) -> None:
    """Say why the run does not go on, and which command would help."""
    run_id = screen.state.run_id
    reasons = await why(screen.host.session, run_id)
    command = shell("run", "why", run_id)
    await screen.host.ask(
        Reading(
            f"Why is run {run_id[:8]} where it is",
            lambda width: reason_lines(reasons, command, width),
            tall=False,
        )
    )


def reason_lines(reasons: list[Reason], command: str, width: int) -> list[Line]:
    """The chain of causes, each with what shows it and what helps."""
    rows: list[Line] = []
    if not reasons:
        rows.append(Line().add("Nothing keeps it from going on.", "ok"))
    for reason in reasons:
        for at, row in enumerate(wrapped(reason.claim, width - 2, "text bold", 3)):
            rows.append(Line().add("  " if at else "· ", "accent bold").extend(row))
        evidence = wrapped(reason.evidence, width - 2, "muted", 3) if reason.evidence else []
        rows += [Line().gap(2).extend(row) for row in evidence]
        if reason.command:
            helps = Line().gap(2).add("helps  ", "muted")
            rows.append(helps.add(reason.command, "accent", most=width - 9))
    return [*rows, Line(), *wrapped(f"same as: {command}", width, "faint", 2)]


# --- relatives ---------------------------------------------------------------------------------


def related_actions(screen: RunScreen) -> list[Action]:
    """Where one can go from here."""
    view, run_id = screen.state.view, screen.state.run_id
    if view is None:
        return []
    run, row = view.run, screen.row
    places = [("logs", "l", "logs", f"logs run:{run_id[:8]}")]
    if run.parent_run_id:
        places.append(("parent", "p", "parent run", f"run {run.parent_run_id}"))
    if run.origin_run_id:
        places.append(("origin", "o", "origin", f"run {run.origin_run_id}"))
    child = screen.child_of(row) if row is not None else ""
    if child:
        places.append(("child", "c", "child run", f"run {child}"))
    name = f'"{run.workflow_id}"' if " " in run.workflow_id else run.workflow_id
    places.append(("flow", "f", "workflow", f"flow {name}"))
    places.append(("runs", "r", "its runs", f"runs wf:{run.workflow_id}"))
    letter = screen.state.letter(screen.step) or screen.state.letter("")
    if letter is not None:
        places.append(("dead", "d", "dead letters", f"dlq run:{run_id}"))
    return [
        Action(
            id=f"run.related.{key}",
            keys=(letter_key,),
            label=label,
            title=f"Go to: {label}",
            run=lambda place=place: screen.host.go(place),
            group="Go",
        )
        for key, letter_key, label, place in places
    ]


# --- compare -----------------------------------------------------------------------------------


def compare_actions(screen: RunScreen) -> list[Action]:
    """With which run this one can be compared."""
    state = screen.state
    run_id = state.run_id
    found: list[Action] = []
    if state.baseline is not None and state.baseline.runs:
        good = state.baseline.runs[0]
        found.append(_compare(screen, "good", "d", f"last good {good[:8]}", good))
    run = state.view.run if state.view else None
    if run is not None and run.origin_run_id:
        origin = run.origin_run_id
        found.append(_compare(screen, "origin", "o", f"origin {origin[:8]}", origin))
    before = _before(screen)
    if before:
        found.append(_compare(screen, "before", "b", f"the run before {before[:8]}", before))

    async def ask() -> None:
        label = "The id of the other run, or its first eight characters."
        other = await screen.host.ask(Prompt(f"Compare {run_id[:8]} with", label, verb="compare"))
        if other:
            screen.host.go(f"diff {run_id} {other.strip()}")

    found.append(
        Action(
            id="run.compare.other",
            keys=("i",),
            label="another by id",
            title="Compare with any run",
            run=ask,
        )
    )
    return found


def _compare(screen: RunScreen, name: str, key: str, label: str, other: str) -> Action:
    return going(
        f"run.compare.{name}",
        f"Compare with {label}",
        lambda: screen.host.go(f"diff {screen.state.run_id} {other}"),
        key,
    )


def _before(screen: RunScreen) -> str:
    """The run of the same workflow that was created last before this one."""
    feed, state = screen.host.feed, screen.state
    here = feed.runs.get(state.run_id)
    if here is None:
        return ""
    for row in feed.runs.newest():
        older = (row.created_ns, row.run_id) < (here.created_ns, here.run_id)
        if older and row.workflow == here.workflow:
            return row.run_id
    return ""
