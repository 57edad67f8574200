"""What can be done with a trigger: fire, turn on and off, add, edit, delete, try a cron."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from dagnats.model.codec import parse_json
from dagnats.services.address import Address
from dagnats.services.trigger_fires import FIREABLE, fire_trigger
from dagnats.services.trigger_overview import TriggerLine
from dagnats.services.triggers import (
    TriggerSpec,
    create_trigger,
    delete_trigger,
    enable_trigger,
    update_trigger,
)
from dagnats.tui.actions import Action
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line
from dagnats.tui.sheets.confirm import Choice, Confirm, Plan, told
from dagnats.tui.sheets.cron import CronTester
from dagnats.tui.sheets.form import Form
from dagnats.tui.widgets.table import Table

_TEXT = {"type": "string"}
_ZONE = {"type": "string", "description": "IANA time zone, such as Europe/London", "default": "UTC"}
_BACKFILL = {"type": "boolean", "description": "make up for fires that were missed"}
_SECRET = {"type": "string", "description": "requests are to be signed with it"}
KINDS: dict[str, dict[str, Any]] = {
    "cron": {
        "cron": {**_TEXT, "description": "minute hour day month weekday, or @hourly"},
        "tz": _ZONE,
        "backfill": _BACKFILL,
    },
    "subject": {"subject": {**_TEXT, "description": "NATS subject, such as orders.created.>"}},
    "webhook": {
        "webhook": {**_TEXT, "description": "path below /hooks, such as /pr"},
        "secret": _SECRET,
    },
    "http": {"secret": _SECRET},
}
"""What of each kind can be set from here."""


class Owner(Protocol):
    """What is needed of the view."""

    table: Table[TriggerLine]

    @property
    def host(self) -> Host:
        """The application."""
        ...

    def reread(self) -> None:
        """Read the triggers again."""
        ...


class TriggerDoer:
    """Carries out what keys ask for.

    Args:
        view: the screen.
    """

    def __init__(self, view: Owner) -> None:
        self._view = view

    @property
    def _host(self) -> Host:
        return self._view.host

    @property
    def _row(self) -> TriggerLine | None:
        return self._view.table.current

    def actions(self) -> list[Action]:
        """The keys."""
        row = self._row
        on = row is not None and row.trigger.enabled
        return [
            self._do("fire", "r", "fire now…", "Fire it now", self.fire, self._unfireable),
            self._do(
                "switch", "x", "turn off" if on else "turn on", "Turn it on or off", self.switch
            ),
            self._do("add", "a", "add…", "Add a trigger", self.add, lambda: ""),
            self._do("edit", "E", "edit…", "Edit it", self.edit, self._fixed),
            self._do("delete", "D", "delete…", "Delete it", self.delete),
            Action(
                id="trigger.cron",
                keys=("t",),
                label="try cron",
                title="Try a cron expression",
                run=self.try_cron,
            ),
            Action(
                id="trigger.run",
                keys=("o",),
                label="last run",
                title="The run of its last fire",
                run=self._last_run,
                off=lambda: "" if self._last() else "it started no run yet",
                group="Go",
            ),
        ]

    def _do(
        self,
        name: str,
        key: str,
        label: str,
        title: str,
        run: Callable[[], object],
        off: Callable[[], str] | None = None,
    ) -> Action:
        return Action(
            id=f"trigger.{name}",
            keys=(key,),
            label=label,
            title=title,
            run=run,
            changes=True,
            off=off or self._nothing,
            group="Do",
        )

    def _nothing(self) -> str:
        return "" if self._row is not None else "no trigger is chosen"

    def _unfireable(self) -> str:
        row = self._row
        if row is None:
            return "no trigger is chosen"
        if not row.trigger.enabled:
            return "it is off; x turns it on"
        return "" if row.kind in FIREABLE else f"a {row.kind} trigger cannot be fired by hand"

    def _fixed(self) -> str:
        row = self._row
        if row is None:
            return "no trigger is chosen"
        return "" if row.kind in KINDS else f"nothing of an {row.kind} trigger can be set here"

    def _chosen(self) -> TriggerLine:
        row = self._row
        assert row is not None  # The action is off without one.
        return row

    async def fire(self) -> None:
        """Start its workflow as if it had fired."""
        row = self._chosen()
        plan = Plan(
            title=f"Fire {row.trigger.id}",
            lines=told(f"A run of {row.trigger.workflow_id} starts now."),
            command=f"dagnats trigger fire {row.trigger.id}",
            verb="fire",
        )
        if not await self._host.ask(Confirm(plan)):
            return
        fired = await fire_trigger(self._host.session, row.trigger.id)
        self._host.report(f"fired {row.trigger.id}: run {fired.run_id[:8]}")
        self._view.reread()

    async def switch(self) -> None:
        """Turn it on, or off; the report can take it back."""
        row = self._chosen()
        await self._switch(row.trigger.id, not row.trigger.enabled)

    async def _switch(self, trigger_id: str, enabled: bool) -> None:
        await enable_trigger(self._host.session, trigger_id, enabled)
        self._host.report(
            f"{trigger_id} is {'on' if enabled else 'off'}",
            "ok" if enabled else "warn",
            undo=lambda: self._switch(trigger_id, not enabled),
        )
        self._view.reread()

    async def add(self) -> None:
        """Ask for the kind and what belongs to it, and make it."""
        kind = await self._host.ask(
            Choice(
                "Add a trigger",
                [
                    ("c", "cron: at times", "cron"),
                    ("s", "subject: for every message on a NATS subject", "subject"),
                    ("w", "webhook: for every POST on a path", "webhook"),
                ],
            )
        )
        if kind is None:
            return
        flows = sorted(self._host.feed.flows)
        workflow = {"type": "string", "description": f"one of {', '.join(flows[:6])}"}
        schema = _schema({"workflow": workflow, **KINDS[kind]}, ["workflow", kind])
        filled = await self._host.ask(Form(f"Add a {kind} trigger", schema, verb="add"))
        if filled is None:
            return
        values: dict[str, Any] = parse_json(filled.text)
        flow = values.pop("workflow")
        made = await create_trigger(self._host.session, flow, TriggerSpec(**values))
        self._host.report(f"added {made.id} for {flow}")
        self._view.reread()

    async def edit(self) -> None:
        """Ask what is to be changed; a secret that is left empty stays."""
        row = self._chosen()
        schema = _schema(KINDS[row.kind], [row.kind] if row.kind in KINDS[row.kind] else [])

        def about(width: int) -> list[Line]:
            del width
            text = (
                "A secret that is left empty stays as it is." if "secret" in KINDS[row.kind] else ""
            )
            return [line(text or "Its kind stays.", "muted")]

        filled = await self._host.ask(
            Form(f"Edit {row.trigger.id}", schema, _values(row), verb="save", about=about)
        )
        if filled is None:
            return
        values: dict[str, Any] = parse_json(filled.text)
        await update_trigger(self._host.session, row.trigger.id, TriggerSpec(**values))
        self._host.report(f"changed {row.trigger.id}")
        self._view.reread()

    async def delete(self) -> None:
        """Delete it after its id was typed."""
        row = self._chosen()
        managed = row.trigger.source.startswith("file:")
        texts = [f"{row.kind} {row.what} starts {row.trigger.workflow_id} no more."]
        if managed:
            texts.append(f"It is managed by {row.trigger.source}, which may make it again.")
        plan = Plan(
            title=f"Delete trigger {row.trigger.id}",
            lines=told(*texts, "Its history stays."),
            command=f"dagnats trigger delete {row.trigger.id}{' --force' if managed else ''}",
            verb="delete",
            phrase=row.trigger.id,
            danger=True,
        )
        if not await self._host.ask(Confirm(plan)):
            return
        await delete_trigger(self._host.session, row.trigger.id, force=managed)
        self._host.report(f"deleted {row.trigger.id}", "warn")
        self._view.reread()

    async def try_cron(self) -> None:
        """Type an expression, and see when it fires."""
        row = self._row
        cron = row.trigger.cron if row is not None else None
        tester = CronTester(cron.expression, cron.timezone) if cron else CronTester()
        await self._host.ask(tester)

    def _last(self) -> str:
        row = self._row
        fires = row.fires if row is not None else []
        return next((fire.run_id for fire in fires if fire.run_id), "")

    def _last_run(self) -> None:
        self._host.go(Address(kind="run", ids=(self._last(),)))


def _schema(properties: dict[str, Any], required: list[str]) -> bytes:
    tree = {"type": "object", "properties": properties, "required": required}
    return json.dumps(tree).encode()


def _values(row: TriggerLine) -> dict[str, Any]:
    """What a form shows of a trigger now; never a secret."""
    trigger = row.trigger
    if trigger.cron is not None:
        cron = trigger.cron
        return {"cron": cron.expression, "tz": cron.timezone or "UTC", "backfill": cron.backfill}
    if trigger.subject is not None:
        return {"subject": trigger.subject.subject}
    return {"webhook": trigger.webhook.path} if trigger.webhook is not None else {}
