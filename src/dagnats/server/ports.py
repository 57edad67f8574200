"""Which port to listen on when the one we want is taken.

The default is a suggestion: a developer with something else on 8080 still gets a server, and is
told loudly where it is. A port somebody chose is an order: others count on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time

from msgspec import Struct

from dagnats.errors import ConflictError, DagnatsError

DYING_S = 0.5
"""How long a taken port is looked at again: a child outlives its killed parent by some 10 ms."""


class Choice(Struct, frozen=True):
    """A port to listen on, and what to tell the operator about it; mostly nothing."""

    port: int
    note: str = ""


def choose(name: str, host: str, port: int, *, must: bool) -> Choice:
    """The port to use for a listener.

    Between this look and the listening somebody else may come; the listener fails then.

    Args:
        name: the key, for messages.
        host: the address to listen on.
        port: the port that is wanted.
        must: no other will do: the port was chosen by the operator.

    Raises:
        ConflictError: the port is taken and no other will do.
        DagnatsError: the address is not this machine's, or we may not listen there.
    """
    problem = _lasting_problem(host, port)
    if problem is None:
        return Choice(port)
    if problem != errno.EADDRINUSE:
        raise DagnatsError(
            f"{name}: cannot listen on {host}:{port}: {os.strerror(problem)}", f"change {name}"
        )
    if must:
        raise ConflictError(
            f"{name}: {host}:{port} is in use", f"stop what listens there, or change {name}"
        )
    with _socket(host) as probe:
        probe.bind((host, 0))
        other = int(probe.getsockname()[1])
    return Choice(other, f"{host}:{port} is in use: {name} falls back to {other}")


def _lasting_problem(host: str, port: int) -> int | None:
    """The problem that is left when a server of ours that was just killed has had time to die."""
    deadline = time.monotonic() + DYING_S
    while True:
        problem = _problem(host, port)
        if problem != errno.EADDRINUSE or time.monotonic() > deadline:
            return problem
        time.sleep(0.01)


def _problem(host: str, port: int) -> int | None:
    """Why we cannot listen there (an errno), or ``None``."""
    with _socket(host) as probe:
        # As servers do: the remains of a connection that ended moments ago are not in the way.
        with contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EIO
    return None


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
