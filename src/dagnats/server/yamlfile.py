"""Reading a YAML file of strangers: bounded, without surprises, with line numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.document import join

MAX_BYTES = 1024 * 1024
"""Largest file that is read."""

MAX_NODES = 200_000
"""Most values a document may have once its aliases are written out: references to references
grow without bound ("billion laughs") in a file of a few lines."""


class Document(NamedTuple):
    """A mapping at the top of a file, and the line on which each value begins.

    ``lines`` has paths as in the messages of the model: ``workflows[0].steps[2].id``.
    """

    values: dict[str, Any]
    lines: dict[str, int]

    def line_of(self, path: str) -> int:
        """The line of a value, or of the nearest one round it that is written down."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which would let the last of two equal keys win silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            line = int(key_node.start_mark.line) + 1
            if key in seen and key is not None and key != "<<":
                raise yaml.constructor.ConstructorError(
                    problem=f'the key "{key}" stands here and on line {seen[key]}',
                    problem_mark=key_node.start_mark,
                )
            seen[key] = line
        return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]


def read(path: Path) -> Document:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        InvalidError: the file is too large, or not a YAML mapping; names the line.
        DagnatsError: it cannot be read.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return Document({}, {})
            _bounded(path, node)
            if not isinstance(node, yaml.MappingNode):
                raise InvalidError(f"{path}: holds no mapping", "write one 'key: value' a line")
            return Document(loader.construct_document(node), _lines(node))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise InvalidError(_complaint(path, error), "correct the file") from None
    except RecursionError:
        raise InvalidError(f"{path}: is nested too deeply", "correct the file") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        problem = str(error).partition("\n")[0][:200]
        raise InvalidError(f"{path}: {problem}", "correct the file") from None


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise InvalidError(f"{path} is not a file", "name a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DagnatsError(f"cannot read {path}: {error.strerror}", "check the path") from None
    if len(data) > MAX_BYTES:
        raise InvalidError(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB", "shorten it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidError(f"{path}:{line}: is not UTF-8", "save the file as UTF-8") from None


def _bounded(path: Path, root: yaml.Node) -> None:
    """Count values as if every alias were written out, each node once (they are shared)."""
    counted: dict[int, int] = {}
    active: set[int] = set()

    def count(node: Any) -> int:
        key = id(node)
        if key in active:
            raise InvalidError(f"{path}:{node.start_mark.line + 1}: refers to itself")
        if key not in counted:
            active.add(key)
            counted[key] = 1 + sum(map(count, _children(node)))
            active.discard(key)
        return counted[key]

    if count(root) > MAX_NODES:
        raise InvalidError(f"{path}: has more than {MAX_NODES} values", "use fewer aliases")


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _lines(root: yaml.MappingNode) -> dict[str, int]:
    """The line of every value, by path; what is written once and referred to stands there."""
    found: dict[str, int] = {}
    left: list[tuple[str, Any]] = [("", root)]
    while left:
        path, node = left.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                where = join(path, str(key.value))
                found[where] = int(key.start_mark.line) + 1
                left.append((where, value))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                where = f"{path}[{index}]"
                found[where] = int(value.start_mark.line) + 1
                left.append((where, value))
    return found


def _complaint(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return f"{where}: {error.problem or error.context or 'is not YAML'}"
