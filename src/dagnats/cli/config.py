"""``dagnats config``: the configuration that ``serve`` would use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dagnats.cli.options import App
from dagnats.cli.render.console import out, warn
from dagnats.cli.render.results import show as show_result
from dagnats.server import configview
from dagnats.server.config import load

app = App("config", "View effective server configuration.", default=True)


@app.add("show")
def show(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration file to read.")
    ] = None,
) -> None:
    """Print the resolved configuration from dagnats.yaml and environment variables."""
    loaded = load(config)
    for warning in loaded.warnings:
        warn(warning)

    def text() -> None:
        for line in configview.show(loaded):
            out(line)

    show_result(configview.as_json(loaded), text)
