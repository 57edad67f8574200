"""Runs command lines inside the test process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

from dagnats.cli import execute, run
from tests.cli import schemas

# Making the commands of a group takes longer than running one of them; they keep nothing.
execute.load = cache(execute.load)

ENVIRONMENT = {"NO_COLOR": "", "TERM": "xterm", "DAGNATS_DEBUG": ""}


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def cli(
    *argv: str,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    closed: bool = False,
) -> Result:
    """Run ``dagnats ARGV`` and collect what it says; JSON is checked against its schema.

    Args:
        argv: the words after the program name.
        stdin: what can be read.
        env: more environment.
        closed: standard output is a pipe that nobody reads.
    """
    given = stdin.encode() if isinstance(stdin, str) else stdin
    streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8") for data in (given, b"", b"")]
    before = sys.stdin, sys.stdout, sys.stderr, sys.__stdout__
    sys.stdin, sys.stdout, sys.stderr = streams
    if closed:
        sys.stdout = sys.__stdout__ = _broken_pipe()  # type: ignore[misc]
    try:
        with patch.dict("os.environ", {**ENVIRONMENT, **(env or {})}):
            code = run(list(argv))
    finally:
        if closed:
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.close()
        sys.stdin, sys.stdout, sys.stderr, sys.__stdout__ = before  # type: ignore[misc]
    done = Result(code, *(_text(stream) for stream in streams[1:]))
    if schemas.wants_json(argv) and "--help" not in argv:
        schemas.check(argv, done.out)
    return done


def _broken_pipe() -> io.TextIOWrapper:
    read, write = os.pipe()
    os.close(read)
    return io.TextIOWrapper(os.fdopen(write, "wb"), encoding="utf-8")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
