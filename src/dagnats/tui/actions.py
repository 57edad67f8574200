"""What keys do: one kind of record for the footer, the help, the palette and the dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Run = Callable[[], object]
"""What an action does; a coroutine that it returns is run in the background."""

KEY_TEXT = {
    "enter": "⏎",
    "space": "space",
    "escape": "esc",
    "backspace": "⌫",
    "tab": "tab",
    "shift+tab": "⇧tab",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "home": "home",
    "end": "end",
}
"""How keys are written where they are not written as themselves."""


def always_on() -> str:
    """Nothing speaks against it."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing a key does.

    Attributes:
        id: stable name, e.g. ``run.cancel``; links in the footer and user key maps use it.
        keys: keys that run it: characters as typed (``G``, ``/``, ``[``), else names such as
            ``enter``, ``ctrl+d``, ``pagedown``, ``space``.
        label: one or two words for the footer; empty keeps it out of the footer.
        title: what the help and the palette say.
        run: does it.
        changes: it changes something on the server, so it is off in read-only mode, in the past and
            while the connection is lost.
        off: why it cannot be done now; empty when it can.
        choices: the keys that may follow, for a prefix such as ``y``.
        group: heading in the help: ``Do``, ``See`` or ``Go``.
    """

    id: str
    keys: tuple[str, ...]
    title: str
    run: Run
    label: str = ""
    changes: bool = False
    off: Callable[[], str] = always_on
    choices: Callable[[], list[Action]] | None = None
    group: str = field(default="See")


def going(action_id: str, title: str, run: Run, *keys: str) -> Action:
    """An action that only moves."""
    return Action(id=action_id, keys=keys, title=title, run=run, group="Go")


def key_text(key: str) -> str:
    """A key as it is shown."""
    if key.startswith("ctrl+"):
        return "^" + key[5:]
    return KEY_TEXT.get(key, key)


def by_key(actions: Iterable[Action]) -> dict[str, Action]:
    """Key to action; the first that claims a key has it."""
    found: dict[str, Action] = {}
    for action in actions:
        for key in action.keys:
            found.setdefault(key, action)
    return found


def effective(actions: Iterable[Action]) -> list[Action]:
    """The actions in order of precedence, without those whose every key another one took."""
    known: dict[str, Action] = {}
    kept: list[Action] = []
    for action in actions:
        free = [key for key in action.keys if key not in known]
        for key in free:
            known[key] = action
        if free or not action.keys:
            kept.append(action)
    return kept
