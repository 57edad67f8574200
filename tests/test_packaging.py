"""The wheel installs anywhere and runs outside the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _run(*command: str | Path, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT),
        cwd=out,
    )
    (built,) = out.glob("dagnats-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with our wheel; its dependencies are those of this interpreter."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = home / "venv" / "bin" / "python"
    site = Path(
        _run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home
        ).strip()
    )
    _run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"),
        *("--no-index", wheel),
        cwd=home,
    )
    # The wheel stands before these on the path, so `dagnats` is never the tree's.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "dagnats/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dagnats"}


def test_the_wheel_holds_what_the_demo_runs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    example = {
        path.name for path in (ROOT / "examples" / "code-review").iterdir() if path.is_file()
    }
    for name in example:
        assert f"dagnats/demo/code_review/{name}" in names
    assert "dagnats/demo/workflows/worker.py" in names
    assert "dagnats/demo/workflows/release.json" in names


def test_the_command_runs_outside_the_tree(installed: Path) -> None:
    from dagnats import __version__

    command = installed / "venv" / "bin" / "dagnats"
    assert __version__ in _run(command, "--version", cwd=installed)


def test_the_module_runs_outside_the_tree(installed: Path) -> None:
    python = installed / "venv" / "bin" / "python"
    assert "Usage" in _run(python, "-m", "dagnats", "--help", cwd=installed)
    where = _run(python, "-c", "import dagnats; print(dagnats.__file__)", cwd=installed)
    assert Path(where.strip()).is_relative_to(installed)
