"""What can be done to dead letters from the console: replay, edit and replay, discard with undo."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from dagnats.model.codec import is_absent, parse_json
from dagnats.model.times import SECOND
from dagnats.services.dlq import replay
from dagnats.services.dlq_bulk import PATIENCE_S, Outcome, discard_many, replay_many, replay_staged
from dagnats.services.run_rerun import changes
from dagnats.tui.actions import Action
from dagnats.tui.format import age, bar, count, plural
from dagnats.tui.host import Host
from dagnats.tui.jsontree import json_text
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.dlq_rows import Facts
from dagnats.tui.screens.listing import change_lines, editable
from dagnats.tui.sheets.confirm import Choice, Confirm, Plan
from dagnats.tui.sheets.prompt import SHOWN, Editor
from dagnats.tui.widgets.table import Table

T = TypeVar("T")

GRACE_S = 8.0
"""Seconds in which a discard can be undone: as long as the report that offers it stays."""

FEW = 10
"""From so many on, all at once asks for the number to be typed."""


class Owner(Protocol):
    """What is needed of the view."""

    table: Table[Any]

    @property
    def host(self) -> Host:
        """The application."""
        ...

    def chosen(self) -> list[Facts]:
        """The letters an action is about."""
        ...

    def why_not(self, facts: Facts) -> str:
        """Why a letter cannot be replayed."""
        ...

    def tick(self) -> None:
        """Repaint."""
        ...

    def changed(self) -> None:
        """Keys and counts have changed."""
        ...


@dataclass(slots=True)
class Job:
    """Many letters under way."""

    total: int
    good: int = 0
    bad: int = 0
    stop: Callable[[], object] | None = None

    @property
    def done(self) -> int:
        """How many have an outcome."""
        return self.good + self.bad


class Doer:
    """Carries out what keys ask for, and knows what is under way.

    Args:
        view: the screen.
    """

    def __init__(self, view: Owner) -> None:
        self._view = view
        self.grace_s = GRACE_S
        self.job: Job | None = None
        self._leaving: dict[int, int] = {}
        self._batches: list[list[int]] = []

    @property
    def _host(self) -> Host:
        return self._view.host

    # Under way

    def leaving(self, facts: Facts) -> str:
        """How long until a letter is thrown away; empty if it is not."""
        due = self._leaving.get(facts.letter.sequence)
        return "" if due is None else age(due - self._host.now() + SECOND - 1)

    def progress(self) -> Line:
        """The job that is under way."""
        job = self.job or Job(0)
        look = self._host.look
        full, rest = bar(job.done / max(1, job.total), 20, look.glyph("bar"), look.glyph("track"))
        row = Line().gap(2).add(f"replaying {job.done} of {job.total}", "text bold").gap(2)
        row.add(full, "run").add(rest, "line").gap(2).add(f"{job.good} ok", "ok").gap(2)
        row.add(f"{job.bad} not", "bad" if job.bad else "muted")
        return row.gap(3).add("S", "accent bold", link="dlq.stop").add(" stops it", "muted")

    def actions(self) -> list[Action]:
        """Keys that are there only while something is under way."""
        found: list[Action] = []
        if self.job is not None:
            stop = Action(
                id="dlq.stop",
                keys=("S",),
                label="stop",
                title="Stop replaying; what was replayed stays replayed",
                run=self._stop,
                group="Do",
            )
            found.append(stop)
        if self._batches:
            undo = Action(
                id="dlq.undo",
                keys=("u",),
                label="undo",
                title="Keep what was to be discarded last",
                run=self._undo,
                group="Do",
            )
            found.append(undo)
        return found

    def _stop(self) -> None:
        if self.job is not None and self.job.stop is not None:
            self.job.stop()

    # Replay

    async def replay(self) -> None:
        """Replay what is chosen: one after asking, many staged or all at once."""
        ready, left_out = self._ready()
        if not ready:
            self._host.report(f"nothing can be replayed: {next(iter(left_out), '')}", "warn")
            return
        if self.job is not None:
            self._host.report("a replay is under way; S stops it", "warn")
            return
        first = len(ready) if len(ready) == 1 else await self._how_many_first(len(ready))
        if first is None:
            return
        plan = self._plan(ready, left_out, first)
        if not await self._host.ask(Confirm(plan)):
            return
        await self._replay([each.letter.sequence for each in ready], first)

    def _ready(self) -> tuple[list[Facts], Counter[str]]:
        ready: list[Facts] = []
        left_out: Counter[str] = Counter()
        for each in self._view.chosen():
            reason = self._view.why_not(each)
            if not reason and each.letter.sequence in self._leaving:
                reason = "it is being discarded"
            if reason:
                left_out[reason] += 1
            else:
                ready.append(each)
        return ready, left_out

    async def _how_many_first(self, total: int) -> int | None:
        few = min(5, total - 1)
        options = [("1", "one first: watch it, and the rest only if it goes well", "1")]
        if few > 1:
            options.append(("5", f"{few} first: watch them, and then the rest", str(few)))
        options.append(("a", f"all {count(total)} at once", str(total)))
        answer = await self._host.ask(
            Choice(
                f"Replay {plural(total, 'dead letter')}",
                options,
                ("If the cause is not mended, what is replayed fails again.",),
            )
        )
        return int(answer) if answer else None

    def _plan(self, ready: list[Facts], left_out: Counter[str], first: int) -> Plan:
        total = len(ready)
        what = f"#{ready[0].letter.sequence}" if total == 1 else plural(total, "dead letter")
        all_at_once = first == total
        return Plan(
            title=f"Replay {what}",
            lines=lambda width: self._plan_lines(ready, left_out, first, width),
            command=command(ready),
            verb="replay",
            phrase=str(total) if all_at_once and total >= FEW else "",
        )

    def _plan_lines(
        self, ready: list[Facts], left_out: Counter[str], first: int, width: int
    ) -> list[Line]:
        runs = {each.letter.run_id for each in ready}
        flows = Counter(each.workflow or "?" for each in ready)
        rows = wrapped(
            f"{plural(len(runs), 'failed run')} reopened at the step that failed, attempts from 1: "
            + ", ".join(f"{name} {number}" for name, number in flows.most_common(4)),
            width,
            "text",
        )
        for reason, number in left_out.items():
            rows.append(line(f"{number} left out: {reason}", "warn"))
        rows += self._takers(ready)
        newest = max(each.at for each in ready)
        rows.append(line(f"The newest failed {age(self._host.now() - newest)} ago.", "muted"))
        if first < len(ready):
            well = "it completes" if first == 1 else "all complete"
            text = (
                f"{first} first, watched for {PATIENCE_S:g} s at most. If {well}, "
                f"the other {len(ready) - first} follow; if not, they stay where they are."
            )
            rows += wrapped(text, width, "accent")
        return rows

    def _takers(self, ready: list[Facts]) -> list[Line]:
        """Who will do the work."""
        health = self._host.feed.health
        tasks = Counter(each.letter.task for each in ready if each.letter.task)
        rows: list[Line] = []
        for task, number in tasks.most_common(4) if health else ():
            able = sum(task in worker.task_types for worker in health.workers) if health else 0
            row = line(f"{number} to {task}: ", "text")
            if able:
                rows.append(row.add(plural(able, "worker"), "text"))
            else:
                rows.append(row.add("nobody serves it now, so it will wait", "bad"))
        return rows

    async def _replay(self, sequences: list[int], first: int) -> None:
        session, job = self._host.session, Job(len(sequences))

        def told(outcome: Outcome) -> None:
            job.good += outcome.good
            job.bad += not outcome.good
            if outcome.state != "refused":
                self._host.feed.dead.drop([outcome.sequence])
                self._view.table.marks.discard(str(outcome.sequence))
            self._view.tick()

        async def work() -> list[Outcome]:
            if first >= len(sequences):
                return await replay_many(session, sequences, told)
            return (await replay_staged(session, sequences, first, progress=told)).outcomes

        outcomes = await self._as_job(job, work)
        self._report(outcomes, job)

    async def _as_job(self, job: Job, work: Callable[[], Awaitable[T]]) -> T | None:
        """Run something that can be stopped; ``None`` if it was."""
        task = asyncio.ensure_future(work())
        self.job, job.stop = job, task.cancel
        self._view.changed()
        try:
            await asyncio.wait({task})
            return None if task.cancelled() else task.result()
        finally:
            task.cancel()
            self.job = None
            self._view.tick()
            self._view.changed()

    def _report(self, outcomes: list[Outcome] | None, job: Job) -> None:
        if outcomes is None:
            self._host.report(f"stopped: {job.done} of {job.total} were replayed", "warn")
            return
        bad = [outcome for outcome in outcomes if not outcome.good]
        left = job.total - len(outcomes)
        if not bad:
            run = f": run {outcomes[0].run_id[:8]} goes on" if len(outcomes) == 1 else ""
            self._host.report(f"replayed {plural(job.good, 'dead letter')}{run}")
            return
        text = f"{job.good} replayed, {len(bad)} not: {bad[0].error}"
        rest = f"; the other {left} stay" if left else ""
        self._host.report(text + rest, "bad")

    # Edit

    async def edit(self) -> None:
        """Edit the input of one letter, look at what that changes, and replay it with it."""
        facts = self._view.chosen()[0]
        reason = self._view.why_not(facts)
        if reason:
            self._host.report(f"it cannot be replayed: {reason}", "warn")
            return
        given = facts.payload.input
        old: Any = None if is_absent(given) else parse_json(bytes(given))
        shown = editable(old)
        if len(shown) > SHOWN:
            way = f"dagnats dlq replay {facts.letter.sequence} --input"
            self._host.report(f"{len(shown):,} characters are too many to edit here: {way}", "warn")
            return
        letter = facts.letter

        def about(width: int) -> list[Line]:
            told = f"Input of step {letter.step_id}; ^g shows what the edit changes."
            return [*wrapped(letter.error, width, "bad", 3), line(told, "muted")]

        text = await self._host.ask(
            Editor(f"Input for dead letter {letter.sequence}", shown, verb="go on", about=about)
        )
        if text is None:
            return
        new = parse_json(text)
        if not await self._host.ask(Confirm(self._edit_plan(facts, old, new))):
            return
        await replay(self._host.session, letter.sequence, json_text(new).encode())
        self._host.feed.dead.drop([letter.sequence])
        self._host.report(f"replayed #{letter.sequence} with the edited input")

    def _edit_plan(self, facts: Facts, old: object, new: object) -> Plan:
        letter = facts.letter
        found = [(c.path, json_text(c.old), json_text(c.new)) for c in changes(old, new)]

        def lines(width: int) -> list[Line]:
            rows = change_lines(found, width)
            after = Line().add(f"Run {letter.run_id[:8]} goes on at {letter.step_id} with it.")
            return [*rows, Line(), after, *self._takers([facts])]

        return Plan(
            title=f"Replay #{letter.sequence} with {plural(len(found), 'change')}",
            lines=lines,
            command=f"dagnats dlq replay {letter.sequence} --input '{json_text(new)}'",
            verb="replay",
        )

    # Discard

    async def discard(self) -> None:
        """Discard what is chosen; until the grace is over, ``u`` keeps it."""
        letters = [
            each.letter for each in self._view.chosen() if each.letter.sequence not in self._leaving
        ]
        if not letters:
            return
        total = len(letters)
        what = f"#{letters[0].sequence}" if total == 1 else plural(total, "dead letter")
        plan = Plan(
            title=f"Discard {what}",
            lines=lambda width: wrapped(
                f"Gone for good after {self.grace_s:g} s; until then u keeps "
                f"{'it' if total == 1 else 'them'}, and so does leaving the console. "
                "The runs stay as they are: failed.",
                width,
                "text",
            ),
            command=discard_command([letter.sequence for letter in letters]),
            verb="discard",
            phrase=str(total) if total >= FEW else "",
            danger=True,
        )
        if not await self._host.ask(Confirm(plan)):
            return
        batch = [letter.sequence for letter in letters]
        due = self._host.now() + int(self.grace_s * SECOND)
        self._leaving |= dict.fromkeys(batch, due)
        self._batches.append(batch)
        self._view.table.marks.clear()
        self._host.report(f"discarding {what} in {self.grace_s:g} s", "warn", undo=self._undo_async)
        self._view.tick()
        await self._execute(batch)

    async def _execute(self, batch: list[int]) -> None:
        await asyncio.sleep(self.grace_s)
        if batch not in self._batches:
            return  # It was undone.
        self._batches.remove(batch)
        try:
            gone, failed = await discard_many(self._host.session, batch)
        finally:
            for sequence in batch:
                self._leaving.pop(sequence, None)
        self._host.feed.dead.drop(gone)
        self._host.feed.version += 1
        if failed:
            self._host.report(f"{len(gone)} discarded, {len(failed)} not: {failed[0].error}", "bad")
        else:
            self._host.report(f"discarded {plural(len(gone), 'dead letter')}")

    def _undo(self) -> None:
        """Keep the batch that was to go last."""
        if not self._batches:
            self._host.report("it is too late: nothing is waiting to be discarded", "warn")
            return
        batch = self._batches.pop()
        for sequence in batch:
            self._leaving.pop(sequence, None)
        self._view.tick()
        self._host.report(f"kept {plural(len(batch), 'dead letter')}")

    async def _undo_async(self) -> None:
        self._undo()


def command(ready: list[Facts]) -> str:
    """The command line that replays the same letters."""
    sequences = " ".join(str(each.letter.sequence) for each in ready)
    if len(ready) == 1:
        return f"dagnats dlq replay {sequences}"
    return f"for n in {sequences}; do dagnats dlq replay $n; done"


def discard_command(sequences: list[int]) -> str:
    """The command line that discards the same letters."""
    if len(sequences) == 1:
        return f"dagnats dlq discard {sequences[0]} --yes"
    return f"for n in {' '.join(map(str, sequences))}; do dagnats dlq discard $n --yes; done"
