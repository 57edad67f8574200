"""What can be done with a workflow: start, start later, simulate, pause, edit, delete."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import is_absent, parse_json
from dagnats.model.files import read_workflow
from dagnats.model.schema import check_schema
from dagnats.model.times import format_time, parse_duration, parse_time
from dagnats.model.workflow import WorkflowDef
from dagnats.services import workflow_files
from dagnats.services.address import Address
from dagnats.services.control import pause, resume
from dagnats.services.documents import document
from dagnats.services.run_rerun import changes
from dagnats.services.runs import start_run
from dagnats.services.workflows import delete_workflow
from dagnats.tui.actions import Action
from dagnats.tui.format import plural, span
from dagnats.tui.host import Host
from dagnats.tui.jsontree import json_text
from dagnats.tui.line import Line, line
from dagnats.tui.screens.flow_lines import checks, plain, unserved
from dagnats.tui.screens.flow_simulate import ask_and_simulate
from dagnats.tui.screens.listing import change_lines, editable
from dagnats.tui.sheets.confirm import Confirm, Plan, told
from dagnats.tui.sheets.form import Form, fields_of
from dagnats.tui.sheets.prompt import Editor, Prompt


class FlowDoer:
    """Carries out what keys ask for.

    Args:
        host: the application.
        flow: the workflow the keys are about, if there is one.
    """

    def __init__(self, host: Callable[[], Host], flow: Callable[[], WorkflowDef | None]) -> None:
        self._host_of = host
        self._flow_of = flow
        self._last: dict[str, str] = {}

    @property
    def host(self) -> Host:
        """The application."""
        return self._host_of()

    @property
    def flow(self) -> WorkflowDef:
        """The workflow the keys are about."""
        found = self._flow_of()
        if found is None:
            raise InvalidError("no workflow is chosen")
        return found

    def paused(self) -> bool:
        """Whether the workflow is held back."""
        flow, health = self._flow_of(), self.host.feed.health
        return bool(flow and health and flow.name in health.paused.workflows)

    def actions(self) -> list[Action]:
        """The keys."""

        def off() -> str:
            return "" if self._flow_of() else "no workflow is chosen"

        return [
            _do("flow.start", "r", "start…", "Start a run", self.start, off),
            _do("flow.later", "t", "start at…", "Start a run at a time", self.start_later, off),
            Action(
                id="flow.simulate",
                keys=("S",),
                label="simulate…",
                title="Simulate a run, offline",
                run=self.simulate,
                off=off,
                group="Do",
            ),
            _do(
                "flow.pause",
                "P",
                "resume" if self.paused() else "pause",
                "Let its runs go on" if self.paused() else "Hold its runs back",
                self.pause,
                off,
            ),
            _do("flow.edit", "E", "edit…", "Edit the definition and register it", self.edit, off),
            _do("flow.delete", "D", "delete…", "Delete the definition", self.delete, off),
        ]

    # Start

    async def start(self) -> None:
        """Ask for the input and start a run."""
        await self._start("")

    async def start_later(self) -> None:
        """Ask for the time, too."""
        now = self.host.now()
        text = await self.host.ask(
            Prompt(
                f"Start {self.flow.name} at…",
                "How long from now, such as 2h or 30m, or a time: 2026-12-01T09:00:00Z",
                check=lambda typed: time_problem(typed, now),
                verb="go on",
            )
        )
        if text is not None:
            await self._start(start_time(text, self.host.now()))

    async def _start(self, at: str) -> None:
        flow = self.flow
        title = f"Start {flow.name}" + (f" at {at}" if at else "")
        text = await self.ask_input(flow, title)
        if text is None:
            return
        command = f"dagnats run start {flow.name} --input {shlex.quote(text)}"
        command += f" --at {at}" if at else ""
        plan = Plan(
            title=title,
            lines=lambda width: [
                Line().add("input ", "muted").add(text, "text", most=width - 6),
                *checks(flow, self.host.feed.health, self.host.look),
            ],
            command=command,
            verb="start",
        )
        if not await self.host.ask(Confirm(plan)):
            return
        data = text.encode()
        started = await start_run(self.host.session, flow.name, data, at or None)
        self._last[flow.name] = text
        self.host.report(f"{started.status} run {started.run_id[:8]} of {flow.name}")
        if not at:
            self.host.go(Address(kind="run", ids=(started.run_id,)))

    async def ask_input(self, flow: WorkflowDef, title: str) -> str | None:
        """The input as JSON: by a form where the schema allows one, else in the editor."""
        schema = b"" if is_absent(flow.input_schema) else bytes(flow.input_schema)
        last = self._last.get(flow.name, "{}")
        if fields_of(schema):
            values: Any = parse_json(last)
            filled = await self.host.ask(Form(title, schema, values, raw=True))
            if filled is None or not filled.raw:
                return filled.text if filled else None
            last = filled.text
        shown = editable(parse_json(last))

        def check(text: str) -> str:
            problems = check_schema(schema, text.encode()) if schema else []
            return problems[0] if problems else json_problem(text)

        edited = await self.host.ask(Editor(title, shown, check, "go on"))
        return None if edited is None else json_text(parse_json(edited))

    # The rest

    async def simulate(self) -> None:
        """Play a run offline."""
        flow = self.flow
        text = await self.ask_input(flow, f"Simulate {flow.name}")
        if text is not None:
            await ask_and_simulate(self.host, flow, text.encode())

    async def pause(self) -> None:
        """Hold back, or let go on; pausing can be undone."""
        name = self.flow.name
        if self.paused():
            await resume(self.host.session, name)
            await self.host.feed.look()
            self.host.report(f"{name} goes on")
            return
        plan = Plan(
            title=f"Pause {name}",
            lines=told("Its runs start no further step until it is resumed; steps in hand end."),
            command=f"dagnats engine pause --workflow {name}",
            verb="pause",
        )
        if not await self.host.ask(Confirm(plan)):
            return
        await pause(self.host.session, name)
        await self.host.feed.look()
        self.host.report(f"{name} is paused", "warn", undo=lambda: self._resume(name))

    async def _resume(self, name: str) -> None:
        await resume(self.host.session, name)
        await self.host.feed.look()
        self.host.report(f"{name} goes on")

    async def edit(self) -> None:
        """Edit the definition, look at what that changes, and register it."""
        flow = self.flow
        shown = editable(document(flow))

        def about(width: int) -> list[Line]:
            del width
            return [line("Runs in flight keep the definition they began with.", "muted")]

        text = await self.host.ask(
            Editor(f"Definition of {flow.name}", shown, definition_problem, "go on", about)
        )
        if text is None:
            return
        file = read_workflow(text)
        found = [
            (change.path, json_text(change.old), json_text(change.new))
            for change in changes(plain(flow), plain(file.definition))
        ]
        plan = Plan(
            title=f"Register {file.definition.name} with {plural(len(found), 'change')}",
            lines=lambda width: [
                *change_lines(found, width),
                *_missing(unserved(file.definition, self.host.feed.health)),
            ],
            command="dagnats workflow register FILE",
            verb="register",
        )
        if not await self.host.ask(Confirm(plan)):
            return
        done = await workflow_files.register(self.host.session, file)
        self.host.feed.flows[done.name] = file.definition
        self.host.report(f"{done.action} {done.name}, {plural(done.steps, 'step')}")

    async def delete(self) -> None:
        """Delete the definition after its name was typed."""
        name = self.flow.name
        running = sum(
            not run.ended and run.workflow == name for run in self.host.feed.runs.newest()
        )
        plan = Plan(
            title=f"Delete workflow {name}",
            lines=told(
                "New runs cannot be started any more; its runs and their history stay.",
                f"{plural(running, 'run')} under way go on with the definition they began with.",
            ),
            command=f"dagnats workflow delete {name} --yes",
            verb="delete",
            phrase=name,
            danger=True,
        )
        if not await self.host.ask(Confirm(plan)):
            return
        await delete_workflow(self.host.session, name)
        self.host.feed.flows.pop(name, None)
        self.host.feed.version += 1
        self.host.report(f"deleted workflow {name}", "warn")
        self.host.go("flows")


def _do(
    action_id: str,
    key: str,
    label: str,
    title: str,
    run: Callable[[], object],
    off: Callable[[], str],
) -> Action:
    return Action(
        id=action_id,
        keys=(key,),
        label=label,
        title=title,
        run=run,
        changes=True,
        off=off,
        group="Do",
    )


def _missing(tasks: list[str]) -> list[Line]:
    return [line(f"nobody serves {', '.join(tasks)}", "warn")] if tasks else []


def json_problem(text: str) -> str:
    """Why a text is not JSON; empty when it is."""
    try:
        parse_json(text)
    except InvalidError as error:
        return error.message
    return ""


def definition_problem(text: str) -> str:
    """What is wrong with a definition; empty when nothing is."""
    try:
        file = read_workflow(text)
    except DagnatsError as error:
        return error.message
    return file.problems[0].text if file.problems else ""


def start_time(text: str, now: int) -> str:
    """A start time as services take it.

    Args:
        text: how long from now, or an RFC 3339 time.
        now: ns since 1970.

    Raises:
        InvalidError: it is neither, or not ahead.
    """
    plain_text = text.strip().removeprefix("+").removeprefix("in ")
    try:
        moment = now + parse_duration(plain_text, days=True)
    except ValueError:
        try:
            moment = parse_time(plain_text) or 0
        except ValueError:
            raise InvalidError(f"neither a duration nor a time: {text[:40]}") from None
    if moment <= now:
        raise InvalidError(f"{text[:40]} is {span(now - moment)} ago")
    return format_time(moment)


def time_problem(text: str, now: int) -> str:
    """Why a text is no start time; empty when it is one."""
    try:
        start_time(text, now)
    except InvalidError as error:
        return error.message
    return ""
