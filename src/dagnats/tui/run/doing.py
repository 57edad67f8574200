"""Keys that change a run or its steps, and why they cannot be used now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dagnats.model.run import ACTIVE_STEP, DONE_STEP, StepStatus
from dagnats.model.workflow import StepType
from dagnats.tui.actions import Action
from dagnats.tui.run import deeds

if TYPE_CHECKING:
    from dagnats.tui.run.screen import RunScreen

PAST = "this is the past; \\ leads back to now"


def change_actions(screen: RunScreen) -> list[Action]:
    """Everything that changes the run, or one of its steps."""
    live = not screen.state.ended
    return [
        Action(
            id="run.retry",
            keys=("r",),
            label="retry",
            title="Retry…",
            run=_prefix,
            choices=lambda: _retries(screen),
            off=lambda: _not_now(screen),
            group="Do",
        ),
        _change(screen, "run.cancel", "c", "cancel", "Cancel the run", deeds.cancel, _over, live),
        _change(screen, "run.signal", "i", "signal", "Send a signal", deeds.signal, _over, live),
        Action(
            id="run.approve",
            keys=("a",),
            label="approve" if approval_of(screen) else "",
            title="Approve…",
            run=_prefix,
            choices=lambda: _approvals(screen),
            off=lambda: _not_now(screen) or _no_approval(screen),
            group="Do",
        ),
        Action(
            id="run.step",
            keys=("s",),
            label="step" if live else "",
            title="Step by hand…",
            run=_prefix,
            choices=lambda: _overrides(screen),
            off=lambda: _not_now(screen) or _over(screen) or _no_step(screen),
            group="Do",
        ),
    ]


def _prefix() -> None:
    """A prefix does nothing by itself."""


def _change(
    screen: RunScreen,
    action_id: str,
    key: str,
    label: str,
    title: str,
    run: Callable[[RunScreen], object],
    off: Callable[[RunScreen], str],
    shown: bool = True,
) -> Action:
    return Action(
        id=action_id,
        keys=(key,),
        label=label if shown else "",
        title=title,
        run=lambda: run(screen),
        changes=True,
        off=lambda: _not_now(screen) or off(screen),
        group="Do",
    )


def _retries(screen: RunScreen) -> list[Action]:
    def change(
        name: str,
        key: str,
        label: str,
        title: str,
        run: Callable[[RunScreen], object],
        off: Callable[[RunScreen], str],
    ) -> Action:
        return _change(screen, f"run.retry.{name}", key, label, title, run, off)

    def never(screen: RunScreen) -> str:
        del screen
        return ""

    return [
        change("same", "r", "same", "New run, same input", deeds.retry_same, never),
        change("edit", "e", "edit", "New run, edited input", deeds.retry_edited, never),
        change("from", "f", "from step", "New run from this step", deeds.rerun, _no_rerun),
        change(
            "fromedit",
            "F",
            "+edit",
            "New run from this step, edited input",
            lambda found: deeds.rerun(found, edited=True),
            _no_rerun,
        ),
        change("dead", "d", "replay", "Replay: the run goes on", _replay, _no_letter),
        change(
            "deadedit",
            "D",
            "+edit",
            "Replay with another input of the step",
            lambda found: deeds.replay_letter(found, edited=True),
            _no_letter,
        ),
    ]


def _replay(screen: RunScreen) -> object:
    return deeds.replay_letter(screen)


def _approvals(screen: RunScreen) -> list[Action]:
    step = approval_of(screen)

    def change(key: str, label: str, title: str, run: Callable[[RunScreen], object]) -> Action:
        return _change(screen, f"run.approve.{key}", key, label, title, run, _no_approval)

    return [
        change("a", f"approve {step}", "Approve", lambda found: deeds.approve(found, step)),
        change("o", "with output", "Approve with an output", _with_output),
        change("r", "reject", "Reject", lambda found: deeds.reject(found, step)),
    ]


def _with_output(screen: RunScreen) -> object:
    return deeds.approve(screen, approval_of(screen), with_output=True)


def _overrides(screen: RunScreen) -> list[Action]:
    keys = {"complete": "c", "fail": "f", "skip": "s", "retry": "r", "cancel": "x"}
    return [
        _change(
            screen,
            f"run.step.{action}",
            key,
            action,
            f"{action.capitalize()} the step",
            lambda found, action=action: deeds.override(found, action),
            lambda found, action=action: _no_override(found, action),
        )
        for action, key in keys.items()
    ]


# --- why not -----------------------------------------------------------------------------------


def _not_now(screen: RunScreen) -> str:
    if screen.state.view is None:
        return "the run is not read yet"
    return "" if screen.state.live else PAST


def _over(screen: RunScreen) -> str:
    view = screen.state.view
    return f"the run has ended ({view.run.status})" if view and screen.state.ended else ""


def _no_step(screen: RunScreen) -> str:
    row = screen.row
    return "" if row is not None and row.kind in ("step", "item") else "choose a step first"


def _no_override(screen: RunScreen, action: str) -> str:
    if reason := _over(screen) or _no_step(screen):
        return reason
    status = screen.state.moment().state(screen.step).status
    if status in DONE_STEP:
        return f"step {screen.step} is done ({status})"
    if action == "retry" and status not in ACTIVE_STEP:
        return f"step {screen.step} is not queued or running ({status})"
    return ""


def _no_rerun(screen: RunScreen) -> str:
    view = screen.state.view
    if not screen.state.ended:
        return "the run has not ended; 's r' dispatches a step again"
    if reason := _no_step(screen):
        return reason
    known = view.definition.steps if view and view.definition else []
    return "" if screen.step in {step.id for step in known} else "a planned step cannot be rerun"


def _no_letter(screen: RunScreen) -> str:
    letter = screen.state.letter(screen.step)
    if letter is None:
        return "nothing is dead here"
    return "" if letter.body_preserved else "the body of the dead letter is lost"


def approval_of(screen: RunScreen) -> str:
    """The step under the cursor if it waits for approval, else the first that does."""
    view = screen.state.view
    if view is None:
        return ""
    waiting = [
        step_id
        for step_id, step in view.steps.items()
        if step.type == StepType.APPROVAL
        and screen.state.moment().state(step_id).status == StepStatus.RUNNING
    ]
    return screen.step if screen.step in waiting else next(iter(waiting), "")


def _no_approval(screen: RunScreen) -> str:
    return "" if approval_of(screen) else "nothing waits for approval in this run"
