"""Workflow files: reading them, checking them, registering what they say."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from dagnats.errors import InvalidError, NotFoundError, TooLargeError
from dagnats.model.document import MAX_BYTES
from dagnats.model.files import WorkflowFile, read_workflow
from dagnats.services.session import Session
from dagnats.services.workflows import Registered, register_definition


def read_file(path: str) -> WorkflowFile:
    """A workflow file, or standard input for ``-``; its broken rules are in ``problems``.

    Raises:
        NotFoundError: there is no such file.
        InvalidError, TooLargeError: it cannot be read, or is no workflow document.
    """
    try:
        return read_workflow(_content(path))
    except InvalidError as error:
        problems = tuple(f"parse workflow: {problem}" for problem in error.problems)
        raise InvalidError(problems[0], error.hint, problems) from None


def validate_file(path: str) -> WorkflowFile:
    """A workflow file without a broken rule.

    Raises:
        InvalidError: naming every problem, each behind ``invalid: ``.
    """
    file = read_file(path)
    if file.problems:
        problems = tuple(f"invalid: {problem.text}" for problem in file.problems)
        raise InvalidError(problems[0], file.problems[0].hint, problems)
    return file


async def register(session: Session, file: WorkflowFile) -> Registered:
    """Create or replace the workflow of a file, with its triggers.

    Raises:
        InvalidError: naming every problem; nothing was written.
    """
    if file.problems:
        problems = tuple(f"register workflow: invalid workflow: {p.text}" for p in file.problems)
        raise InvalidError(problems[0], file.problems[0].hint, problems)
    return await register_definition(session, file.definition, file.triggers)


def _content(path: str) -> bytes:
    data = sys.stdin.buffer.read(MAX_BYTES + 1) if path == "-" else _regular(Path(path))
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"read file: {path} is larger than {MAX_BYTES} bytes")
    return data


def _regular(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InvalidError(f"read file: {path} is not a regular file")
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(
            f"read file: open {path}: no such file or directory", "check the path"
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidError(f"read file: {path!s:.200}: {error}") from None
