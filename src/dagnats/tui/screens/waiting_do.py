"""Deciding approvals, and cancelling runs that are to start later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dagnats.errors import DagnatsError
from dagnats.model.codec import is_absent
from dagnats.model.records import ApprovalToken, ScheduledRun
from dagnats.services.address import Address
from dagnats.services.run_steps import Decided, approve, reject
from dagnats.services.runs import start_run
from dagnats.services.schedules import cancel_schedule
from dagnats.tui.actions import Action
from dagnats.tui.format import plural
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line
from dagnats.tui.screens.flow_do import json_problem
from dagnats.tui.screens.listing import stamp
from dagnats.tui.screens.sections import Section
from dagnats.tui.sheets.confirm import Confirm, Plan
from dagnats.tui.sheets.prompt import Prompt
from dagnats.tui.widgets.table import Table

SHOWN = 8
"""Names a plan lists."""

Decide = Callable[..., Coroutine[Any, Any, Decided]]


class Owner(Protocol):
    """What is needed of the view."""

    asked: Table[ApprovalToken]
    later: Table[ScheduledRun]

    @property
    def host(self) -> Host:
        """The application."""
        ...

    @property
    def section(self) -> Section:
        """The section that is shown."""
        ...

    def workflow_of(self, row: ApprovalToken) -> str:
        """The workflow whose run asks."""
        ...

    def reread(self) -> None:
        """Read again."""
        ...


class WaitingDoer:
    """Carries out what keys ask for.

    Args:
        view: the screen.
    """

    def __init__(self, view: Owner) -> None:
        self._view = view

    @property
    def _host(self) -> Host:
        return self._view.host

    def actions(self) -> list[Action]:
        """The keys of the section."""
        if self._view.section.name == "schedules":
            return [
                Action(
                    id="schedule.cancel",
                    keys=("c",),
                    label="cancel…",
                    title="Keep it from starting",
                    run=self.cancel,
                    changes=True,
                    off=lambda: "" if self._view.later.chosen() else "nothing is scheduled",
                    group="Do",
                )
            ]
        run = Action(
            id="approval.run",
            keys=("o",),
            label="run",
            title="Go to the run",
            run=self._go_run,
            off=self._nothing,
            group="Go",
        )
        return [
            self._decision("approve", "a", approve),
            self._decision("reject", "X", reject),
            run,
        ]

    def _decision(self, verb: str, key: str, decide: Decide) -> Action:
        return Action(
            id=f"approval.{verb}",
            keys=(key,),
            label=f"{verb}…",
            title=f"{verb.capitalize()}, with JSON if wanted",
            run=lambda: self.decide(verb, decide),
            changes=True,
            off=self._nothing,
            group="Do",
        )

    def _nothing(self) -> str:
        return "" if self._view.asked.chosen() else "nothing waits for a decision"

    def _go_run(self) -> None:
        row = self._view.asked.current
        if row is not None:
            self._host.go(Address(kind="run", ids=(row.run_id,)))

    async def decide(self, verb: str, decide: Decide) -> None:
        """Ask for the body, and decide what is chosen."""
        rows = self._view.asked.chosen()
        what = plural(len(rows), "approval")
        if len(rows) == 1:
            what = f"{self._view.workflow_of(rows[0])} / {rows[0].step_id}"
        becomes = "output of the step" if verb == "approve" else "reason of the failure"
        body = await self._host.ask(
            Prompt(
                f"{verb.capitalize()} {what}",
                f"JSON that becomes the {becomes}; empty for none. It cannot be taken back.",
                check=lambda text: json_problem(text) if text.strip() else "",
                verb=verb,
            )
        )
        if body is None or (len(rows) > 1 and not await self._many(verb, rows)):
            return
        await self._decided(rows, decide, body.strip().encode() or None)

    async def _many(self, verb: str, rows: list[ApprovalToken]) -> bool:
        names = [f"{self._view.workflow_of(row)} / {row.step_id}  {row.run_id[:8]}" for row in rows]
        plan = Plan(
            title=f"{verb.capitalize()} {len(rows)} approvals",
            lines=lambda width: _listed(names, width),
            verb=verb,
            phrase=str(len(rows)),
            danger=verb == "reject",
        )
        return bool(await self._host.ask(Confirm(plan)))

    async def _decided(self, rows: list[ApprovalToken], decide: Decide, body: bytes | None) -> None:
        done: list[Decided] = []
        failed: list[str] = []
        for row in rows:
            try:
                done.append(await decide(self._host.session, row.run_id, row.step_id, body))
            except DagnatsError as error:
                failed.append(error.message)
        self._view.asked.marks.clear()
        self._view.reread()
        if failed:
            self._host.report(f"{len(done)} decided, {len(failed)} not: {failed[0]}", "bad")
        elif len(done) == 1:
            self._host.report(f"{done[0].status} {done[0].step_id} of run {done[0].run_id[:8]}")
        else:
            self._host.report(f"{done[0].status} {plural(len(done), 'approval')}")

    async def cancel(self) -> None:
        """Keep what is chosen from starting; it can be scheduled anew."""
        rows = self._view.later.chosen()
        names = [f"{row.workflow_id}  {stamp(row.run_at)}  {row.run_id[:8]}" for row in rows]
        plan = Plan(
            title=f"Cancel {plural(len(rows), 'scheduled run')}",
            lines=lambda width: [
                *_listed(names, width),
                line("u schedules the same anew, under another id.", "muted"),
            ],
            command=f"dagnats run cancel {rows[0].run_id}",
            verb="cancel it" if len(rows) == 1 else "cancel them",
            phrase=str(len(rows)) if len(rows) > 1 else "",
        )
        if not await self._host.ask(Confirm(plan)):
            return
        gone = [row for row in rows if await cancel_schedule(self._host.session, row.run_id)]
        self._view.later.marks.clear()
        self._view.reread()
        late = len(rows) - len(gone)
        text = f"cancelled {plural(len(gone), 'scheduled run')}"
        self._host.report(
            f"{text}; {late} had begun already" if late else text,
            "warn",
            undo=lambda: self._again(gone),
        )

    async def _again(self, rows: list[ScheduledRun]) -> None:
        for row in rows:
            given = None if is_absent(row.input) else bytes(row.input)
            await start_run(self._host.session, row.workflow_id, given, row.run_at)
        self._view.reread()
        self._host.report(f"scheduled {plural(len(rows), 'run')} anew")


def _listed(names: list[str], width: int) -> list[Line]:
    rows = [Line().gap(2).add(name, "text", most=width - 2) for name in names[:SHOWN]]
    if len(names) > SHOWN:
        rows.append(line(f"  and {len(names) - SHOWN} more", "muted"))
    return rows
