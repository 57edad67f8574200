"""The bookkeeping of ``dlq watch``: how often each failed step was replayed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from dagnats.cli.errors import tell
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from dagnats.model.records import DeadLetter
    from dagnats.services.session import Session

TRACKED = 100_000
"""Steps whose replays are remembered; the longest untouched are forgotten first."""

Report = Callable[["DeadLetter", str, int, int], None]
"""Told of an action: the entry, ``replayed`` or ``exhausted``, the attempt, and the limit."""


class Replayer:
    """Replays what is dead, each step at most so many times.

    An entry leaves the queue when it is replayed, and a new failure is a new entry: so replays are
    counted per run and step, not per sequence.

    Attributes:
        replayed: how many replays were accepted.
        exhausted: the steps that have used theirs up.
    """

    def __init__(self, session: Session, limit: int, run_id: str, report: Report) -> None:
        self._session = session
        self._limit = limit
        self._run_id = run_id
        self._report = report
        self._attempts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.replayed = 0
        self.exhausted: set[tuple[str, str]] = set()

    async def poll(self) -> None:
        """Look once at everything in the queue; errors are told and do not end the watch."""
        from dagnats.services.dlq import list_dead

        try:
            page = await list_dead(self._session, self._run_id, limit=None)
        except DagnatsError as error:
            tell(error)
            return
        for letter in page.entries:
            await self._consider(letter)

    async def _consider(self, letter: DeadLetter) -> None:
        key = (letter.run_id, letter.step_id)
        done = self._attempts.get(key, 0)
        if done >= self._limit:
            if key not in self.exhausted:
                self.exhausted.add(key)
                self._report(letter, "exhausted", done, self._limit)
            return
        if await self._replay(letter):
            self._attempts[key] = done + 1
            self._attempts.move_to_end(key)
            if len(self._attempts) > TRACKED:
                self._attempts.popitem(last=False)
            self.replayed += 1
            self._report(letter, "replayed", done + 1, self._limit)

    async def _replay(self, letter: DeadLetter) -> bool:
        from dagnats.services.dlq import replay

        try:
            await replay(self._session, letter.sequence)
        except DagnatsError as error:
            tell(error)
            return False
        return True
