"""``sleep``: wait for a duration, a cron time, or a time found in the run's input."""

from __future__ import annotations

from dagnats.engine.effects import CancelTimers
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.progress import complete_step
from dagnats.engine.turn import Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json
from dagnats.model.cron import next_fires
from dagnats.model.event import EventType
from dagnats.model.paths import PathError, lookup
from dagnats.model.run import StepState, StepStatus
from dagnats.model.times import DAY, MILLISECOND, format_duration, format_time, parse_time
from dagnats.model.workflow import SleepConfig, StepDef

MAX_SLEEP = 365 * DAY
"""SLEEP-1."""


class SleepStep(StepKind):
    """Completes by itself when its time has come."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Work out the wake time and set the timer."""
        wake = _wake_time(turn, turn.run.plan.config(step.id, SleepConfig))
        if wake - turn.now > MAX_SLEEP:
            length = format_duration(wake - turn.now)
            raise StepError(f"sleep of {length} exceeds max {format_duration(MAX_SLEEP)}")
        turn.run.set_status(state, StepStatus.RUNNING)
        state.started_at = turn.stamp
        state.wake_at = format_time(wake)
        turn.emit(EventType.SLEEP_STARTED, step.id, attempt=_again(state))
        event = turn.event_of(EventType.SLEEP_COMPLETED, step.id, attempt=state.dispatch)
        msg_id = f"{turn.run.id}.{step.id}.sleep_complete.{state.dispatch}"
        turn.timer("sleep", max(wake, turn.now + MILLISECOND), event, msg_id)

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """The timer has fired."""
        del state
        if turn.event.type == EventType.SLEEP_COMPLETED:
            complete_step(turn, step.id, b"")

    def stop(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Forget the timer unless it is what ended the sleep."""
        del state
        if turn.event.type != EventType.SLEEP_COMPLETED or turn.event.step_id != step.id:
            turn.do(CancelTimers(turn.run.id, step.id))


def _again(state: StepState) -> int:
    """The attempt number of an event that carries none the first time."""
    return state.dispatch if state.dispatch > 1 else 0


def _wake_time(turn: Turn, config: SleepConfig) -> int:
    if config.duration > 0:
        return turn.now + config.duration
    if config.cron:
        fires = next_fires(config.cron, "UTC", turn.now, 1)
        if not fires:
            raise StepError(f'sleep cron "{config.cron}" has no next time')
        return fires[0]
    return _from_input(turn, config.until_input_path)


def _from_input(turn: Turn, path: str) -> int:
    try:
        value = lookup(parse_json(bytes(turn.run.snapshot.input) or b"null"), path)
        if isinstance(value, str):
            moment = parse_time(value)
            return turn.now if moment is None else moment
    except (PathError, InvalidError, ValueError) as error:
        raise StepError(f"sleep until {path}: {error}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise StepError(f"sleep until {path}: neither a time nor milliseconds: {value!r:.64}")
    return turn.now + int(min(value, 1e15) * MILLISECOND)
