"""One run."""

from __future__ import annotations

from dagnats.tui.run.screen import RunScreen

__all__ = ["RunScreen"]
