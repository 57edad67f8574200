"""The data directory: ours alone, and one server's at a time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType

from dagnats.errors import ConflictError, DagnatsError

LOCK = "serve.lock"

_HINT = "choose another with --data-dir or DAGNATS_DATA_DIR"


def ensure_writable(path: Path) -> None:
    """Check, without changing anything, that the directory can be used or made.

    Raises:
        DagnatsError: it cannot.
    """
    place = path
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise DagnatsError(f"data_dir {path}: {place} is not a directory", _HINT)
    if not os.access(place, os.W_OK | os.X_OK):
        raise DagnatsError(f"data_dir {path} cannot be written", _HINT)


class DataDir:
    """The data directory of a running server, locked against a second one.

    The lock is the kernel's (``flock``): it is gone when its holder is, however that ended, so a
    file left behind means nothing.

    Args:
        path: the directory; made when missing, readable by its owner only.

    Raises:
        ConflictError: another server uses it; names its process.
        DagnatsError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        ensure_writable(path)
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.chmod(0o700)  # an older or looser directory becomes ours alone as well
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DagnatsError(f"data_dir {path}: {error.strerror}", _HINT) from None
        try:
            self._take()
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 64).decode("ascii", "replace")
            by = f" (process {holder})" if re.fullmatch(r"\d+", holder) else ""
            raise ConflictError(
                f"data_dir {self.path} is in use by another server{by}",
                f"stop that server, or {_HINT}",
            ) from None
        except OSError as error:
            raise DagnatsError(
                f"data_dir {self.path} cannot be locked: {error.strerror}", _HINT
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def private_file(self, name: str, content: str) -> Path:
        """Write a file that only its owner can read."""
        path = self.path / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
        return path

    def release(self) -> None:
        """Let others use it. The file stays: removing it would race with the next holder."""
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataDir:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
