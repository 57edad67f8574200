"""A JSON document as a tree that folds. Only what is open is ever turned into rows.

Documents of any size are bounded: text beyond :data:`LARGEST` is not parsed, at most
:data:`CHILDREN` members of a node are shown until more are asked for, and a search stops after
:data:`SEARCHED` values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

import msgspec
from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json
from dagnats.tui.format import size
from dagnats.tui.line import Line
from dagnats.tui.theme import Look

LARGEST = 8 << 20
"""Bytes of a document that are parsed: the server's own limit on a message."""

CHILDREN = 200
"""Members of a node shown at first, and added each time more are asked for."""

SEARCHED = 200_000
"""Values a search looks at."""

OPEN_ROWS = 12
"""Members of a root with up to so many members are open from the start if they hold as few."""

TEXT = 400
"""Characters of a string in its row; the whole is copied and opened."""

Path = tuple[str | int, ...]


class Node(Struct, frozen=True):
    """One row of the tree.

    Args:
        path: keys and indexes from the root.
        value: what is there.
        more: the row stands for so many members that are not shown.
    """

    path: Path
    value: Any
    more: int = 0

    @property
    def holds(self) -> int:
        """How many members it has."""
        return len(cast("Sequence[Any]", self.value)) if _is_node(self.value) else 0


def _is_node(value: Any) -> bool:
    return isinstance(value, dict | list)


def members(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Keys or indexes with what they hold."""
    if isinstance(value, dict):
        yield from cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        yield from enumerate(cast("list[Any]", value))


class JsonTree:
    """A document, and which of its nodes are open.

    Args:
        data: JSON text; what cannot be read is shown as the text it is.

    Attributes:
        size: bytes of the document.
        problem: why it is shown as text; empty if it is JSON.
    """

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.problem = ""
        self._limits: dict[Path, int] = {}
        self._hits: dict[Path, int] = {}
        if self.size > LARGEST:
            self.problem = f"{size(self.size)} is too large to show; copy it, or use the CLI"
            self.value: Any = data[:TEXT].decode(errors="replace")
        else:
            self.value = self._parsed(data)
        self._open: set[Path] = {()}
        root = Node((), self.value)
        for key, value in members(self.value) if root.holds <= OPEN_ROWS else ():
            if 0 < Node((key,), value).holds <= OPEN_ROWS:
                self._open.add((key,))

    def _parsed(self, data: bytes) -> Any:
        try:
            return parse_json(data)
        except InvalidError as error:
            self.problem = error.message
            return data.decode(errors="replace")

    def rows(self) -> list[Node]:
        """The rows of everything that is open, from the root's members on."""
        if not _is_node(self.value):
            return [Node((), self.value)]
        rows: list[Node] = []
        stack = [self._members((), self.value)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            rows.append(node)
            if node.path in self._open and not node.more and _is_node(node.value):
                stack.append(self._members(node.path, node.value))
        return rows

    def _members(self, path: Path, value: Any) -> Iterator[Node]:
        limit, total = self._limits.get(path, CHILDREN), len(value)
        for at, (key, member) in enumerate(members(value)):
            if at == limit:
                yield Node((*path, "…"), None, total - limit)
                return
            yield Node((*path, key), member)

    # --- folding -------------------------------------------------------------------------------

    def is_open(self, node: Node) -> bool:
        """Whether a node's members are shown."""
        return node.path in self._open

    def toggle(self, node: Node) -> None:
        """Open or close a node; at a row that stands for more, show more."""
        if node.more:
            parent = node.path[:-1]
            self._limits[parent] = self._limits.get(parent, CHILDREN) + CHILDREN
        elif node.holds:
            self._open ^= {node.path}

    def open_all(self, root: Path = ()) -> bool:
        """Open everything below a node, as far as a reader could ever scroll.

        Returns:
            Whether anything was closed before.
        """
        before = len(self._open)
        for path, value in islice(walk(root, self.at(root)), SEARCHED // 10):
            if Node(path, value).holds:
                self._open.add(path)
        return len(self._open) > before

    def close_all(self) -> None:
        """Close everything but the root."""
        self._open = {()}

    def at(self, path: Path) -> Any:
        """The value at a path that exists."""
        value = self.value
        for key in path:
            value = value[key]
        return value

    # --- search --------------------------------------------------------------------------------

    def search(self, text: str) -> int:
        """Find keys and plain values that contain ``text``, in any case.

        Returns:
            How many there are; :meth:`next_hit` goes through them.
        """
        wanted = text.lower()
        self._hits = {}
        if not wanted:
            return 0
        for looked, (path, value) in enumerate(walk((), self.value)):
            if looked > SEARCHED:
                break
            key = str(path[-1]) if path else ""
            plain = "" if _is_node(value) else value_text(value)
            if wanted in key.lower() or wanted in plain.lower():
                self._hits[path] = len(self._hits)
        return len(self._hits)

    def next_hit(self, after: Path | None, step: int = 1) -> Path | None:
        """The hit behind (or, with ``step`` -1, before) a row; everything around it is opened."""
        if not self._hits:
            return None
        known = None if after is None else self._hits.get(after)
        at = (0 if step > 0 else -1) if known is None else known + step
        path = list(self._hits)[at % len(self._hits)]
        for end in range(len(path)):
            self._open.add(path[:end])
            self._reveal(path[:end], path[end])
        return path

    def _reveal(self, parent: Path, key: str | int) -> None:
        place = next(at for at, (name, _) in enumerate(members(self.at(parent))) if name == key)
        limit = self._limits.get(parent, CHILDREN)
        if place >= limit:
            self._limits[parent] = (place // CHILDREN + 1) * CHILDREN

    def is_hit(self, node: Node) -> bool:
        """Whether a row is among what was searched for."""
        return node.path in self._hits


def walk(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Every value below (and at) a node, in the order of the rows; no recursion, however deep."""
    stack: list[Iterator[tuple[Path, Any]]] = [iter([(path, value)])]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            continue
        yield found
        here, inside = found
        if _is_node(inside):
            stack.append(_below(here, inside))


def _below(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    for key, member in members(value):
        yield (*path, key), member


def path_text(path: Path) -> str:
    """A path as ``--set`` and conditions write it: ``errors.0.file``."""
    return ".".join(str(key) for key in path)


def value_text(value: Any) -> str:
    """A value to be copied: a string as it is, everything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


PRETTY = 2_000
"""Lines of a document that is shown as a whole."""


def pretty_lines(value: Any, width: int) -> list[Line]:
    """A value over several lines, for something to read."""
    text = value if isinstance(value, str) else msgspec.json.format(json_text(value), indent=2)
    rows = text.splitlines()
    shown = [Line().add(row, "text", most=width) for row in rows[:PRETTY]]
    if len(rows) > PRETTY:
        shown.append(Line().add(f"and {len(rows) - PRETTY:,} lines more; copy it", "muted"))
    return shown


def json_text(value: Any) -> str:
    """A value as compact JSON, for people: nothing is escaped that need not be."""
    return msgspec.json.encode(value).decode(errors="replace")


def node_line(tree: JsonTree, node: Node, look: Look, depth: int = 0) -> Line:
    """How a row looks: key, value, or how much a closed node holds."""
    indent = 2 * (depth + max(0, len(node.path) - 1))
    row = Line().gap(indent)
    if node.more:
        return row.add(f"  {look.glyph('down')} {node.more:,} more", "accent")
    inside = _is_node(node.value) and bool(node.path)
    opened = tree.is_open(node)
    row.add((look.glyph("open" if opened else "closed") if inside else " ") + " ", "muted")
    if node.path:
        row.add(str(node.path[-1]), "accent bold" if tree.is_hit(node) else "accent", most=60)
        row.add(": ", "muted")
    if _is_node(node.value):
        return row.add(summary(node.value, opened=opened), "muted")
    return row.add(_shown(node.value), _role(node.value))


def summary(value: Any, *, opened: bool = False) -> str:
    """What a node holds, in a few words: ``{3} file, line, msg``, ``[2]``."""
    held = len(value)
    if isinstance(value, list):
        return f"[{held}]" if held else "[]"
    if opened or not held:
        return f"{{{held}}}" if held else "{}"
    keys = list(cast("dict[str, Any]", value))
    more = ", …" if held > 4 else ""
    return f"{{{held}}} {', '.join(key[:24] for key in keys[:4])}{more}"


def _shown(value: Any) -> str:
    if not isinstance(value, str) or len(value) <= TEXT:
        return json_text(value)
    return f"{json_text(value[:TEXT])[:-1]}… ({len(value):,} characters)"


def _role(value: Any) -> str:
    if value is None:
        return "muted"
    return "text" if isinstance(value, str) else "retry"
