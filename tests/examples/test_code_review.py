"""The parts of the code-review example, on a repository made for the purpose."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "code-review"


@pytest.fixture(scope="module", autouse=True)
def _example_on_the_path() -> Iterator[None]:
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of two commits; the second has something to find."""
    folder = tmp_path / "repo"
    folder.mkdir()
    commit(folder, "one", "a.py", "x = 1\n")
    commit(folder, "two", "a.py", "import os\nx = eval('1')\n")
    return folder


def commit(folder: Path, message: str, name: str, text: str) -> None:
    (folder / name).write_text(text)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", name], [*identity, "commit", "-q", "-m", message]):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=20)


def test_the_last_commit_is_reviewed_and_linted(repo: Path) -> None:
    import diffs
    import linting
    import rules

    diff = diffs.fetch(diffs.read_request({"repo": str(repo), "pr": 42}))
    assert diff["label"] == "PR 42"
    assert diff["sources"] == {"a.py": "import os\nx = eval('1')\n"}
    (hunk,) = diff["hunks"]
    assert [(found["rule"], found["line"]) for found in rules.review(hunk)] == [("eval", 2)]
    assert linting.lint(diff["sources"])["files"] == 1


def test_the_first_commit_is_compared_with_nothing(repo: Path) -> None:
    import diffs

    first = diffs.git(repo, "rev-list", "--max-parents=0", "HEAD").decode().strip()
    request = diffs.read_request({"repo": str(repo)}) | {"head": first}
    assert [hunk["lines"] for hunk in diffs.fetch(request)["hunks"]] == [["+x = 1"]]


def test_a_hunk_beyond_the_limit_is_counted(repo: Path) -> None:
    import diffs

    commit(repo, "three", "b.py", "y = 2\n")
    request = diffs.read_request({"repo": str(repo), "range": "HEAD~2..HEAD", "limit": 1})
    diff = diffs.fetch(request)
    assert (len(diff["hunks"]), diff["hunks_left_out"]) == (1, 1)


@pytest.mark.parametrize(
    "given",
    [
        [],
        "HEAD",
        {"range": "--output=/tmp/x..HEAD"},
        {"range": "-x"},
        {"range": "HEAD~1...HEAD"},
        {"range": "HEAD..-p"},
        {"range": "a b..HEAD"},
        {"range": 3},
        {"limit": 0},
        {"limit": True},
        {"limit": 10**9},
        {"pr": "42; rm"},
        {"repo": "\0"},
        {"repo": "/nowhere/at/all"},
        {"repo": 7},
    ],
)
def test_what_is_refused(given: Any) -> None:
    import diffs

    with pytest.raises(diffs.RequestError):
        diffs.read_request(given)


def test_an_unknown_revision_is_git_s_own_word(repo: Path) -> None:
    import diffs

    with pytest.raises(diffs.RequestError, match="git diff"):
        diffs.fetch(diffs.read_request({"repo": str(repo), "range": "nope..HEAD"}))


def test_the_bundled_patch_has_something_of_everything() -> None:
    import diffs
    import rules

    request = diffs.Request(repo="", base="", head="HEAD", limit=200, label="")
    diff = diffs.fetch(request)
    assert list(diff["sources"]) == ["shop/prices.py"]
    found = {finding["rule"] for hunk in diff["hunks"] for finding in rules.review(hunk)}
    assert found == {"note", "secret", "eval", "shell", "bare-except", "debug", "space"}


def test_python_s_compiler_stands_in_for_ruff(monkeypatch: pytest.MonkeyPatch) -> None:
    import linting

    monkeypatch.setattr(linting, "_ruff", lambda: "")
    result = linting.lint({"bad.py": "def f(:\n", "good.py": "x = 1\n"})
    assert result["linter"] == "python"
    assert [(found["path"], found["line"]) for found in result["findings"]] == [("bad.py", 1)]


def test_the_report_quotes_and_is_written_once_per_run(tmp_path: Path) -> None:
    import linting
    import report

    finding = linting.Finding(path="a`b|c.py", line=1, rule="x", message="<b>\x1b[31m")
    summary = report.Summary(title="T", summary="s", notes=[], findings=[finding])
    posted = report.write(tmp_path, "abc", summary)
    assert report.write(tmp_path, "abc", summary) == posted
    text = Path(posted["report"]).read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["code-review-abc.md"]
    assert "\x1b" not in text
    assert "`a'b'c.py`" in text
    with pytest.raises(ValueError, match="file name"):
        report.write(tmp_path, "../abc", summary)
