"""Which port to take when the one that is wanted is taken."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from dagnats.errors import ConflictError
from dagnats.server import ports
from dagnats.server.embedded import free_port
from dagnats.server.natsconf import LOOPBACK


def _taken() -> socket.socket:
    holder = socket.socket()
    holder.bind((LOOPBACK, 0))
    holder.listen()
    return holder


def test_a_port_that_is_taken_is_refused_or_left_for_another() -> None:
    with _taken() as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConflictError, match=f"{port} is in use"):
            ports.choose("nats_port", LOOPBACK, port, must=True)
        choice = ports.choose("nats_port", LOOPBACK, port, must=False)
    assert choice.port != port
    assert "falls back" in choice.note
    assert ports.choose("nats_port", LOOPBACK, free_port(), must=True).note == ""


def test_a_port_that_a_dying_process_still_holds_is_waited_for() -> None:
    holder = _taken()
    port = holder.getsockname()[1]
    threading.Timer(0.1, holder.close).start()
    began = time.monotonic()
    assert ports.choose("nats_port", LOOPBACK, port, must=True).port == port
    assert time.monotonic() - began < ports.DYING_S
