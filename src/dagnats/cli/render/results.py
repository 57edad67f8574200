"""A result in the format the user asked for: table, wide, json, jsonl, yaml or name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from dagnats.cli.render.console import out
from dagnats.cli.render.table import Column, render
from dagnats.cli.state import current
from dagnats.errors import UsageError
from dagnats.services.documents import document
from dagnats.services.text import one_line

T = TypeVar("T")

# What a terminal would act upon and JSON need not escape. Outside strings none of it can occur.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def json_text(value: Any) -> str:
    """One compact JSON document in which control and direction characters are escaped."""
    data = msgspec.json.encode(document(value)).decode()
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", data)


def show_list(
    items: Sequence[T],
    columns: Sequence[Column[T]],
    *,
    name: Callable[[T], str],
    empty: str,
    documents: Callable[[T], Any] | None = None,
) -> None:
    """Print many things of one kind.

    Args:
        items: the things.
        columns: the table.
        name: what ``-o name`` prints of each.
        empty: the line for nobody's table.
        documents: what JSON shows of each, when that is not the thing itself.
    """
    form = current().format
    shown = [documents(item) for item in items] if documents and form != "name" else list(items)
    if form == "json":
        out(json_text(shown))
    elif form == "yaml":
        out(yaml_text(shown), end="")
    elif form in ("jsonl", "name"):
        lines = map(json_text, shown) if form == "jsonl" else (one_line(name(i)) for i in items)
        for line in lines:
            out(line)
    elif items:
        print_table(items, columns)
    else:
        out(empty)


def print_table(items: Sequence[T], columns: Sequence[Column[T]], indent: str = "") -> None:
    """Print a table, with its wide columns if those were asked for."""
    wide = current().format == "wide"
    out("\n".join(render(items, [c for c in columns if wide or not c.wide], indent)))


def show(value: Any, text: Callable[[], object], *, name: str | None = None) -> None:
    """Print one thing.

    Args:
        value: what JSON and YAML show.
        text: prints it for a person.
        name: what ``-o name`` prints, which may be nothing; ``None``: refuse that format.

    Raises:
        UsageError: ``-o name`` was asked of a command that has no names.
    """
    form = current().format
    if form in ("json", "jsonl"):
        out(json_text(value))
    elif form == "yaml":
        out(yaml_text(value), end="")
    elif form == "name":
        _show_name(name)
    else:
        text()


def emit(value: Any, text: Callable[[], str], *, name: str | None = None) -> None:
    """Print one thing of many that come one by one: a line each, in YAML a document each.

    Args:
        value: what JSON and YAML show.
        text: its line for a person.
        name: what ``-o name`` prints; ``None``: nothing, it has no name.
    """
    form = current().format
    if form in ("json", "jsonl"):
        out(json_text(value))
    elif form == "yaml":
        out(f"---\n{yaml_text(value)}", end="")
    elif form == "name":
        if name is not None:
            out(one_line(name))
    else:
        out(text())


def _show_name(name: str | None) -> None:
    if name is None:
        raise UsageError("this command has no names to print", "use -o table, json or yaml")
    for line in name.splitlines():
        out(one_line(line))


def yaml_text(value: Any) -> str:
    """One YAML document; everything but printable ASCII is escaped."""
    import json

    import yaml

    return yaml.safe_dump(json.loads(json_text(value)), sort_keys=False)
