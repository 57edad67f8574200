"""Simulating a run from the console: what goes wrong is typed, what would happen is drawn."""

from __future__ import annotations

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.times import parse_duration
from dagnats.model.workflow import WorkflowDef
from dagnats.services.simulation import ALWAYS, Scenario, simulate
from dagnats.services.timeline import BUSY, Row, Simulation
from dagnats.tui.format import NONE, plural, span
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.listing import title
from dagnats.tui.sheets.base import Reading
from dagnats.tui.sheets.prompt import Prompt
from dagnats.tui.theme import Look

NAME = 20
"""Cells of a step's name."""

MOMENTS = 200
"""Events that are listed."""

HELP = (
    "What goes wrong, or takes time, by step: load=2 fails twice, load=always fails for good, "
    "load=5s takes five seconds. Several with spaces between; empty: everything goes well."
)


async def ask_and_simulate(host: Host, flow: WorkflowDef, given: bytes) -> None:
    """Ask what goes wrong, and show what would happen."""
    text = await host.ask(
        Prompt(f"Simulate {flow.name}", HELP, check=lambda typed: _problem(flow, typed, given))
    )
    if text is None:
        return
    found = simulate(flow, scenario_of(text, given, list(host.feed.flows.values()), flow.name))
    await host.ask(
        Reading(
            f"Simulated {flow.name}",
            lambda width: simulation_lines(found, host.look, width),
        )
    )


def _problem(flow: WorkflowDef, text: str, given: bytes) -> str:
    try:
        scenario = scenario_of(text, given, [], flow.name)
    except InvalidError as error:
        return error.message
    steps = {step.id for step in flow.steps}
    for step in (*scenario.failures, *scenario.durations):
        if step not in steps:
            return f"there is no step {step}; there are {', '.join(sorted(steps))}"
    try:
        simulate(flow, scenario)
    except DagnatsError as error:
        return error.message
    return ""


def scenario_of(text: str, given: bytes, flows: list[WorkflowDef], name: str) -> Scenario:
    """What was typed as a scenario.

    Raises:
        InvalidError: a word is not ``step=…``.
    """
    failures: dict[str, int] = {}
    durations: dict[str, int] = {}
    for word in text.split():
        step, _, value = word.partition("=")
        if not step or not value:
            raise InvalidError(f"write step=…: {word[:40]}")
        if value == "always":
            failures[step] = ALWAYS
        elif value.isdigit():
            failures[step] = int(value)
        else:
            try:
                durations[step] = parse_duration(value)
            except ValueError:
                raise InvalidError(f"neither a count, always, nor a duration: {word}") from None
    others = [flow for flow in flows if flow.name != name]
    return Scenario(input=given, failures=failures, durations=durations, workflows=others)


def simulation_lines(found: Simulation, look: Look, width: int) -> list[Line]:
    """How it ends, a bar for each step, and the events."""
    glyph, role = look.status(found.status)
    head = Line().add(f"{glyph} {found.status}", f"{role} bold").gap(2)
    head.add(f"after {span(found.took)}", "text")
    lines = [head]
    if found.error:
        lines += wrapped(found.error, width, "bad", 3)
    if found.dead_letters:
        lines.append(line(f"dead letters of {', '.join(found.dead_letters)}", "bad"))
    lines += [Line(), title("STEPS", width, span(found.took))]
    lines += [_bar_line(row, found.took, look, width) for row in found.steps]
    lines += [Line(), title("EVENTS", width, plural(len(found.moments), "event"))]
    for moment in found.moments[:MOMENTS]:
        row = Line().add("+" + span(moment.at), "muted", width=9, align="right").gap(2)
        row.add(moment.type, "text", width=26).gap().add(moment.step, "accent")
        if moment.attempt > 1:
            row.gap().add(f"{look.glyph('tries')}{moment.attempt}", "retry")
        lines.append(row.clip(width))
    return lines


def _bar_line(row: Row, took: int, look: Look, width: int) -> Line:
    glyph, role = look.status(row.status)
    out = Line().add(glyph, role).gap().add(row.step, "text", width=NAME).gap()
    room = max(8, width - NAME - 18)
    cells = [" "] * room
    for part in row.spans:
        first = min(room - 1, part.begin * room // max(took, 1))
        last = min(room, max(first + 1, part.end * room // max(took, 1)))
        mark = look.glyph("bar" if part.kind == BUSY else "queue")
        cells[first:last] = [mark] * (last - first)
    if row.began and not row.spans:
        cells[min(room - 1, row.begin * room // max(took, 1))] = look.glyph("bar")
    out.add("".join(cells), role)
    length = span(row.end - row.begin) if row.began else NONE
    out.gap().add(length, "muted", width=7, align="right")
    if row.attempts > 1:
        out.gap().add(f"{look.glyph('tries')}{row.attempts}", "retry")
    return out
