"""A form made from a JSON schema: a line for each property of the object, checked as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import parse_json
from dagnats.model.schema import check_schema
from dagnats.tui.actions import Action
from dagnats.tui.line import Line, safe, wrapped
from dagnats.tui.sheets.base import Fixed, Sheet
from dagnats.tui.widgets.text import Make

LABEL = 22
"""Cells of a label; longer names are cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One property of the object.

    Attributes:
        kind: ``string``, ``number``, ``integer``, ``boolean``, or ``json`` for everything else.
        choices: the only values it may have.
        default: what the schema proposes; ``None``: nothing.
    """

    name: str
    kind: str
    required: bool = False
    about: str = ""
    choices: tuple[Any, ...] = ()
    default: Any = None

    @property
    def hint(self) -> str:
        """What may be typed."""
        if self.choices:
            return " | ".join(shown(choice) for choice in self.choices)
        return {"boolean": "true | false", "json": "JSON", "string": "text"}.get(
            self.kind, self.kind
        )

    def read(self, text: str) -> Any:
        """The value that was typed.

        Raises:
            InvalidError: it is none of this kind.
        """
        for choice in self.choices:
            if shown(choice) == text:
                return choice
        if self.choices:
            raise InvalidError(f"{self.name}: choose {self.hint}")
        if self.kind == "string":
            return text
        try:
            return parse_json(text)
        except InvalidError:
            raise InvalidError(f"{self.name}: not {self.hint}: {text[:40]}") from None


def shown(value: Any) -> str:
    """A value as it is typed: strings without quotes."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode(errors="replace")


def _typed(value: Any) -> str:
    """A value as it stands in the input; one that a terminal would act upon is left out."""
    text = "" if value is None else shown(value)
    return text if safe(text) == text else ""


def fields_of(schema: bytes) -> list[Field]:
    """The properties of an object's schema, required ones first; none if it has none."""
    try:
        tree: Any = parse_json(schema)
    except InvalidError:
        return []
    properties: Any = cast("dict[str, Any]", tree).get("properties") if _is_map(tree) else None
    if not _is_map(properties):
        return []
    required: Any = tree.get("required")
    names: list[str] = cast("list[str]", required) if isinstance(required, list) else []
    found = [
        _field(name, each, name in names)
        for name, each in cast("dict[str, Any]", properties).items()
    ]
    return sorted(found, key=lambda field: not field.required)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _field(name: str, schema: Any, required: bool) -> Field:
    tree: dict[str, Any] = cast("dict[str, Any]", schema) if _is_map(schema) else {}
    kind = tree.get("type")
    choices: Any = tree.get("enum")
    return Field(
        name=name,
        kind=kind if kind in ("string", "number", "integer", "boolean") else "json",
        required=required,
        about=str(tree.get("description") or tree.get("title") or ""),
        choices=tuple(cast("list[Any]", choices)) if isinstance(choices, list) else (),
        default=tree.get("default"),
    )


@dataclass(frozen=True, slots=True)
class Filled:
    """What was typed: a document; ``raw`` when it is to be edited as JSON."""

    text: str
    raw: bool = False


class Form(Sheet[Filled]):
    """A form for a JSON object.

    Args:
        title: what it is for.
        schema: of the object; :func:`fields_of` must find something in it.
        values: what stands there at first, by name.
        verb: what ctrl+g does.
        about: lines above the fields.
        raw: whether to offer going on in the JSON editor.
    """

    BINDINGS = [
        Binding("tab,down", "app.focus_next", show=False),
        Binding("shift+tab,up", "app.focus_previous", show=False),
    ]
    DEFAULT_CSS = """
    Form #fields { height: auto; max-height: 1fr; }
    Form .field { height: 1; }
    Form .field Fixed { width: 24; height: 1; }
    Form .field Input { width: 1fr; }
    Form #about { height: auto; }
    """

    def __init__(
        self,
        title: str,
        schema: bytes,
        values: dict[str, Any] | None = None,
        verb: str = "go on",
        about: Make | None = None,
        *,
        raw: bool = False,
    ) -> None:
        super().__init__(title)
        self._schema = schema
        self._values = values or {}
        self._verb = verb
        self._about = about
        self._offers_raw = raw
        self.fields = fields_of(schema)

    def body(self) -> ComposeResult:
        """What it is about, and a line for each field."""
        if self._about is not None:
            yield Fixed(self._about, id="about")
        with VerticalScroll(id="fields", can_focus=False):
            for at, field in enumerate(self.fields):
                with Horizontal(classes="field"):
                    yield Fixed(lambda width, field=field: [_label(field)], id=f"label-{at}")
                    value = self._values.get(field.name, field.default)
                    yield Input(
                        _typed(value),
                        placeholder=safe(field.hint, 60),
                        id=f"field-{at}",
                        select_on_focus=False,
                    )
        yield Fixed(self._help, id="help")

    def on_mount(self) -> None:
        """Ready to type in the first field."""
        for box in self.query(Input):
            box.cursor_blink = False
        if self._about is not None:
            width = max(20, min(104, self.app.size.width * 9 // 10 - 4))
            self.query_one("#about").styles.height = len(self._about(width)) + 1
        self.query_one("#help").styles.height = 2
        self.query(Input).first().focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The help is that of the field."""
        del event
        self.query_one("#help", Fixed).repaint()

    def _help(self, width: int) -> list[Line]:
        field = self._current()
        if field is None:
            return []
        need = "required" if field.required else "may be left out"
        told = f"{field.about}: " if field.about else ""
        return [Line(), *wrapped(f"{told}{field.hint}, {need}", width, "muted", 1)]

    def _current(self) -> Field | None:
        focused = self.focused
        if focused is None or not (focused.id or "").startswith("field-"):
            return None
        return self.fields[int((focused.id or "").removeprefix("field-"))]

    def keys(self) -> list[Action]:
        """Take it, or go on as JSON."""
        found = [
            Action(
                id="form.ok",
                keys=("ctrl+g",),
                label=self._verb,
                title="Take it",
                run=self._go,
                group="Do",
            ),
            Action(
                id="form.next",
                keys=("tab",),
                label="next field",
                title="Next field",
                run=self.focus_next,
                group="Go",
            ),
        ]
        if self._offers_raw:
            edit = Action(
                id="form.raw",
                keys=("ctrl+o",),
                label="as JSON",
                title="Go on in the JSON editor",
                run=self._raw,
                group="Do",
            )
            found.append(edit)
        return found

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the next field; in the last one it takes the form."""
        event.stop()
        if event.input.id == f"field-{len(self.fields) - 1}":
            self._go()
        else:
            self.focus_next()

    def value(self) -> dict[str, Any]:
        """The object that was typed; empty fields are left out.

        Raises:
            InvalidError: a field does not hold what it should.
        """
        found: dict[str, Any] = {}
        for at, field in enumerate(self.fields):
            text = self.query_one(f"#field-{at}", Input).value
            if text.strip():
                found[field.name] = field.read(text.strip())
        return found

    def _go(self) -> None:
        try:
            data = msgspec.json.encode(self.value())
        except DagnatsError as error:
            self.tell(error.message)
            return
        problems = check_schema(self._schema, data)
        if problems:
            self.tell(problems[0])
        else:
            self.dismiss(Filled(data.decode()))

    def _raw(self) -> None:
        try:
            data = msgspec.json.encode(self.value())
        except DagnatsError as error:
            self.tell(error.message)
        else:
            self.dismiss(Filled(data.decode(), raw=True))


def _label(field: Field) -> Line:
    row = Line().add(field.name, "text bold" if field.required else "text", most=LABEL - 1)
    return row.add("*", "warn") if field.required else row
