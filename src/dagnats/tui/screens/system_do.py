"""What can be done to the system from the console: pause, release, resume, clean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from dagnats.errors import DagnatsError
from dagnats.services.cleaning import (
    CATEGORIES,
    CleanPlan,
    CleanQuery,
    clean,
    parse_age,
    plan_clean,
)
from dagnats.services.control import pause, resume
from dagnats.services.overview import RateRow
from dagnats.services.singletons import SingletonRow, release_singleton
from dagnats.tui.actions import Action
from dagnats.tui.format import count, plural, size
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line
from dagnats.tui.screens.sections import Section
from dagnats.tui.sheets.confirm import Choice, Confirm, Plan, told
from dagnats.tui.sheets.prompt import Prompt
from dagnats.tui.widgets.table import Table

WHAT = {
    "runs": "runs: history, snapshots, queues, timers",
    "dlq": "dlq: dead letters",
    "otel": "otel: logs and traces",
    "defs": "defs: workflow definitions",
}
DEFAULT = "runs,dlq"


class Owner(Protocol):
    """What is needed of the view."""

    lock_list: Table[Any]

    @property
    def host(self) -> Host:
        """The application."""
        ...

    @property
    def section(self) -> Section:
        """The section that is shown."""
        ...

    def reread(self) -> None:
        """Look again."""
        ...


class SystemDoer:
    """Carries out what keys ask for.

    Args:
        view: the screen.
    """

    def __init__(self, view: Owner) -> None:
        self._view = view

    @property
    def _host(self) -> Host:
        return self._view.host

    def _held(self) -> SingletonRow | RateRow | str | None:
        return self._view.lock_list.current if self._view.section.name == "locks" else None

    def _all_paused(self) -> bool:
        health = self._host.feed.health
        return bool(health and health.paused.paused)

    def actions(self) -> list[Action]:
        """The keys."""
        paused = self._all_paused()
        found = [
            _do(
                "system.pause",
                "P",
                "resume all" if paused else "pause all",
                "Let everything go on" if paused else "Hold everything back",
                self.resume_all if paused else self.pause_all,
            ),
            _do("system.clean", "K", "clean…", "Throw old data away", self.clean),
        ]
        if self._view.section.name == "locks":
            release = Action(
                id="system.release",
                keys=("x",),
                label="release…",
                title="Break the lock, or resume",
                run=self.release,
                changes=True,
                off=self._unreleasable,
                group="Do",
            )
            found.insert(0, release)
        return found

    def _unreleasable(self) -> str:
        held = self._held()
        if held is None:
            return "nothing is held"
        return "a rate limit fills by itself" if isinstance(held, RateRow) else ""

    async def pause_all(self) -> None:
        """Hold the engine back."""
        plan = Plan(
            title="Pause everything",
            lines=told(
                "No step of any run starts until it is resumed. Runs are still accepted, "
                "steps in hand end, timers wait."
            ),
            command="dagnats engine pause",
            verb="pause",
            phrase="pause",
            danger=True,
        )
        if await self._host.ask(Confirm(plan)):
            await pause(self._host.session)
            self._view.reread()
            self._host.report("everything is paused", "warn", undo=self.resume_all)

    async def resume_all(self) -> None:
        """Let the engine go on."""
        await resume(self._host.session)
        self._view.reread()
        self._host.report("everything goes on")

    async def release(self) -> None:
        """Break a singleton lock, or end a pause."""
        held = self._held()
        if isinstance(held, str):
            await resume(self._host.session, "" if held == "*" else held)
            self._view.reread()
            self._host.report(f"{'everything' if held == '*' else held} goes on")
        elif isinstance(held, SingletonRow):
            plan = Plan(
                title=f"Break the lock {held.key}",
                lines=told(
                    f"Run {held.run_id[:8]} keeps going without it, so that two runs may go on "
                    "beside each other. Do it when the holder is gone."
                ),
                command=f"dagnats singleton release {held.key}",
                verb="break it",
                phrase=held.key,
                danger=True,
            )
            if await self._host.ask(Confirm(plan)):
                await release_singleton(self._host.session, held.key)
                self._view.reread()
                self._host.report(f"released {held.key}", "warn")

    # Clean

    async def clean(self) -> None:
        """Ask what and how old, show what would go, and throw it away after the count is typed."""
        options = [(kind[0], WHAT[kind], kind) for kind in CATEGORIES]
        options.insert(0, ("a", "runs and dlq, as dagnats clean does", DEFAULT))
        kinds = await self._host.ask(Choice("Clean what?", options))
        if kinds is None:
            return
        older = await self._host.ask(
            Prompt(
                "Only what is older than…",
                "An age such as 7d or 24h; empty throws everything of it away.",
                value="7d",
                check=_age_problem,
                verb="preview",
            )
        )
        if older is None:
            return
        query = CleanQuery(
            types=tuple(kinds.split(",")), older_than=parse_age(older) if older.strip() else None
        )
        preview = await plan_clean(self._host.session, query)
        if not preview.total_messages:
            self._host.report("there is nothing to clean", "warn")
            return
        if not await self._host.ask(Confirm(_clean_plan(preview, kinds, older.strip()))):
            return
        done = await clean(self._host.session, query)
        self._view.reread()
        streams, buckets = done.streams_purged, done.buckets_cleared
        text = f"cleaned {plural(streams, 'stream')}, {plural(buckets, 'bucket')}"
        if done.errors:
            self._host.report(f"{text}, {done.errors} failed: {done.notes[0]}", "bad")
        else:
            self._host.report(text, "warn")


def _do(action_id: str, key: str, label: str, title: str, run: Callable[[], object]) -> Action:
    return Action(
        id=action_id, keys=(key,), label=label, title=title, run=run, changes=True, group="Do"
    )


def _age_problem(text: str) -> str:
    try:
        if text.strip():
            parse_age(text)
    except DagnatsError as error:
        return error.message
    return ""


def _clean_plan(preview: CleanPlan, kinds: str, older: str) -> Plan:
    def lines(width: int) -> list[Line]:
        rows: list[Line] = []
        for entry in preview.entries:
            if not entry.messages:
                continue
            row = Line().add(entry.name, "text", width=24).add(entry.kind, "muted", width=8)
            row.add(count(entry.messages), "text", width=12, align="right").gap(2)
            rows.append(row.add(size(entry.bytes), "muted", width=10, align="right").clip(width))
        total = f"{count(preview.total_messages)} messages, {size(preview.total_bytes)} go for good"
        return [*rows, Line(), line(total, "bad")]

    age = f" --older-than {older}" if older else ""
    return Plan(
        title="Clean: this cannot be taken back",
        lines=lines,
        command=f"dagnats clean --type {kinds}{age} --force",
        verb="clean",
        phrase=str(preview.total_messages),
        danger=True,
    )
