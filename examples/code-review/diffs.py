"""Read a diff from git, or from the patch beside this file, and take it apart into hunks."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, TypedDict

PATCH = Path(__file__).parent / "sample.patch"

MAX_DIFF = 2 * 1024 * 1024
"""Largest diff we read, in bytes."""

MAX_HUNKS = 200
"""Most hunks one review takes; the loop's ``max_iterations`` is one more."""

MAX_SOURCE = 256 * 1024
"""Largest file we hand to the linter, in bytes."""

GIT_TIMEOUT = 30.0
"""Seconds one call of git may take."""

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The object id git gives an empty directory: what a repository's first commit is compared with."""

_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@{}^~-]{0,199}")
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)")


class RequestError(ValueError):
    """The run's input asks for something we refuse; trying again would not help."""


class Hunk(TypedDict):
    """One stretch of change: ``start`` is its first line in the new file."""

    path: str
    start: int
    context: str
    lines: list[str]


class Diff(TypedDict):
    """What ``git.fetch-diff`` returns."""

    repo: str
    range: str
    label: str
    hunks: list[Hunk]
    hunks_left_out: int
    sources: dict[str, str]


class Request(TypedDict):
    """The run's input once it is checked. An empty ``repo`` means the bundled patch."""

    repo: str
    base: str
    head: str
    limit: int
    label: str


def read_request(given: Any) -> Request:
    """Check the run's input.

    Args:
        given: nothing, or an object with any of ``repo`` (a directory), ``range`` (``BASE..HEAD``),
            ``limit`` (hunks, 1 to 200) and ``pr`` (a number for the report's title).

    Raises:
        RequestError: a value is not of that shape.
    """
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise RequestError(
            'the input must be an object such as {"repo": ".", "range": "HEAD~1..HEAD"}'
        )
    base, head = _read_range(given.get("range", ""))
    limit, number = given.get("limit", MAX_HUNKS), given.get("pr")
    if type(limit) is not int or not 1 <= limit <= MAX_HUNKS:
        raise RequestError(f"limit must be a whole number from 1 to {MAX_HUNKS}, not {limit!r:.40}")
    if number is not None and type(number) is not int:
        raise RequestError(f"pr must be a whole number, not {number!r:.40}")
    label = "" if number is None else f"PR {number}"
    repo = _read_repo(given.get("repo", ""))
    return Request(repo=repo, base=base, head=head, limit=limit, label=label)


def _read_range(text: Any) -> tuple[str, str]:
    if text == "":
        return "", "HEAD"
    if not isinstance(text, str) or text.count("..") != 1 or "..." in text:
        raise RequestError(f"range must look like BASE..HEAD, not {text!r:.80}")
    base, _, head = text.partition("..")
    for revision in (base, head):
        if not _REVISION.fullmatch(revision):
            raise RequestError(f"{revision!r:.80} is not a revision we hand to git")
    return base, head


def _read_repo(text: Any) -> str:
    if not isinstance(text, str) or "\0" in text or len(text) > 4096:
        raise RequestError(f"repo must be the path of a directory, not {text!r:.80}")
    if not text:
        here = Path(__file__).resolve().parent
        return str(here) if _is_repository(here) else ""
    folder = Path(text).expanduser().resolve()
    if not _is_repository(folder):
        raise RequestError(f"{str(folder)[:200]!r} is not in a git repository")
    return str(folder)


def _is_repository(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        return git(folder, "rev-parse", "--verify", "-q", "HEAD") != b""
    except (OSError, RequestError):
        return False


def git(repo: str | Path, *arguments: str, most: int = MAX_DIFF) -> bytes:
    """What git prints. Arguments go to it as a list; no shell reads them.

    Args:
        repo: a directory of the repository.
        arguments: the subcommand and what follows it.
        most: how many bytes it may print.

    Raises:
        RequestError: git refused, took too long, or printed more than that.
    """
    command = ["git", "-C", str(repo), "--no-pager", "-c", "core.fsmonitor=false", *arguments]
    environment = os.environ | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
    with tempfile.TemporaryFile() as out:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                env=environment,
                timeout=GIT_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RequestError(f"git {arguments[0]} took longer than {GIT_TIMEOUT:.0f} s") from None
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise RequestError(f"git {arguments[0]}: {words[0][:200]}")
        out.seek(0)
        text = out.read(most + 1)
    if len(text) > most:
        raise RequestError(f"the diff is larger than {most // 1024} KiB; ask for a smaller range")
    return text


def fetch(request: Request) -> Diff:
    """The diff the request asks for, with the new text of the files it touches.

    Raises:
        RequestError: git refused.
    """
    if not request["repo"]:
        return _bundled(request)
    repo, head = request["repo"], request["head"]
    base = request["base"] or _before(repo, head)
    text = git(
        repo, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames",
        "--diff-filter=AM", "-U3", base, head, "--",
    )  # fmt: skip
    hunks = parse(text.decode(errors="replace"))
    kept = hunks[: request["limit"]]
    start = request["base"] or ("(nothing)" if base == EMPTY_TREE else base[:12])
    shown = f"{start}..{head}"
    return Diff(
        repo=repo, range=shown, label=request["label"], hunks=kept,
        hunks_left_out=len(hunks) - len(kept), sources=_sources(repo, head, kept),
    )  # fmt: skip


def _before(repo: str, head: str) -> str:
    """The parent of a commit, or the empty tree when it has none (a shallow or new repository)."""
    parents = git(repo, "rev-list", "--parents", "-n", "1", head, "--").split()
    return parents[1].decode() if len(parents) > 1 else EMPTY_TREE


def _bundled(request: Request) -> Diff:
    hunks = parse(PATCH.read_text(encoding="utf-8"))
    kept = hunks[: request["limit"]]
    return Diff(
        repo="", range=PATCH.name, label=request["label"], hunks=kept,
        hunks_left_out=len(hunks) - len(kept), sources=_added_files(kept),
    )  # fmt: skip


def _added_files(hunks: list[Hunk]) -> dict[str, str]:
    """A file that the patch adds is whole in the patch."""
    whole = (hunk for hunk in hunks if all(line.startswith("+") for line in hunk["lines"]))
    return {hunk["path"]: "\n".join(line[1:] for line in hunk["lines"]) + "\n" for hunk in whole}


def _sources(repo: str, head: str, hunks: list[Hunk]) -> dict[str, str]:
    """The new text of every Python file that changed and is not too large to lint."""
    found: dict[str, str] = {}
    top = git(repo, "rev-parse", "--show-toplevel").decode().rstrip("\n")
    for path in dict.fromkeys(hunk["path"] for hunk in hunks):
        if path.endswith(".py"):
            blob = f"{head}:{path}"
            if int(git(top, "cat-file", "-s", blob)) <= MAX_SOURCE:
                found[path] = git(top, "cat-file", "blob", blob).decode(errors="replace")
    return found


def parse(text: str) -> list[Hunk]:
    """Take a unified diff apart. Binary files and deletions have no hunks of interest."""
    hunks: list[Hunk] = []
    path = ""
    for line in text.split("\n"):
        if line.startswith("diff --git "):
            path = ""
        elif line.startswith("+++ b/") and not path:
            path = line.removeprefix("+++ b/").rstrip("\t")
        elif path and (match := _HUNK.match(line)):
            start, context = match.groups()
            hunks.append(Hunk(path=path, start=int(start), context=context[:200], lines=[]))
        elif hunks and path and line[:1] in {"+", "-", " "}:
            hunks[-1]["lines"].append(line)
    return hunks
