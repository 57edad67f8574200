"""``dagnats init``: start a project, or a workflow file."""

from __future__ import annotations

from typing import Annotated

import typer

from dagnats.cli import scaffold
from dagnats.cli.options import App
from dagnats.cli.render.console import err, is_terminal, out
from dagnats.cli.render.results import show
from dagnats.cli.state import current

app = App("init", "Scaffold a new workflow project, or one workflow file.", default=True)

Lang = Annotated[
    scaffold.Language, typer.Option("--lang", help="Language of the worker that is written.")
]


@app.add("project")
def project(
    name: Annotated[
        str, typer.Argument(metavar="PROJECT", help="Project name (alphanumeric and hyphens only).")
    ],
    lang: Lang = scaffold.Language.PYTHON,
) -> None:
    """Create a directory with a workflow and a worker.

    This is what 'dagnats init NAME' does.
    """
    made = scaffold.project(name, lang)

    def text() -> None:
        out(f"Created {name}/")
        for file in made.files:
            out(f"  {name}/{file}")

    show(made, text, name=made.name)
    _next_steps(scaffold.project_steps(name, lang))


@app.add("workflow")
def workflow(
    name: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW_NAME", help="Workflow name (alphanumeric and hyphens)."),
    ],
    steps: Annotated[
        str, typer.Option("--steps", metavar="A,B,C", help="Step names in order (max: 20).")
    ] = "process",
    lang: Lang = scaffold.Language.PYTHON,
) -> None:
    """Write one workflow file with its steps in a chain."""
    made = scaffold.workflow(name, steps, lang)

    def text() -> None:
        out(f"Created {made.file}\n\nRegister handlers in your worker:\n")
        out(made.handlers)

    show(made, text, name=made.name)
    _next_steps([f"dagnats workflow register {made.file}"])


def _next_steps(steps: list[str]) -> None:
    if current().human and is_terminal():
        err("\nNext steps:\n" + "\n".join(f"  {step}" for step in steps))
