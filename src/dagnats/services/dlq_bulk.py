"""Replaying many dead letters: at once, or a few first, watched, and then the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from dagnats.errors import DagnatsError, NotFoundError, UsageError
from dagnats.model.event import EventType
from dagnats.model.records import DeadLetter
from dagnats.services.dlq import DEAD, discard, get_dead, replay
from dagnats.services.infos import stream_info
from dagnats.services.run_watch import follow_run
from dagnats.services.session import Session
from dagnats.services.status import HISTORY

PATIENCE_S = 60.0
"""Seconds the first ones are watched for."""

_FAILED = frozenset(
    {
        EventType.WORKFLOW_FAILED.value,
        EventType.WORKFLOW_CANCELLED.value,
        EventType.COMPENSATE_STARTED.value,
    }
)


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one dead letter.

    Args:
        state: ``replayed`` (accepted, not watched), ``completed`` (the step went well this time),
            ``failed`` (it failed again), ``open`` (neither while it was watched), or ``refused``
            (it was not replayed, and stays in the queue).
        error: why it failed or was refused.
    """

    sequence: int
    state: str
    run_id: str = ""
    step_id: str = ""
    error: str = ""

    @property
    def good(self) -> bool:
        """Nothing speaks against replaying more of its kind."""
        return self.state in ("replayed", "completed")


class Staged(Struct, frozen=True):
    """What became of many.

    Args:
        outcomes: of those that were replayed or refused, in order.
        left: those that were not touched, because one of the first did not go well.
    """

    outcomes: list[Outcome]
    left: list[int]


Progress = Callable[[Outcome], None]


async def replay_many(
    session: Session, sequences: Iterable[int], progress: Progress | None = None
) -> list[Outcome]:
    """Replay dead letters, each on its own account: one that is refused stops no other.

    A run that has several of them is reopened once, by its newest; the others leave the queue with
    it, as :func:`dagnats.services.dlq.replay_run` does.

    Args:
        session: the connection.
        sequences: which.
        progress: is told each outcome.
    """
    outcomes: list[Outcome] = []
    for letters, missing in await _by_run(session, sequences):
        found = missing or await _replay_one_run(session, letters)
        outcomes += found
        for outcome in found:
            if progress:
                progress(outcome)
    return outcomes


async def replay_staged(
    session: Session,
    sequences: Sequence[int],
    first: int = 1,
    patience_s: float = PATIENCE_S,
    progress: Progress | None = None,
) -> Staged:
    """Replay a few, watch what becomes of them, and only if all go well the rest.

    Args:
        session: the connection.
        sequences: which; the first of them go first.
        first: how many.
        patience_s: seconds to wait for the outcome of the first ones.
        progress: is told each outcome.

    Raises:
        UsageError: ``first`` is not positive.
    """
    if first < 1:
        raise UsageError("at least one has to go first")
    mark = await _history_end(session)
    done = await replay_many(session, sequences[:first])
    watched = await asyncio.gather(*(_watched(session, one, mark, patience_s) for one in done))
    for outcome in watched:
        if progress:
            progress(outcome)
    rest = list(sequences[first:])
    if not all(outcome.good for outcome in watched):
        return Staged(list(watched), rest)
    return Staged([*watched, *await replay_many(session, rest, progress)], [])


async def discard_many(
    session: Session, sequences: Iterable[int]
) -> tuple[list[int], list[Outcome]]:
    """Throw dead letters away; the sequences that went, and those that did not.

    One that has left the queue already is no failure.
    """
    gone: list[int] = []
    failed: list[Outcome] = []
    for sequence in sequences:
        try:
            await discard(session, sequence)
        except NotFoundError:
            continue
        except DagnatsError as error:
            failed.append(Outcome(sequence=sequence, state="refused", error=error.message))
        else:
            gone.append(sequence)
    return gone, failed


async def _by_run(
    session: Session, sequences: Iterable[int]
) -> list[tuple[list[DeadLetter], list[Outcome]]]:
    """The letters of each run, in order; those that are gone stand for themselves."""
    runs: dict[str, list[DeadLetter]] = {}
    found: list[tuple[list[DeadLetter], list[Outcome]]] = []
    for sequence in sequences:
        try:
            letter = await get_dead(session, sequence)
        except NotFoundError as error:
            gone = Outcome(sequence=sequence, state="refused", error=error.message)
            found.append(([], [gone]))
            continue
        if not letter.run_id or letter.run_id not in runs:
            letters = [letter]
            found.append((letters, []))
            runs[letter.run_id] = letters
        else:
            runs[letter.run_id].append(letter)
    return found


async def _replay_one_run(session: Session, letters: list[DeadLetter]) -> list[Outcome]:
    newest = max(letters, key=lambda letter: letter.sequence)
    try:
        await replay(session, newest.sequence)
    except DagnatsError as error:
        return [_outcome(letter, "refused", error.message) for letter in letters]
    for letter in letters:
        if letter is not newest:
            await session.stores.dead_letters.delete(letter.sequence)
    return [_outcome(letter, "replayed") for letter in letters]


def _outcome(letter: DeadLetter, state: str, error: str = "") -> Outcome:
    return Outcome(
        sequence=letter.sequence,
        state=state,
        run_id=letter.run_id,
        step_id=letter.step_id,
        error=error,
    )


async def _history_end(session: Session) -> int:
    info = await stream_info(session, HISTORY)
    return int(info["state"]["last_seq"]) if info else 0


async def _watched(session: Session, done: Outcome, mark: int, patience_s: float) -> Outcome:
    """What became of the step, or ``open`` if that is not known in time."""
    if done.state != "replayed":
        return done
    state, error = "open", f"no outcome within {patience_s:g} s"
    try:
        async with asyncio.timeout(patience_s):
            state, error = await _verdict(session, done, mark)
    except TimeoutError:
        pass  # It goes on; that is an outcome too.
    return Outcome(
        sequence=done.sequence,
        state=state,
        run_id=done.run_id,
        step_id=done.step_id,
        error=error,
    )


async def _verdict(session: Session, done: Outcome, mark: int) -> tuple[str, str]:
    async for event in follow_run(session, done.run_id, mark):
        if event.type == EventType.WORKFLOW_COMPLETED:
            return "completed", ""
        if event.type == EventType.STEP_COMPLETED and event.step_id == done.step_id:
            return "completed", ""
        if event.type in _FAILED:
            return "failed", await _error_of(session, done)
    return "open", "the run is over, and says nothing of the step"


async def _error_of(session: Session, done: Outcome) -> str:
    """What the new dead letter of the step says."""
    info = await stream_info(session, DEAD)
    newest = int(info["state"]["last_seq"]) if info else 0
    async for letter in session.stores.dead_letters.scan(min(done.sequence, newest), done.run_id):
        if letter.step_id == done.step_id:
            return letter.error
    return "the run failed again"
