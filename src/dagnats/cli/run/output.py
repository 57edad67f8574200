"""What the terminal steps of a run put out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.cli.render.console import out
from dagnats.services.text import one_line, sanitize

if TYPE_CHECKING:
    from dagnats.services.run_events import RunOutputs


def print_outputs(outputs: RunOutputs) -> None:
    """The output of the only terminal step as it is; of several, each under its name."""
    texts = outputs.outputs or {}
    for step in outputs.steps:
        if len(outputs.steps) > 1:
            out(f"--- {one_line(step)} ---")
        if texts.get(step):
            out(sanitize(texts[step]).rstrip("\n"))
