"""Reads a run for its screen, and keeps it current."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import monotonic

from dagnats.engine.fold import Recorded
from dagnats.errors import DagnatsError
from dagnats.model.records import LogRecord
from dagnats.model.run import RunStatus
from dagnats.model.times import read_time
from dagnats.services.logs import LogQuery, search_logs
from dagnats.services.run_baseline import Baseline, baseline
from dagnats.services.run_query import RunView, appearing_run, definition_of
from dagnats.services.run_watch import follow_history
from dagnats.services.session import Session
from dagnats.tui.run.state import RunState
from dagnats.tui.view import View

AGAIN_S = 0.1
"""Seconds between two readings of the snapshot at least."""

EARLIER = 20
"""Earlier runs that say what is usual."""

LOGGED = 500
"""Log records of the run that are read: the newest."""


class Reader:
    """What is read of one run, and when.

    The snapshot is read again after events have come, and until it knows of them all; the events
    are followed until the run has ended, and again when it goes on.

    Args:
        view: the screen, whose tasks these are.
        state: takes everything in.
        changed: called after something was taken in.
        missing: called when the run cannot be read.

    Attributes:
        no_past: why no moment of the past can be shown; empty if it can.
        settled: everything there was at first has been read.
    """

    def __init__(
        self,
        view: View,
        state: RunState,
        changed: Callable[[], None],
        missing: Callable[[DagnatsError], None],
    ) -> None:
        self._view = view
        self._state = state
        self._changed = changed
        self._missing = missing
        self._reading = False
        self._again = False
        self._following = False
        self._learnt_from = -1
        self._took_s = 0.0
        self.no_past = ""
        self.settled = False

    def start(self) -> None:
        """Read everything, and follow: the snapshot first, since it alone makes a picture."""
        self.read()

    def _follow(self) -> None:
        self._following = True
        self._view.follow(self._events, self._happened, name="events")

    # --- the snapshot --------------------------------------------------------------------------

    def read(self) -> None:
        """Read the snapshot; if that is going on already, once more when it is done."""
        if self._reading:
            self._again = True
            return
        self._reading, self._again = True, False
        # A huge snapshot must not take all the time there is.
        delay = max(AGAIN_S, 4 * self._took_s) if self._state.view is not None else 0.0
        self._view.load(self._snapshot, self._took, name="snapshot", delay=delay, failed=self._lost)

    async def _snapshot(self, session: Session) -> RunView:
        began = monotonic()
        run = await appearing_run(session, self._state.run_id)
        self._took_s = monotonic() - began
        known = self._state.view
        if known is not None and known.definition and known.run.revision == run.revision:
            return RunView(run, known.definition)
        return RunView(run, await definition_of(session, run))

    def _took(self, view: RunView) -> None:
        self._reading = False
        first = self._state.view is None
        self._state.take(view)
        if first:
            self._learn()
            self.bury()
            self._view.call_after_refresh(self._follow)
        if self._again or self._is_behind(view):
            self.read()
        self._changed()

    def _lost(self, error: DagnatsError) -> None:
        self._reading = False
        self._missing(error)

    def _is_behind(self, view: RunView) -> bool:
        """Whether events came that this snapshot does not know; others' snapshots never tell."""
        applied = view.run.applied_seq
        return bool(applied) and not self._state.ended and applied < self._state.last_seq

    # --- events --------------------------------------------------------------------------------

    async def _events(self, session: Session) -> AsyncIterator[Recorded]:
        state = self._state
        quiet = not state.total
        followed = follow_history(session, state.run_id, state.last_seq)
        try:
            async for stored in followed:
                quiet = False
                yield stored
            self._following = False
            if quiet:
                self._settle()
        finally:
            await followed.aclose()

    def _happened(self, batch: list[Recorded]) -> None:
        state = self._state
        first = not state.total
        state.add(batch)
        if first:
            self._view.load(state.history.begin, self._begun, name="past", failed=self._unknown)
        self.read()
        self._changed()

    def _begun(self, nothing: None) -> None:
        del nothing
        self._settle()

    def _unknown(self, error: DagnatsError) -> None:
        self.no_past = error.message
        self._settle()

    def _settle(self) -> None:
        self.settled = True
        self._changed()

    def pause(self) -> None:
        """Nobody looks: follow nothing."""
        self._following = False
        self._view.stop("events")

    def resume(self) -> None:
        """Somebody looks again: go on behind the last event that was read."""
        state = self._state
        if not self._following and state.view is not None and not (state.ended and state.total):
            self._follow()

    def look(self) -> None:
        """The feed has changed: the run may go on, and its dead letters may be others."""
        row = self._view.host.feed.runs.get(self._state.run_id)
        if row is not None and self._state.view is not None:
            if row.status != self._state.view.run.status:
                self.read()
            if not row.ended and not self._following:
                self._follow()
        if self._state.baseline is None:
            self._learn()
        self.bury()

    # --- the rest ------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Look for what is usual, as soon as enough runs are known."""
        feed, view = self._view.host.feed, self._state.view
        if view is None or self._learnt_from == len(feed.runs):
            return
        earlier: list[str] = []
        for row in feed.runs.newest():
            if (row.workflow, row.status) == (view.run.workflow_id, RunStatus.COMPLETED.value):
                if row.run_id != view.run.run_id:
                    earlier.append(row.run_id)
                if len(earlier) == EARLIER:
                    break
        if feed.runs.complete or len(earlier) == EARLIER:
            self._learnt_from = len(feed.runs)
        if earlier:
            self._view.load(lambda session: baseline(session, earlier), self._learnt, name="usual")

    def _learnt(self, found: Baseline) -> None:
        self._state.learn(found)
        self._changed()

    def bury(self) -> None:
        """Take over the dead letters of the run."""
        state, dead = self._state, self._view.host.feed.dead
        letters = [letter for letter in reversed(dead.newest()) if letter.run_id == state.run_id]
        if [each.sequence for each in letters] != [each.sequence for each in state.dead]:
            state.bury(letters)
            self._changed()

    def logs(self, then: Callable[[list[LogRecord]], None]) -> None:
        """Read what was logged about the run."""
        run = self._state.view.run if self._state.view else None
        since = read_time(run.created_at) if run else None
        query = LogQuery(run=self._state.run_id, since=since)
        self._view.load(lambda session: search_logs(session, query, LOGGED), then, name="logs")
