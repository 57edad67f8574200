"""A server's state in one file, and back: for looking at an incident later, or elsewhere.

The file is a ZIP archive: ``manifest.json`` says when it was made, ``{stream}.json`` and
``{stream}.data`` hold a stream each as JetStream's own snapshot, so every sequence and every time
is as it was.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from dagnats import __version__
from dagnats.errors import InvalidError, NotFoundError
from dagnats.services.infos import stream_infos
from dagnats.services.session import Session
from dagnats.wire.snapshots import CHUNK, restore, snapshot

FORMAT = "dagnats-recording/1"
SKIPPED = frozenset({"STICKY_TASKS", "KV_leases"})
"""Streams that mean nothing elsewhere: memory only, or who leads."""

ABOUT_BYTES = 1 << 20
"""A manifest larger than this is none."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a recording says of itself.

    Args:
        at: when it was made, ns since 1970: the time that replays show.
        server: where it was made.
        streams: what it holds.
    """

    format: str
    at: int
    server: str
    version: str
    streams: list[str]


async def record(
    session: Session, path: Path, progress: Callable[[str, int], None] | None = None
) -> Manifest:
    """Write every stream and bucket to a file.

    Args:
        session: the connection.
        path: the file; one that exists is replaced once all is written.
        progress: called with each stream's name and the bytes written for it.
    """
    at = session.now()
    names = [
        info["config"]["name"]
        for info in await stream_infos(session)
        if info["config"]["name"] not in SKIPPED and info["config"].get("storage") != "memory"
    ]
    part = path.with_suffix(path.suffix + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            written = await _stream(session, archive, name)
            if progress is not None:
                progress(name, written)
        manifest = Manifest(
            format=FORMAT, at=at, server=session.url, version=__version__, streams=names
        )
        archive.writestr("manifest.json", msgspec.json.encode(manifest))
    part.replace(path)
    return manifest


async def _stream(session: Session, archive: zipfile.ZipFile, name: str) -> int:
    about: dict[str, Any] = {}
    written = 0
    with archive.open(f"{name}.data", "w") as file:
        async for piece in snapshot(session.bus, name):
            if isinstance(piece, bytes):
                written += file.write(piece)
            else:
                about = piece
    archive.writestr(f"{name}.json", msgspec.json.encode(about))
    return written


def read_manifest(path: Path) -> Manifest:
    """What a recording says of itself.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: the file is no recording.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open("manifest.json") as file:
            manifest = msgspec.json.decode(file.read(ABOUT_BYTES), type=Manifest)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except (OSError, KeyError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        hint = "make one with 'dagnats ui --record FILE'"
        raise InvalidError(f"{path} is not a recording: {error}", hint) from None
    if manifest.format != FORMAT:
        raise InvalidError(f"{path} is a recording of another format: {manifest.format[:40]}")
    return manifest


async def play(session: Session, path: Path) -> Manifest:
    """Put a recording on an empty server.

    Raises:
        NotFoundError, InvalidError: the file is no recording.
    """
    manifest = read_manifest(path)
    with zipfile.ZipFile(path) as archive:
        for name in manifest.streams:
            about = msgspec.json.decode(archive.read(f"{name}.json"))
            with archive.open(f"{name}.data") as file:
                await restore(session.bus, about, _pieces(file))
    return manifest


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK):
        yield piece
