"""Lists as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dagnats.services.text import one_line
from dagnats.tui.format import plural
from dagnats.tui.host import Host
from dagnats.tui.sheets.confirm import Choice
from dagnats.tui.sheets.prompt import Prompt

FORMATS = [("j", "JSON", "json"), ("c", "CSV", "csv"), ("m", "Markdown", "md")]


async def export(host: Host, items: Sequence[Any], name: str) -> None:
    """Write things to a file of the user's choice.

    Args:
        host: asks and reports.
        items: structs of one kind.
        name: what they are, for the file's name.
    """
    if not items:
        host.report("there is nothing to export", "warn")
        return
    kind = await host.ask(
        Choice(f"Export {plural(len(items), name.removesuffix('s'))} as", FORMATS)
    )
    if kind is None:
        return
    target = await host.ask(Prompt("Write to", value=f"{name}.{kind}", check=_new, verb="write"))
    if target is None:
        return
    _write(target, document(items, kind))
    host.report(f"{plural(len(items), 'row')} written to {target}")


def _write(path: str, text: str) -> None:
    Path(path).expanduser().write_text(text, encoding="utf-8")


def _new(path: str) -> str:
    target = Path(path).expanduser()
    if not path.strip():
        return "name a file"
    if target.exists():
        return f"{path} exists already"
    return "" if target.parent.is_dir() else f"there is no folder {target.parent}"


def document(items: Sequence[Any], kind: str) -> str:
    """Things as JSON, CSV or Markdown.

    Args:
        items: structs of one kind.
        kind: ``json``, ``csv`` or ``md``.
    """
    records = [_record(item) for item in items]
    if kind == "json":
        return msgspec.json.format(msgspec.json.encode(records)).decode() + "\n"
    names = list(records[0])
    if kind == "csv":
        return _csv(records, names)
    cells = [[_cell(record[name]) for name in names] for record in records]
    lines = [names, ["---"] * len(names), *cells]
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)


def _record(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(item)
    return {key: value for key, value in found.items() if key != "text"}


def _csv(records: list[dict[str, Any]], names: list[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for record in records:
        # A spreadsheet takes what begins like a formula for one.
        texts = [str(record[name]) for name in names]
        writer.writerow([f"'{text}" if text[:1] in "=+-@" else text for text in texts])
    return out.getvalue()


def _cell(value: object) -> str:
    return one_line(str(value)).replace("|", "\\|")
