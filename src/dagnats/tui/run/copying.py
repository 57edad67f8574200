"""What ``y`` copies on the screen of a run, and the commands that do what it shows."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from dagnats.tui.jsontree import path_text
from dagnats.tui.run.eventlist import payload_of
from dagnats.tui.run.facts import document, error_of
from dagnats.tui.view import Copy

if TYPE_CHECKING:
    from dagnats.tui.run.screen import RunScreen


def shell(*words: str) -> str:
    """A ``dagnats`` command line, quoted for a shell."""
    return " ".join(["dagnats", *(shlex.quote(word) for word in words)])


def command_of(screen: RunScreen) -> str:
    """The command that prints what the focused pane shows."""
    state = screen.state
    if not state.live:
        seq = state.history.events[(state.position or 1) - 1].seq
        return shell("run", "show", state.run_id, f"--at-seq={seq}")
    if screen.pane == "events":
        more = [f"--step={screen.events.step}"] if screen.events.step else []
        return shell("run", "events", state.run_id, *more)
    if screen.pane == "inspector" and screen.inspector.tab == "logs":
        return shell("logs", f"--run={state.run_id}")
    return shell("run", "inspect", state.run_id)


def copies_of(screen: RunScreen) -> list[Copy]:
    """Id, step, error, value and path under the cursor, whole documents."""
    state, row = screen.state, screen.row
    found = [Copy("i", "run id", state.run_id)]
    if state.view is None:
        return found
    if row is not None and row.step_id:
        found.append(Copy("s", "step id", row.key if row.kind == "item" else row.step_id))
    if row is not None and (error := error_of(state, row)[0]):
        found.append(Copy("e", "error", error))
    found += _under_cursor(screen)
    for key, what in (("I", "input"), ("O", "output")):
        data = bytes(document(state, row, what)) if row is not None else b""
        if data:
            found.append(Copy(key, what, data.decode(errors="replace")))
    return found


def _under_cursor(screen: RunScreen) -> list[Copy]:
    if screen.pane == "events" and screen.events.current is not None:
        event = screen.state.history.events[screen.events.current - 1]
        return [Copy("v", "payload", payload_of(event)), Copy("n", "sequence", str(event.seq))]
    item = screen.inspector.current
    if item is None:
        return []
    found = [Copy("v", "value", item.text)] if item.text else []
    if item.node is not None and item.node.path:
        found.append(Copy("p", "path", path_text(item.node.path)))
    return found
