"""The data directory and its lock, and the choice of ports."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagnats.errors import ConflictError, DagnatsError
from dagnats.server import ports
from dagnats.server.datadir import LOCK, DataDir, ensure_writable

HOLD = """
import sys
from pathlib import Path
from dagnats.server.datadir import DataDir
held = DataDir(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_it_is_ours_alone(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o755)
    for path in (loose, tmp_path / "a" / "b"):
        with DataDir(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert stat.S_IMODE((path / LOCK).stat().st_mode) == 0o600


def test_a_second_server_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ConflictError, match=rf"in use by another server \(process {holder.pid}\)"):
        DataDir(tmp_path)
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with DataDir(tmp_path):  # a killed holder leaves a file, but no lock
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_it_can_be_taken_again_once_released(tmp_path: Path) -> None:
    first = DataDir(tmp_path)
    first.release()
    first.release()
    DataDir(tmp_path).release()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DagnatsError, match="is not a directory"):
        DataDir(tmp_path / "file" / "data")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_private_files(tmp_path: Path) -> None:
    with DataDir(tmp_path) as data:
        for content in ("one", "two"):
            path = data.private_file("leaf.creds", content)
            assert path.read_text() == content
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])


def test_a_free_port_is_used(taken: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    assert ports.choose("nats_port", "127.0.0.1", free, must=True) == ports.Choice(free)


def test_a_taken_default_falls_back_loudly(taken: int) -> None:
    choice = ports.choose("nats_port", "127.0.0.1", taken, must=False)
    assert choice.port not in (0, taken)
    assert f"127.0.0.1:{taken} is in use: nats_port falls back to {choice.port}" in choice.note


def test_a_taken_chosen_port_is_an_error(taken: int) -> None:
    with pytest.raises(ConflictError, match=f"nats_port: 127.0.0.1:{taken} is in use"):
        ports.choose("nats_port", "127.0.0.1", taken, must=True)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_somebody_elses_address(host: str) -> None:
    with pytest.raises(DagnatsError, match=f"cannot listen on {host}"):
        ports.choose("http_addr", host, 8080, must=False)
