"""``respond``: answer the HTTP caller that started the run (``engine.md`` 6.9)."""

from __future__ import annotations

from base64 import b64encode

from dagnats.engine.effects import Respond
from dagnats.engine.inputs import parent_output
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.progress import complete_step
from dagnats.engine.turn import Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import encode, parse_json, raw
from dagnats.model.paths import PathError, lookup
from dagnats.model.run import StepState
from dagnats.model.workflow import RespondConfig, StepDef


class RespondStep(StepKind):
    """Sends the answer and completes with its body."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Send the answer at once."""
        del state
        config = turn.run.plan.config(step.id, RespondConfig)
        body = _body(turn, step, config.body_from)
        answer = {
            "status": config.status or 200,
            "headers": config.headers,
            "content_type": config.content_type or "application/json",
            "body": b64encode(body).decode(),
        }
        turn.do(Respond(turn.run.id, raw(answer)))
        complete_step(turn, step.id, body)


def _body(turn: Turn, step: StepDef, path: str) -> bytes:
    """The named value, else all, of the single parent's output or the run's input (RESP-2)."""
    parents = step.depends_on
    source = bytes(parent_output(turn.run, parents[0])) if len(parents) == 1 else b""
    source = source or bytes(turn.run.snapshot.input)
    if not path:
        return source or b"null"
    try:
        return encode(lookup(parse_json(source or b"null"), path))
    except (PathError, InvalidError) as error:
        raise StepError(f"respond body_from: {error}") from None
