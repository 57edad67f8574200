"""The Typer app of ``dagnats run``."""

from __future__ import annotations

from dagnats.cli.options import App

app = App(
    "run",
    "Manage workflow runs.\n\nRun IDs may be shortened to 8 or more characters.",
)
