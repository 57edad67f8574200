"""The house stands: imports point down, pure rooms are pure, start-up pulls only what it uses."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "dagnats"

FLOORS = {
    "errors": 0,
    "model": 0,
    "engine": 1,
    "wire": 1,
    "telemetry": 1,
    "runtime": 2,
    "worker": 2,
    "services": 2,
    "server": 3,
    "cli": 3,
    "tui": 3,
    "demo": 3,
    "testing": 3,
    "verify": 3,
}
"""Package to floor, after ``docs/architecture.md``."""

IMPURE = {
    *("asyncio", "socket", "ssl", "subprocess", "threading", "multiprocessing", "selectors"),
    *("os", "io", "pathlib", "shutil", "tempfile", "signal", "logging", "sys"),
    *("time", "random", "secrets", "uuid", "nats", "starlette", "uvicorn", "typer", "rich"),
    *("textual", "watchfiles", "platformdirs", "httpx", "requests"),
}
"""What ``model`` and ``engine`` may not import: I/O, clocks, randomness, frameworks."""

IMPURE_CALLS = re.compile(r"\b(datetime\.now|datetime\.utcnow|date\.today|open|print|input)\(")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _package(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Every module the file imports, at the top or inside a function, in full."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports here are absolute"
            assert node.module is not None
            yield node.module
            if node.module == "dagnats":
                yield from (f"dagnats.{alias.name}" for alias in node.names)


def _own(path: Path) -> set[str]:
    """The packages of ours that the file imports."""
    names = {name.split(".")[1] for name in _imports(path) if name.startswith("dagnats.")}
    return names & FLOORS.keys()


def _roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def test_every_package_has_a_floor() -> None:
    packages = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert packages <= FLOORS.keys()


def test_imports_point_down() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports dagnats.{name}"
        for path in _modules()
        if (mine := _package(path)) in FLOORS
        for name in _own(path)
        if name != mine and FLOORS[name] > FLOORS[mine]
    ]
    assert wrong == []


def test_the_two_rooms_of_floor_one_do_not_know_each_other() -> None:
    for path in _modules():
        if _package(path) in {"engine", "wire"}:
            assert _own(path) <= {_package(path), "model", "errors"}, path


def test_only_wire_imports_nats() -> None:
    users = {_package(path) for path in _modules() if "nats" in _roots(path)}
    assert users <= {"wire"}


def test_model_and_engine_are_pure() -> None:
    for path in _modules():
        if _package(path) in {"model", "engine"}:
            assert _roots(path) & IMPURE == set(), path
            assert not IMPURE_CALLS.search(_code(path)), path


def _code(path: Path) -> str:
    """The file without docstrings and comments."""
    return ast.unparse(_without_docstrings(_tree(path)))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    copy = ast.parse(ast.unparse(tree))
    for node in ast.walk(copy):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [item for item in body if not _is_text(item)] or [ast.Pass()]
    return copy


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def test_the_faces_never_import_wire() -> None:
    for path in _modules():
        inside = path.relative_to(SOURCE)
        http = inside.parts[:2] in {("server", "http"), ("server", "http.py")}
        if _package(path) in {"cli", "tui"} or http:
            assert "wire" not in _own(path), inside


def test_services_print_nothing() -> None:
    for path in _modules():
        if _package(path) == "services":
            assert not re.search(r"\bprint\(", _code(path)), path
            assert _roots(path) & {"rich", "typer", "textual", "argparse"} == set(), path


def _loaded(*code: str) -> set[str]:
    """The top-level modules a fresh interpreter has loaded after running the code."""
    script = "\n".join((*code, "import sys", "sys.stderr.write('\\n'.join(sys.modules))"))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    return {name.split(".")[0] for name in done.stderr.splitlines()}


def test_import_dagnats_is_light() -> None:
    assert _loaded("import dagnats") & {"textual", "starlette", "uvicorn", "typer", "nats"} == set()


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_asking_what_it_is_loads_neither_nats_nor_typer(flag: str) -> None:
    run = (
        "import sys",
        f"sys.argv = ['dagnats', '{flag}']",
        "from dagnats.cli import main",
        "try:",
        "    main()",
        "except SystemExit as end:",
        "    assert not end.code, end.code",
    )
    heavy = {"nats", "typer", "rich", "textual", "starlette", "uvicorn", "asyncio"}
    assert _loaded(*run) & heavy == set()


def _tracked() -> list[Path]:
    """The text files of the repository; empty outside a clone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


# Put together from pieces, so that this file does not contain what it looks for.
HOSTS = re.compile(
    "|".join(("py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.", "--index" + "-url"))
)
PLACES = re.compile(
    r"(?:^|[\s\"'=(])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "fa" + "rm")) + r")/\w"
)


def test_no_registry_host_and_no_path_of_one_machine_in_the_tree() -> None:
    found: list[str] = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        for number, line in enumerate(text.splitlines(), 1):
            if HOSTS.search(line) or PLACES.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_no_file_has_outgrown_a_reader() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in _modules()}
    assert [str(path) for path, lines in sizes.items() if lines > 450] == []
