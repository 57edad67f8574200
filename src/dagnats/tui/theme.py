"""The one visual system: roles, palettes, glyphs (``tui.md`` 4.5).

Code names *roles* (``bad``, ``muted``, ``accent bold``), never colours. A role string is one role
and any of the words ``bold``, ``dim``, ``reverse``, ``underline``, ``strike``, and ``on:ROLE`` for
another background. State is glyph and word as well as colour: nothing depends on colour alone.
"""

from __future__ import annotations

from functools import cache

from msgspec import Struct
from rich.style import Style
from textual.theme import Theme


class Palette(Struct, frozen=True, kw_only=True):
    """What every role looks like in one theme.

    Args:
        dark: whether text is light on dark.
        ansi: the colours are the terminal's own sixteen.
        colours: role to colour.
        extra: words added to a role, for themes that may not rely on colour.
    """

    dark: bool
    colours: dict[str, str]
    ansi: bool = False
    extra: dict[str, str] = {}


_DARK = {
    "bg": "#0f1318",
    "surface": "#151a21",
    "raised": "#1b222b",
    "line": "#2a333f",
    "cursor": "#24354a",
    "mark": "#1d2a3a",
    "text": "#cfd6df",
    "muted": "#8793a1",
    "faint": "#5d6977",
    "accent": "#7cb7ff",
    "ok": "#86b98a",
    "run": "#62b6d9",
    "wait": "#9aa5b4",
    "retry": "#d8a657",
    "bad": "#ee7f79",
    "canc": "#b39ad0",
    "comp": "#7fbfae",
    "warn": "#e5b567",
}
_LIGHT = {
    "bg": "#fbfaf7",
    "surface": "#f1efe9",
    "raised": "#ffffff",
    "line": "#d9d5cb",
    "cursor": "#dbe7f6",
    "mark": "#e8eef6",
    "text": "#1f2630",
    "muted": "#5b6673",
    "faint": "#8a94a0",
    "accent": "#0b62c4",
    "ok": "#2f7d3b",
    "run": "#0b6f99",
    "wait": "#5f6b79",
    "retry": "#8f5b00",
    "bad": "#c22f2a",
    "canc": "#6f4aa8",
    "comp": "#1d7562",
    "warn": "#8a5a00",
}
_CONTRAST = {
    "bg": "#000000",
    "surface": "#000000",
    "raised": "#101010",
    "line": "#808080",
    "cursor": "#003a8c",
    "mark": "#30304a",
    "text": "#ffffff",
    "muted": "#d0d0d0",
    "faint": "#a8a8a8",
    "accent": "#8ecbff",
    "ok": "#7dff8a",
    "run": "#5fe3ff",
    "wait": "#e0e0e0",
    "retry": "#ffcf5c",
    "bad": "#ff8f88",
    "canc": "#dcb8ff",
    "comp": "#7dffe0",
    "warn": "#ffe066",
}
_MONO = {
    "bg": "#101010",
    "surface": "#171717",
    "raised": "#1e1e1e",
    "line": "#3a3a3a",
    "cursor": "#3c3c3c",
    "mark": "#282828",
    "text": "#d8d8d8",
    "muted": "#969696",
    "faint": "#6a6a6a",
    "accent": "#f0f0f0",
    "ok": "#b0b0b0",
    "run": "#e4e4e4",
    "wait": "#a0a0a0",
    "retry": "#cccccc",
    "bad": "#ffffff",
    "canc": "#a8a8a8",
    "comp": "#b8b8b8",
    "warn": "#f4f4f4",
}
_ANSI = {
    "bg": "default",
    "surface": "default",
    "raised": "default",
    "line": "bright_black",
    "cursor": "default",
    "mark": "default",
    "text": "default",
    "muted": "default",
    "faint": "bright_black",
    "accent": "bright_blue",
    "ok": "green",
    "run": "cyan",
    "wait": "default",
    "retry": "yellow",
    "bad": "bright_red",
    "canc": "magenta",
    "comp": "green",
    "warn": "bright_yellow",
}

THEMES: dict[str, Palette] = {
    "dagnats-dark": Palette(dark=True, colours=_DARK),
    "dagnats-light": Palette(dark=False, colours=_LIGHT),
    "dagnats-contrast": Palette(dark=True, colours=_CONTRAST, extra={"bad": "bold"}),
    "dagnats-mono": Palette(
        dark=True, colours=_MONO, extra={"bad": "bold underline", "warn": "bold", "accent": "bold"}
    ),
    "dagnats-ansi": Palette(dark=True, colours=_ANSI, ansi=True, extra={"bad": "bold"}),
}
DEFAULT = "dagnats-dark"

GLYPHS: dict[str, tuple[str, str]] = {
    "pending": ("○", "o"),
    "queued": ("◌", "q"),
    "running": ("●", "@"),
    "retrying": ("↻", "r"),
    "waiting": ("◷", "w"),
    "sleeping": ("◷", "w"),
    "scheduled": ("◷", "w"),
    "paused": ("=", "="),
    "completed": ("✓", "+"),
    "failed": ("✗", "x"),
    "cancelled": ("⊘", "/"),
    "skipped": ("·", "-"),
    "recovered": ("✓", "+"),
    "compensated": ("↺", "c"),
    "compensating": ("↺", "c"),
    "compensate_failed": ("✗", "x"),
    "unknown": ("?", "?"),
    "stale": ("◷", "w"),
    "cursor": ("▌", ">"),
    "mark": ("*", "*"),
    "bar": ("━", "="),
    "track": ("─", "-"),
    "queue": ("░", "."),
    "cut": ("╳", "X"),
    "now": ("╸", ">"),
    "ghost": ("┆", ":"),
    "up": ("▲", "^"),
    "down": ("▼", "v"),
    "past": ("◂", "<"),
    "open": ("▾", "v"),
    "closed": ("▸", ">"),
    "rule": ("─", "-"),
    "side": ("│", "|"),
    "sep": ("▏", "|"),
    "thumb": ("▐", "#"),
    "load": ("▌", "#"),
    "dot": ("·", "."),
    "arrow": ("→", ">"),
    "ok": ("✓", "+"),
    "warn": ("▲", "^"),
    "live": ("●", "@"),
    "caret": ("▏", "_"),
    "critical": ("◆", "*"),
    "tries": ("\u00d7", "x"),
    "loops": ("↻", "r"),
}
"""Name to glyph: the usual one, and the one of ``--ascii``. All are one cell wide."""

SPARKS = ("▁▂▃▄▅▆▇", "_.-=oO#")
"""Bars of a sparkline; the highest leaves room below the row above."""

STATUS_ROLES = {
    "pending": "wait",
    "queued": "wait",
    "waiting": "wait",
    "sleeping": "wait",
    "scheduled": "wait",
    "running": "run",
    "retrying": "retry",
    "completed": "ok",
    "failed": "bad",
    "compensate_failed": "bad",
    "cancelled": "canc",
    "skipped": "muted",
    "recovered": "ok",
    "compensated": "comp",
    "compensating": "comp",
    "paused": "warn",
    "stale": "warn",
    "error": "bad",
    "warn": "warn",
    "info": "muted",
    "debug": "faint",
}

_FLAGS = {"bold", "dim", "reverse", "underline", "strike", "italic"}


class Look:
    """The look in force: palette and glyph set.

    Args:
        theme: one of :data:`THEMES`.
        ascii_only: use glyphs of seven bits.
    """

    def __init__(self, theme: str = DEFAULT, ascii_only: bool = False) -> None:
        self.ascii_only = ascii_only
        self.stale = False
        self.use(theme)

    def use(self, theme: str) -> None:
        """Change to another theme."""
        self.theme = theme if theme in THEMES else DEFAULT
        self.palette = THEMES[self.theme]
        self._styles: dict[tuple[str, str], Style] = {}

    def mark_stale(self, stale: bool) -> None:
        """What is shown may no longer be true: show it paler."""
        self.stale = stale
        self._styles.clear()

    def glyph(self, name: str) -> str:
        """A glyph by name."""
        return GLYPHS.get(name, GLYPHS["unknown"])[self.ascii_only]

    def status(self, status: str) -> tuple[str, str]:
        """Glyph and role of a run's or step's status."""
        known = status if status in GLYPHS else "unknown"
        return GLYPHS[known][self.ascii_only], STATUS_ROLES.get(status, "text")

    def style(self, role: str, ground: str = "bg") -> Style:
        """The style of a role on a background.

        Args:
            role: a role string.
            ground: role of the background.
        """
        found = self._styles.get((role, ground))
        if found is None:
            found = self._styles[role, ground] = self._made(role, ground)
        return found

    def _made(self, role: str, ground: str) -> Style:
        colours = self.palette.colours
        colour, words, back = "muted" if self.stale else "text", set[str](), ground or "bg"
        for word in role.split():
            if word in _FLAGS:
                words.add(word)
            elif word.startswith("on:"):
                back = word[3:]
            elif word in colours:
                colour = "muted" if self.stale and word in ("text", "accent") else word
                words |= set(self.palette.extra.get(word, "").split())
        if self.palette.ansi and back == "cursor":
            words.add("reverse")  # sixteen colours have no quiet one for the cursor
        flags: dict[str, bool | None] = dict.fromkeys(words, True)
        return Style(color=colours[colour], bgcolor=colours[back], **flags)  # pyright: ignore[reportArgumentType]


@cache
def textual_theme(name: str) -> Theme:
    """Our palette for Textual's own widgets (the text inputs)."""
    palette = THEMES[name]
    c = palette.colours
    if palette.ansi:
        return Theme(
            name=name,
            primary="ansi_bright_blue",
            foreground="ansi_default",
            background="ansi_default",
            surface="ansi_default",
            panel="ansi_default",
            ansi=True,
            variables={
                "ansi-background": "ansi_black",
                "ansi-foreground": "ansi_white",
                "line": "ansi_bright_black",
                "input-cursor-background": "ansi_white",
                "input-cursor-foreground": "ansi_black",
                "input-selection-background": "ansi_bright_blue",
                "input-selection-foreground": "ansi_black",
            },
        )
    return Theme(
        name=name,
        primary=c["accent"],
        secondary=c["run"],
        accent=c["accent"],
        warning=c["warn"],
        error=c["bad"],
        success=c["ok"],
        foreground=c["text"],
        background=c["bg"],
        surface=c["surface"],
        panel=c["raised"],
        dark=palette.dark,
        variables={
            "line": c["line"],
            "input-cursor-background": c["accent"],
            "input-cursor-foreground": c["bg"],
            "input-selection-background": c["cursor"],
        },
    )
