"""``dagnats event``."""

from __future__ import annotations

from typing import Annotated

import typer

from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import out
from dagnats.cli.render.results import show
from dagnats.cli.state import session
from dagnats.cli.texts import given, json_input
from dagnats.services.text import one_line

app = App("event", "Publish events that runs wait for.")


@app.add("publish")
def publish(
    kind: Annotated[
        str, typer.Argument(metavar="TYPE", help="Dotted event type, e.g. order.paid.")
    ],
    body: Annotated[
        str, typer.Argument(metavar="BODY", help="JSON object, @FILE, or - for standard input.")
    ],
    event_id: Annotated[
        str, typer.Option("--id", help="Publishing twice with one id stores one event.")
    ] = "",
) -> None:
    """Publish an event to waiting steps and cancel rules."""
    given(kind, "event type")
    run_async(_publish(kind, json_input(body, "event body"), event_id))


async def _publish(kind: str, body: bytes, event_id: str) -> None:
    from dagnats.services.events import publish_event

    async with session() as opened:
        done = await publish_event(opened, kind, body, event_id)
    text = f"Event published: {one_line(done.event_type)} (sequence {done.sequence})"
    show(done, lambda: out(text), name=str(done.sequence))
