"""The files that ``dagnats init`` writes."""

from __future__ import annotations

import json
import os
import re
from enum import StrEnum
from pathlib import Path

import msgspec

from dagnats.cli.templates import GO_MAIN, GO_SNIPPET, PYTHON_MAIN, PYTHON_SNIPPET
from dagnats.errors import ConflictError, InvalidError

SCHEMA = "https://raw.githubusercontent.com/danmestas/dagnats/main/docs/workflow.schema.json"
MAX_NAME = 256
MAX_STEPS = 20
# `\Z`, not `$`: a name must not end in a newline.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z", re.IGNORECASE)


class Language(StrEnum):
    """Languages a worker can be written in."""

    PYTHON = "python"
    GO = "go"


class Project(msgspec.Struct, frozen=True):
    """A project directory and the files in it."""

    name: str
    directory: str
    files: list[str]


class WorkflowScaffold(msgspec.Struct, frozen=True):
    """A workflow file and the code that registers its handlers."""

    name: str
    file: str
    steps: list[str]
    handlers: str


def project(name: str, language: Language) -> Project:
    """Create a directory with a workflow of one step and a worker for it.

    Raises:
        InvalidError: the name is not alphanumeric with hyphens inside.
        ConflictError: there is something of that name already.
    """
    _check_name(name, "project name")
    main, code = ("main.py", PYTHON_MAIN) if language == Language.PYTHON else ("main.go", GO_MAIN)
    try:
        Path(name).mkdir(mode=0o755)
    except FileExistsError:
        raise ConflictError(
            f'init: directory "{name}" already exists', "choose another name or remove it"
        ) from None
    _write(Path(name) / "workflow.json", _definition(name, [("process", "process")]))
    _write(Path(name) / main, code.replace("{name}", name))
    return Project(name, name, ["workflow.json", main])


def workflow(name: str, steps: str, language: Language) -> WorkflowScaffold:
    """Write a workflow file with a chain of steps; never over an existing one.

    Raises:
        InvalidError: a name is malformed, there twice, or one of too many.
        ConflictError: the file exists.
    """
    _check_name(name, "workflow name")
    if len(name) < 2:
        raise InvalidError("workflow name must be at least 2 characters")
    ids = _step_ids(steps)
    tasks = [(step, f"{name}-{step}") for step in ids]
    _write(Path(f"{name}.json"), _definition(name, tasks))
    return WorkflowScaffold(name, f"{name}.json", ids, _handlers(name, ids, language))


def project_steps(name: str, language: Language) -> list[str]:
    """The commands that bring a new project to life."""
    run = "python main.py" if language == Language.PYTHON else "go run ."
    return [
        "dagnats serve",
        f"cd {name} && dagnats workflow register workflow.json",
        run,
        f"dagnats run start {name} '{{}}' --watch",
    ]


def _check_name(name: str, what: str) -> None:
    if not name:
        raise InvalidError(f"invalid name: {what} must not be empty")
    if len(name) > MAX_NAME:
        raise InvalidError(f"invalid name: {what} has {len(name)} characters (max {MAX_NAME})")
    if not name.isascii() or not _NAME.match(name):
        raise InvalidError(
            f"invalid name: {what} must be alphanumeric and hyphens only: {name!r}",
            "write it like my-pipeline",
        )
    if _DEVICES.match(name):
        raise InvalidError(f"invalid name: {name} is the name of a device on Windows")


def _step_ids(text: str) -> list[str]:
    ids = text.split(",")
    if len(ids) > MAX_STEPS:
        raise InvalidError(f"too many steps: {len(ids)} (max {MAX_STEPS})")
    for index, step in enumerate(ids):
        _check_name(step, "step name")
        if step in ids[:index]:
            raise InvalidError(f'duplicate step name "{step}"', "give every step its own name")
    return ids


def _definition(name: str, tasks: list[tuple[str, str]]) -> str:
    steps: list[dict[str, object]] = []
    for step, task in tasks:
        depends = {"depends_on": [steps[-1]["id"]]} if steps else {}
        steps.append({"id": step, "task": task, **depends})
    document = {"$schema": SCHEMA, "name": name, "version": "1.0", "steps": steps}
    return json.dumps(document, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o644)
    except FileExistsError:
        raise ConflictError(f'file "{path}" already exists', "nothing was overwritten") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _handlers(name: str, steps: list[str], language: Language) -> str:
    if language == Language.GO:
        if len(steps) == 1:
            return GO_SNIPPET.replace("{task}", f"{name}-{steps[0]}").replace("{step}", steps[0])
        lines = [f'  w.Handle("{name}-{step}", handle{_pascal(step)})' for step in steps]
        return "\n".join(lines)
    parts = [
        PYTHON_SNIPPET.replace("{task}", f"{name}-{step}").replace("{function}", _snake(step))
        for step in steps
    ]
    return "\n\n".join(parts)


def _pascal(step: str) -> str:
    return "".join(part.capitalize() for part in step.split("-") if part)


def _snake(step: str) -> str:
    return "handle_" + re.sub("-+", "_", step)
