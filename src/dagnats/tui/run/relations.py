"""From a run to what belongs to it: why it stands still, its relatives, a run to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.services.address import Address, Term
from dagnats.services.run_why import Reason, why
from dagnats.tui.actions import Action
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
    """Where one can go from here; what is not there says so."""
    run = screen.state.view.run if screen.state.view else None
    row, run_id = screen.row, screen.state.run_id
    letter = screen.state.letter(screen.step) or screen.state.letter("")
    child = screen.child_of(row) if row else ""
    places = (
        ("logs", "l", "logs", _with_term("logs", "run", run_id)),
        ("flow", "f", "workflow", _thing("flow", run.workflow_id if run else "")),
        ("runs", "r", "its runs", _with_term("runs", "wf", run.workflow_id if run else "")),
        ("parent", "p", "parent run", _thing("run", run.parent_run_id if run else "")),
        ("child", "c", "child run", _thing("run", child)),
        ("origin", "o", "origin", _thing("run", run.origin_run_id if run else "")),
        ("dead", "d", "dead letters", _with_term("dlq", "run", run_id if letter else "")),
    )
    return [_related(screen, *place) for place in places]


def _thing(kind: str, name: str) -> Address | None:
    return Address(kind=kind, ids=(name,)) if name else None


def _with_term(kind: str, key: str, value: str) -> Address | None:
    return Address(kind=kind, terms=(Term(key=key, values=(value,)),)) if value else None


def _related(screen: RunScreen, name: str, key: str, label: str, there: Address | None) -> Action:
    what = label.removeprefix("its ")
    return Action(
        id=f"run.related.{name}",
        keys=(key,),
        label=label if there else "",
        title=f"Go to the {what}",
        run=lambda: screen.host.go(there) if there else None,
        off=lambda: "" if there else f"there is no {what}",
        group="Go",
    )


# --- compare -----------------------------------------------------------------------------------


def compare_actions(screen: RunScreen) -> list[Action]:
    """With which run this one can be compared."""
    state = screen.state
    run = state.view.run if state.view else None
    good = state.baseline.runs[0] if state.baseline and state.baseline.runs else ""

    async def ask() -> None:
        label = "The id of the other run, or its first eight characters."
        title = f"Compare {state.run_id[:8]} with"
        other = await screen.host.ask(Prompt(title, label, verb="compare"))
        if other:
            screen.host.go(f"diff {state.run_id} {other.strip()}")

    return [
        _compare(screen, "good", "d", "last good run", good),
        _compare(screen, "before", "b", "run before", _before(screen)),
        _compare(screen, "origin", "o", "origin", run.origin_run_id if run else ""),
        Action(
            id="run.compare.other",
            keys=("i",),
            label="by id",
            title="Compare with any run",
            run=ask,
            group="Go",
        ),
    ]


def _compare(screen: RunScreen, name: str, key: str, label: str, other: str) -> Action:
    return Action(
        id=f"run.compare.{name}",
        keys=(key,),
        label=f"{label} {other[:8]}" if other else "",
        title=f"Compare with the {label}",
        run=lambda: screen.host.go(f"diff {screen.state.run_id} {other}"),
        off=lambda: "" if other else f"there is no {label}",
        group="Go",
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
