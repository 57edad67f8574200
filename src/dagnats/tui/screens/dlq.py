"""Dead letters: grouped by what went wrong, replayed with care, thrown away with a way back."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from dagnats.model.times import read_time
from dagnats.services.address import Address
from dagnats.services.dlq import GROUPINGS, DeadGroup
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, age, count, plural, spark
from dagnats.tui.line import Line, line
from dagnats.tui.screens.dlq_detail import detail_lines, letter_lines
from dagnats.tui.screens.dlq_do import Doer
from dagnats.tui.screens.dlq_rows import (
    Facts,
    GroupRow,
    LetterRow,
    Row,
    facts_of,
    letters_of,
    rows_of,
    unreplayable,
)
from dagnats.tui.screens.listing import ListView, term, with_term
from dagnats.tui.sheets.base import Reading
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text


class Dlq(ListView):
    """The dead-letter queue as a tree of groups and letters, with what the cursor is on."""

    DEFAULT_CSS = """
    Dlq #dead-summary { height: 1; }
    Dlq #dead-body { height: 1fr; layout: horizontal; }
    Dlq #dead { width: 3fr; }
    Dlq #dead-detail { width: 2fr; }
    Dlq.-narrow #dead-body { layout: vertical; }
    Dlq.-narrow #dead { width: 1fr; height: 3fr; }
    Dlq.-narrow #dead-detail { width: 1fr; height: 2fr; min-height: 7; }
    """
    SCOPED_CSS = False
    keys = ("group", "by", "wf", "run", "step", "task", "reason")

    def __init__(self) -> None:
        super().__init__("dlq")
        self.facts: dict[int, Facts] = {}
        self.muted: set[str] = set()
        self.doer = Doer(self)
        self.shown = 0
        self._toggled: dict[str, bool] = {}
        self._sought = ""
        self._version = -1

    def compose(self) -> ComposeResult:
        """Summary, tree, and what the cursor is on."""
        columns: list[Column[Row]] = [
            Column(title="GROUP", cell=self._cell_name, width=7),
            Column(title="N", cell=self._count, width=4, right=True),
            Column(title="WORKFLOW / STEP", cell=self._where, width=19, flex=2),
            Column(title="ERROR", cell=self._error, width=22, flex=3),
            Column(title="60 MIN", cell=self._spark, width=12, drop=2),
            Column(title="LAST", cell=self._last, width=6, right=True, gap=1),
        ]
        self.table: Table[Row] = Table(columns, lambda row: row.key, markable=True, id="dead")
        self.table.empty = self._empty
        yield Text(self._summary, focusable=False, id="dead-summary")
        with Container(id="dead-body"):
            yield self.table
            yield Text(self._detail, ground="surface", id="dead-detail")

    # Cells

    def _cell_name(self, row: Row) -> tuple[str, str]:
        if isinstance(row, LetterRow):
            leaving = self.doer.leaving(row.facts)
            return f"  #{row.facts.letter.sequence}", "muted strike" if leaving else "accent"
        return f"{self.host.look.glyph('open' if row.open else 'closed')} {row.group.id}", "accent"

    def _count(self, row: Row) -> tuple[str, str]:
        if isinstance(row, GroupRow):
            return count(row.group.count), "text bold"
        tries = row.facts.attempts
        return (f"{self.host.look.glyph('tries')}{tries}" if tries else ""), "muted"

    def _where(self, row: Row) -> tuple[str, str]:
        if isinstance(row, GroupRow):
            return row.where, "text"
        letter = row.facts.letter
        return f"{letter.run_id[:8] or NONE}  {letter.step_id}", "muted"

    def _error(self, row: Row) -> tuple[str, str]:
        if isinstance(row, GroupRow):
            return row.group.sample or "no error text", "bad"
        left = self.doer.leaving(row.facts)
        return (f"goes in {left}", "warn") if left else (row.facts.letter.error, "muted")

    def _spark(self, row: Row) -> tuple[str, str]:
        if isinstance(row, LetterRow):
            return "", ""
        return spark(row.minutes(self.host.now()), 12, self.host.look.ascii_only), "bad"

    def _last(self, row: Row) -> tuple[str, str]:
        at = row.facts.at if isinstance(row, LetterRow) else read_time(row.group.last) or 0
        return age(self.host.now() - at), "muted"

    # What there is

    @property
    def by(self) -> str:
        """What letters are grouped by."""
        found = term(self.here, "by")
        return found if found in GROUPINGS else "error"

    def refiltered(self) -> None:
        """Another filter; a group that is named is opened."""
        self._toggled.clear()
        self._sought = term(self.here, "group")
        self._show()

    def _seek(self) -> None:
        """Put the cursor on the group that the address names, once it is there."""
        for row in self.table.rows if self._sought else ():
            if isinstance(row, GroupRow) and row.group.id.startswith(self._sought):
                self._sought = ""
                self.table.move_to_key(row.key)
                return

    def _is_open(self, group: DeadGroup) -> bool:
        wanted = term(self.here, "group")
        return self._toggled.get(group.fingerprint, bool(wanted) and group.id.startswith(wanted))

    def flush(self) -> None:
        """Take over letters that came or went."""
        dead = self.host.feed.dead
        if dead.version != self._version:
            self._version = dead.version
            known = self.facts
            self.facts = {
                each.sequence: known.get(each.sequence) or facts_of(each) for each in dead.newest()
            }
            self._show()
        else:
            self.age()
        self.loaded = dead.version > 0

    def _show(self) -> None:
        """The rows for the filter and what is open."""
        by, only, muted = self.by, self.only, self.muted
        kept = [
            each
            for each in self.facts.values()
            if (only.everything or only.accepts(each.values, each.haystack))
            and each.kinds["error"] not in muted
        ]
        self.shown = len(kept)
        self.table.show(rows_of(kept, by, self._is_open))
        self._seek()
        self.tick()
        self.changed()

    def _empty(self, width: int) -> list[Line]:
        del width
        if not self.loaded:
            return [line("reading the dead letters…", "muted")]
        if self.facts:
            return [
                line("No dead letter matches.", "text"),
                line("esc clears the filter, M shows what is muted.", "muted"),
            ]
        return [
            line("Nothing is dead.", "ok bold"),
            line("What fails for good comes here, grouped by its error: look,", "muted"),
            line("mend the cause, and replay. See what fails now:", "muted"),
            Line().add(":runs status:failed", "accent", link="go:runs status:failed"),
        ]

    # Painting

    def _summary(self, width: int) -> list[Line]:
        if self.doer.job is not None:
            return [self.doer.progress().clip(width)]
        now, facts = self.host.now(), list(self.facts.values())
        dead = self.host.feed.dead
        row = Line().gap(2).add(plural(dead.total, "dead letter"), "text bold")
        if not facts:
            return [row]
        oldest = min(each.at for each in facts)
        stuck = sum(bool(self.why_not(each)) for each in facts)
        lost = sum(not each.letter.body_preserved for each in facts)
        row.gap(3).add("oldest ", "muted").add(age(now - oldest))
        row.gap(3).add("replayable ", "muted").add(count(len(facts) - stuck))
        if lost:
            row.gap(3).add("body lost ", "muted").add(count(lost), "warn")
        if dead.total > len(facts):
            row.gap(3).add(f"the newest {count(len(facts))} are shown", "warn")
        if self.muted:
            row.gap(3).add(f"{len(self.muted)} muted", "warn")
        grouping = Line().add("group ", "muted").add("b", "accent bold").add(":" + self.by, "text")
        return [row.right(grouping.gap(), width)]

    def _detail(self, width: int) -> list[Line]:
        row = self.table.current
        return detail_lines(self, row, width) if row is not None else []

    def why_not(self, facts: Facts) -> str:
        """Why a letter cannot be replayed, as far as is known."""
        return unreplayable(facts.letter, self.host.feed.runs.get(facts.letter.run_id))

    def status(self) -> Line:
        """How many, and how many are marked."""
        marked = len(letters_of(self.table.marked()))
        row = Line()
        if marked:
            row.add(f"{count(marked)} marked", "accent").gap(2)
        return row.add(f"{count(self.shown)} of {count(self.host.feed.dead.total)}", "muted")

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The detail follows the cursor."""
        del event
        self.query_one("#dead-detail", Text).top = 0
        self.query_one("#dead-detail", Text).repaint()
        self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """A group opens and closes; a letter is read as a whole."""
        del event
        row = self.table.current
        if isinstance(row, GroupRow):
            self._toggled[row.group.fingerprint] = not row.open
            self._show()
        elif row is not None:
            self.host.in_background(self._read(row.facts))

    async def _read(self, facts: Facts) -> None:
        heading = f"Dead letter {facts.letter.sequence}"
        await self.host.ask(
            Reading(heading, lambda width: letter_lines(self, facts, width, whole=True))
        )

    def chosen(self) -> list[Facts]:
        """The letters an action is about."""
        return letters_of(self.table.chosen())

    def actions(self) -> list[Action]:
        """Replay, discard, and look at them in other ways."""
        nothing = "" if self.table.current is not None else "nothing is chosen"
        return [
            Action(
                id="dlq.replay",
                keys=("r",),
                label="replay…",
                title="Replay what is chosen",
                run=self.doer.replay,
                changes=True,
                off=lambda: nothing,
                group="Do",
            ),
            Action(
                id="dlq.edit",
                keys=("E",),
                label="edit…",
                title="Edit the input and replay",
                run=self.doer.edit,
                changes=True,
                off=lambda: nothing or self._not_one(),
                group="Do",
            ),
            Action(
                id="dlq.discard",
                keys=("D",),
                label="discard…",
                title="Discard what is chosen",
                run=self.doer.discard,
                changes=True,
                off=lambda: nothing,
                group="Do",
            ),
            *self.doer.actions(),
            *self.detail_actions(),
            *self._looks(nothing),
        ]

    def _not_one(self) -> str:
        return "" if len(self.chosen()) == 1 else "choose one letter; ⏎ opens the group"

    def _looks(self, nothing: str) -> list[Action]:
        return [
            Action(
                id="dlq.run",
                keys=("o",),
                label="run",
                title="Go to the run of the letter",
                run=self._go_run,
                off=lambda: nothing or ("" if self.chosen()[0].letter.run_id else "it has no run"),
                group="Go",
            ),
            Action(
                id="dlq.by",
                keys=("b",),
                label="group by",
                title="Group by…",
                run=lambda: None,
                choices=self._groupings,
            ),
            Action(
                id="dlq.mute",
                keys=("m",),
                title="Mute this kind of error until the console is closed",
                run=self._mute,
                off=lambda: nothing,
            ),
            Action(
                id="dlq.unmute",
                keys=("M",),
                title="Show what was muted",
                run=self._unmute,
                off=lambda: "" if self.muted else "nothing is muted",
            ),
        ]

    def _groupings(self) -> list[Action]:
        return [
            Action(
                id=f"dlq.by.{name}",
                keys=(name[0],),
                label=name,
                title=f"Group by {name}",
                run=lambda name=name: self.navigate(
                    with_term(self.here, "by", "" if name == "error" else name)
                ),
            )
            for name in GROUPINGS
        ]

    def _go_run(self) -> None:
        letter = self.chosen()[0].letter
        self.host.go(Address(kind="run", ids=(letter.run_id,)))

    def _mute(self) -> None:
        kinds = {each.kinds["error"] for each in self.chosen()}
        self.muted |= kinds
        self.table.marks.clear()
        self._show()
        self.host.report(f"muted {plural(len(kinds), 'kind')} of error; M shows them again", "warn")

    def _unmute(self) -> None:
        self.muted.clear()
        self._show()

    def copies(self) -> list[Copy]:
        """The letter under the cursor."""
        if self.table.current is None:
            return []
        letter = self.chosen()[0].letter
        return [
            Copy("y", "sequence", str(letter.sequence)),
            Copy("e", "error", letter.error),
            Copy("r", "run id", letter.run_id),
            Copy("j", "body", letter.body.decode(errors="replace")),
        ]

    def command(self) -> str:
        """The list, or that of one run."""
        run = term(self.here, "run")
        return f"dagnats dlq list --run {run}" if run else "dagnats dlq list"
