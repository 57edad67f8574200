"""Runs command lines inside the test process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from dagnats.cli import run
from tests.cli import schemas

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


def cli(*argv: str, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Result:
    """Run ``dagnats ARGV`` and collect what it says; JSON is checked against its schema."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8") for data in (given, b"", b"")]
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        with patch.dict("os.environ", {**ENVIRONMENT, **(env or {})}):
            code = run(list(argv))
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    done = Result(code, *(_text(stream) for stream in streams[1:]))
    if schemas.wants_json(argv) and "--help" not in argv:
        schemas.check(argv, done.out)
    return done


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
