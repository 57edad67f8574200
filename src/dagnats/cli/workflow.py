"""``dagnats workflow``: definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Watch, Yes
from dagnats.cli.confirm import confirm
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.outputs import Validity
from dagnats.cli.render.console import err, is_terminal, out, warn
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import print_table, show, show_list
from dagnats.cli.render.table import Column
from dagnats.cli.simulate import simulate
from dagnats.cli.state import current, session
from dagnats.cli.texts import given
from dagnats.errors import DagnatsError
from dagnats.model.times import format_duration
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.model.files import WorkflowFile
    from dagnats.model.workflow import StepDef, WorkflowDef
    from dagnats.services.workflows import Registered, Revision

app = App("workflow", "Manage workflow definitions.")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Workflow definition JSON file; - for standard input.",
        show_default=False,
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Workflow name.", show_default=False)]


def _timeout(definition: WorkflowDef) -> str:
    return format_duration(definition.timeout) if definition.timeout else "none"


@app.add("list")
def list_(watch: Watch = False) -> None:
    """List all registered workflows."""
    run_async(_list(watch))


async def _list(watch: bool) -> None:
    from dagnats.services.workflows import list_workflows

    async with session() as opened:
        await refreshing(lambda: list_workflows(opened), _print_list, watch)


def _print_list(found: list[WorkflowDef]) -> None:
    columns: list[Column[WorkflowDef]] = [
        Column("NAME", lambda item: item.name),
        Column("STEPS", lambda item: str(len(item.steps))),
        Column("VERSION", lambda item: item.version, wide=True),
        Column("TIMEOUT", _timeout),
    ]
    show_list(found, columns, name=lambda item: item.name, empty="No workflows registered.")


@app.add("register")
def register(file: File) -> None:
    """Create or update a workflow from a JSON file."""
    from dagnats.services.workflow_files import read_file

    read: WorkflowFile = read_file(given(file, "file"))
    run_async(_register(read))


async def _register(file: object) -> None:
    from dagnats.model.files import WorkflowFile
    from dagnats.services.workflow_files import register as store

    assert isinstance(file, WorkflowFile)
    async with session() as opened:
        done = await store(opened, file)
    show(done, lambda: _print_registered(done), name=done.name)
    _advise(file)


def _advise(file: WorkflowFile) -> None:
    """Say what is odd about a file, to whoever reads it."""
    if current().human:
        for advice in file.warnings:
            warn(advice.message)


def _print_registered(done: Registered) -> None:
    out(f"Workflow {done.action}: {one_line(done.name)} ({done.steps} steps)")
    for task in done.warnings:
        warn(f'no active worker for task "{task}"')
    if current().human and is_terminal():
        err(f"\n  dagnats run start {one_line(done.name)} --watch")


@app.add("show")
def show_(name: Name) -> None:
    """Show a workflow with the dependencies of its steps."""
    given(name, "workflow name")
    run_async(_show(name))


async def _show(name: str) -> None:
    from dagnats.services.workflows import get_workflow

    async with session() as opened:
        found = await get_workflow(opened, name)
    show(found, lambda: _print_definition(found), name=found.name)


def _print_definition(found: WorkflowDef) -> None:
    out(f"Name:        {one_line(found.name)}")
    out(f"Version:     {one_line(found.version)}")
    out(f"Steps:       {len(found.steps)}")
    out(f"Timeout:     {_timeout(found)}\n")
    columns: list[Column[StepDef]] = [
        Column("ID", lambda step: step.id),
        Column("TYPE", lambda step: step.type, wide=True),
        Column("TASK", lambda step: step.task),
        Column("DEPENDS ON", lambda step: ", ".join(step.depends_on) or "-", flex=True),
    ]
    print_table(found.steps, columns, indent="  ")


@app.add("validate")
def validate(file: File) -> None:
    """Check a workflow JSON file offline, cycles included."""
    from dagnats.services.workflow_files import validate_file

    try:
        read = validate_file(given(file, "file"))
    except DagnatsError as error:
        if error.exit_code != 1:
            raise
        _print_invalid(error)
        raise typer.Exit(1) from None
    found = read.definition
    document = Validity(valid=True, name=found.name, steps=len(found.steps))
    text = f"Valid: {one_line(found.name)} ({len(found.steps)} steps)"
    show(document, lambda: out(text), name=found.name)
    _advise(read)


def _print_invalid(error: DagnatsError) -> None:
    problems = getattr(error, "problems", (error.message,))
    several = list(problems) if len(problems) > 1 else []
    document = Validity(valid=False, error=error.message, problems=several)
    if current().human or current().format == "name":
        for problem in problems:
            err(one_line(problem))
        if error.hint:
            err(f"Hint: {one_line(error.hint)}")
    else:
        show(document, lambda: None)


app.add("simulate")(simulate)


@app.add("revisions")
def revisions(name: Name) -> None:
    """List the revisions of a workflow that runs are pinned to."""
    given(name, "workflow name")
    run_async(_revisions(name))


async def _revisions(name: str) -> None:
    from dagnats.services.workflows import revisions as read

    async with session() as opened:
        found = await read(opened, name)
    columns: list[Column[Revision]] = [
        Column("REVISION", lambda row: row.hash),
        Column("REGISTERED", lambda row: row.registered_at),
        Column("STEPS", lambda row: str(row.steps)),
        Column("CURRENT", lambda row: "yes" if row.current else "no"),
    ]
    show_list(found, columns, name=lambda row: row.hash, empty="No revisions found.")


@app.add("delete")
def delete(name: Name, yes: Yes = False) -> None:
    """Delete a definition; its runs go on and keep theirs."""
    given(name, "workflow name")
    run_async(_delete(name, yes))


async def _delete(name: str, yes: bool) -> None:
    from dagnats.services.workflows import delete_workflow, get_workflow

    async with session() as opened:
        found = await get_workflow(opened, name)
        confirm(f"Delete workflow {one_line(found.name)} ({len(found.steps)} steps)", yes)
        done = await delete_workflow(opened, name)
    show(done, lambda: out(f"Workflow deleted: {one_line(done.name)}"), name=done.name)
