"""One trigger in full: what it reacts to, when next, what its fires came to."""

from __future__ import annotations

from dagnats.model.times import read_time
from dagnats.services.cron_times import explain_cron
from dagnats.services.trigger_fires import FireRow
from dagnats.services.trigger_overview import TriggerLine
from dagnats.tui.format import span
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.listing import labelled, moment_of, paired, title

NEXT = 5
"""Fires to come that are shown."""


def trigger_lines(host: Host, row: TriggerLine, width: int, *, whole: bool = False) -> list[Line]:
    """The pane beside the list.

    Args:
        host: the application.
        row: the trigger.
        width: cells.
        whole: without the history, which stands below it then.
    """
    trigger = row.trigger
    inner = width - 2
    state = "on" if trigger.enabled else "off: x turns it on"
    lines = [Line().add(trigger.id, "text bold", most=inner), Line()]
    flow = Line().add("starts", "muted", width=11).gap()
    flow.add(trigger.workflow_id, "accent", link=f"go:flow {trigger.workflow_id}")
    rows = [flow, labelled("state", state, "ok" if trigger.enabled else "warn"), *_kind(row)]
    if trigger.debounce is not None:
        rows.append(labelled("debounce", f"quiet for {span(trigger.debounce.period)}"))
    if trigger.source:
        rows.append(labelled("from", trigger.source, "muted"))
    lines += paired(rows, inner)
    lines += _coming(host, row, inner)
    lines += [Line(), title("LAST FIRES", inner)]
    if not row.fires:
        lines.append(line("It never fired.", "muted"))
    elif not whole:
        lines += [fire_line(host, fire, inner) for fire in row.fires]
    return [Line().gap().extend(each) for each in lines]


def _kind(row: TriggerLine) -> list[Line]:
    trigger = row.trigger
    if trigger.cron is not None:
        zone = trigger.cron.timezone or "UTC"
        missed = "made up for" if trigger.cron.backfill else "left out"
        return [labelled("cron", row.what), labelled("zone", zone), labelled("missed", missed)]
    if trigger.webhook is not None:
        signed = trigger.webhook.signature or "body" if trigger.webhook.secret else "not signed"
        return [labelled("POST", f"/hooks{row.what}"), labelled("signed", signed)]
    if trigger.http is not None:
        return [labelled("answers", row.what)]
    return [labelled(row.kind or "kind", row.what)]


def _coming(host: Host, row: TriggerLine, width: int) -> list[Line]:
    cron = row.trigger.cron
    if cron is None or not row.trigger.enabled:
        return []
    now = host.now()
    test = explain_cron(cron.expression, cron.timezone or "UTC", NEXT, now)
    if not test.valid:
        return [Line(), *wrapped(test.error, width, "bad", 3)]
    lines = [Line(), title("NEXT", width)]
    for at, label in zip(test.next_times, test.labels, strict=False):
        moment = read_time(at) or now
        lines.append(Line().add(label, "text", width=24).add(f"in {span(moment - now)}", "muted"))
    return lines


def fire_line(host: Host, fire: FireRow, width: int) -> Line:
    """One fire and what became of it."""
    state = "skipped" if fire.skipped else fire.status or "unknown"
    glyph, role = host.look.status(state)
    row = Line().add(moment_of(fire.fired_at, host.now()), "muted").gap(2)
    row.add(f"{glyph} {state}", role, width=11).gap()
    if fire.run_id:
        row.add(fire.run_id[:8], "accent", link=f"go:run {fire.run_id}").gap(2)
        row.add(fire.duration, "muted")
    else:
        row.add(fire.skip_reason or fire.error, "muted")
    return row.clip(width)
