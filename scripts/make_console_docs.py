"""Write the keys of every screen into ``docs/console.md``, as the program has them."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from dagnats.tui.actions import Action, effective, key_text
from dagnats.tui.app import Console
from dagnats.tui.global_keys import global_actions
from dagnats.tui.replay import recorded_feed
from dagnats.tui.screens import SCREENS, Entry

ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs" / "console.md"
RECORDING = ROOT / "tests" / "tui" / "recordings" / "busy.rec"
BEGIN, END = "<!-- keys -->\n", "<!-- /keys -->\n"


async def sections() -> str:
    """A table per screen."""
    app = Console(recorded_feed(RECORDING), "home")
    async with app.run_test(size=(140, 40)):
        await _loaded(app)
        everywhere = {action.id for action in global_actions(app)}
        parts: list[str] = []
        for entry in SCREENS:
            app.go(_address(app, entry))
            await _loaded(app)
            parts.append(_section(entry, effective(app.here()), everywhere))
    return "\n".join(parts)


def _address(app: Console, entry: Entry) -> str:
    failed = app.feed.pulse.newest_failures(2)
    things = {
        "run": failed[0].run_id,
        "diff": " ".join(row.run_id for row in failed),
        "flow": "code-review",
    }
    return f"{entry.kind} {things.get(entry.kind, '')}".strip()


async def _loaded(app: Console) -> None:
    end = time.monotonic() + 20
    await asyncio.sleep(0.15)
    while app.view is None or not app.view.loaded:
        if time.monotonic() > end:
            raise SystemExit(f"{app.navigator.root} was not complete")
        await asyncio.sleep(0.02)


def _section(entry: Entry, actions: list[Action], everywhere: set[str]) -> str:
    words = " ".join(part for part in (f":{entry.kind}", entry.takes) if part)
    key = f", key `{entry.key}`" if entry.key else ""
    lines = [f"### {entry.title}", "", f"`{words}`{key}. {entry.help}.", ""]
    if entry.terms:
        lines += ["Terms: " + ", ".join(f"`{term}:`" for term in entry.terms) + ".", ""]
    rows = [action for action in actions if action.keys and action.id not in everywhere]
    lines += ["| key | does |", "| --- | --- |"]
    for action in rows:
        if not action.id.startswith(("list.", "text.", "log.")):
            lines += _rows(action)
    return "\n".join(lines) + "\n"


def _rows(action: Action) -> list[str]:
    keys = " ".join(f"`{_escaped(key)}`" for key in action.keys)
    rows = [f"| {keys} | {_escaped_text(action.title)} |"]
    for choice in action.choices() if action.choices else ():
        pair = f"`{_escaped(action.keys[0])} {_escaped(choice.keys[0])}`"
        rows.append(f"| {pair} | {_escaped_text(choice.title)} |")
    return rows


def _escaped(key: str) -> str:
    return key_text(key).replace("|", "\\|")


def _escaped_text(text: str) -> str:
    return text.replace("|", "\\|")


def document(old: str) -> str:
    """The page with the tables as they should be."""
    head, _, rest = old.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{asyncio.run(sections())}\n{END}{tail}"


if __name__ == "__main__":
    page = document(DOC.read_text(encoding="utf-8"))
    if "--check" in sys.argv:
        raise SystemExit(page != DOC.read_text(encoding="utf-8"))
    DOC.write_text(page, encoding="utf-8")
