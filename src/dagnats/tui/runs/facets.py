"""The strip of counts above the list, and the dialogs that change its filter."""

from __future__ import annotations

from dagnats.services.address import Address, Term
from dagnats.services.run_filter import SORTS
from dagnats.tui import saved
from dagnats.tui.feed.runs import RunIndex
from dagnats.tui.format import count, short
from dagnats.tui.host import Host
from dagnats.tui.line import Line
from dagnats.tui.sheets.confirm import Choice
from dagnats.tui.theme import Look

STATES = (
    *("running", "queued", "waiting", "retrying", "pending"),
    *("failed", "completed", "cancelled", "compensated", "compensate_failed"),
)
"""In the order in which they are shown."""

RANGES = ("15m", "1h", "6h", "24h", "7d")
KEYS = "123456789abcdefghijklmnop"


def strip(index: RunIndex, wanted: Address, look: Look, width: int) -> Line:
    """How many runs there are in each state; a click filters."""
    row, wide = Line().gap(2), width >= 100
    chosen = {value for term in wanted.terms if term.key == "status" for value in term.values}
    more = "" if index.complete else "+"
    number = count(index.total) if wide else short(index.total)
    role = "muted" if chosen else "text bold"
    row.add(f"all {number}{more}", role, link="runs.all").gap(3 if wide else 2)
    for state in STATES:
        if index.states.get(state):
            row.extend(_count(index, state, look, state in chosen, wide)).gap(3 if wide else 2)
    return row


def _count(index: RunIndex, state: str, look: Look, chosen: bool, wide: bool) -> Line:
    glyph, role = look.status(state)
    number = index.states[state]
    text = f"{glyph} {state} {count(number)}" if wide else f"{glyph} {short(number)}"
    if chosen:
        role += " bold underline"
    return Line().add(text, role, link=f"go:runs status:{state}")


def with_term(address: Address, key: str, *values: str) -> Address:
    """The address with a term set; without values, it is taken out."""
    terms = tuple(term for term in address.terms if term.key != key)
    if values:
        terms += (Term(key=key, values=values),)
    return Address(kind=address.kind, ids=address.ids, terms=terms, text=address.text)


async def choose_facet(host: Host, address: Address) -> Address | None:
    """Ask for a state or a workflow to filter by."""
    index = host.feed.runs
    values = [("status", state, index.states[state]) for state in STATES if index.states.get(state)]
    values += [("wf", name, number) for name, number in index.workflows.most_common(12) if number]
    options = [
        (key, f"{kind}:{value}   {count(number)}", f"{kind} {value}")
        for key, (kind, value, number) in zip(KEYS, values, strict=False)
    ]
    options.append(("0", "everything", "all"))
    answer = await host.ask(Choice("Show only", options))
    if answer is None:
        return None
    if answer == "all":
        return Address(kind="runs")
    kind, _, value = answer.partition(" ")
    return with_term(address, kind, value)


async def choose_range(host: Host, address: Address) -> Address | None:
    """Ask for a time range."""
    options = [(str(at + 1), f"started in the last {text}", text) for at, text in enumerate(RANGES)]
    answer = await host.ask(Choice("Time range", [*options, ("0", "any time", "any")]))
    if answer is None:
        return None
    return with_term(address, "since", *(() if answer == "any" else (answer,)))


async def choose_sort(host: Host, address: Address) -> Address | None:
    """Ask for an order."""
    names = {"age": "newest first", "dur": "longest first", "wf": "workflow", "status": "state"}
    options = [(name[0], names.get(name, name), name) for name in SORTS]
    answer = await host.ask(Choice("Sort by", options))
    if answer is None:
        return None
    reverse = "-" if answer == "dur" else ""
    return with_term(address, "sort", *(() if answer == "age" else (reverse + answer,)))


def reversed_sort(address: Address) -> Address:
    """The address with the other order."""
    now = next((term.values[0] for term in address.terms if term.key == "sort"), "age")
    other = now.removeprefix("-") if now.startswith("-") else f"-{now}"
    return with_term(address, "sort", *(() if other == "age" else (other,)))


async def choose_saved(host: Host) -> str | None:
    """Ask for one of the filters that were saved."""
    filters = saved.load().filters
    if not filters:
        host.report("no filter is saved yet; F saves the one that is shown", "warn")
        return None
    options = [
        (key, f"{name}   {address}", address)
        for key, (name, address) in zip(KEYS, filters.items(), strict=False)
    ]
    return await host.ask(Choice("Saved filters", options))
