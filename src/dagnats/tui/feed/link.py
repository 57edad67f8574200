"""The connection as the header shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Link:
    """How the connection is.

    Attributes:
        state: ``connecting``, ``live``, ``offline`` or ``recorded``.
        name: the context or address.
        since: when it came to this state, ns since 1970.
        error: why it is not live.
        tries: attempts to connect since it was lost.
        heard: when something was last heard, ns since 1970: data is as of then.
        missed: changes that were caught up when the connection came back.
        away: for how long it had been gone then, ns.
    """

    state: str = "connecting"
    name: str = ""
    since: int = 0
    error: str = ""
    tries: int = 0
    heard: int = 0
    missed: int = 0
    away: int = 0

    @property
    def up(self) -> bool:
        """Whether the server can be asked."""
        return self.state in ("live", "recorded")
