"""A line for every command, and values for every option.

A command or option that is not here fails a test: add its line, and all that is asked of every
command is asked of it.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagnats.cli import COMMANDS
from dagnats.cli.execute import load
from dagnats.model.times import DAY, SECOND, format_time
from dagnats.services.session import Session
from tests.cli.conftest import World, step
from tests.conftest import eventually

LINES = {
    "workflow list": "",
    "workflow register": "{file}",
    "workflow show": "{workflow}",
    "workflow validate": "{file}",
    "workflow revisions": "{workflow}",
    "workflow simulate": "{file}",
    "workflow delete": "{doomed} --yes",
    "run start": "{workflow} {json}",
    "run watch": "{run}",
    "run list": "",
    "run status": "{run}",
    "run inspect": "{run}",
    "run events": "{run}",
    "run output": "{run}",
    "run count": "",
    "run cancel": "{live}",
    "run retry": "{run} {json}",
    "run rerun": "{run} --from=b",
    "run signal": "{live} go {json}",
    "run approve": "{gate} gate {json}",
    "run reject": "{gate} gate {json}",
    "run bulk": "--workflow={workflow} {json}",
    "run cancel-all": "--workflow={stuck}",
    "run retry-all": "--workflow={failing} --mode=rerun",
    "run show": "{run}",
    "run why": "{live}",
    "run trace": "{traced}",
    "run diff": "{run} {run}",
    "step complete": "{live} a --reason=test --yes",
    "step fail": "{live} a --reason=test --yes",
    "step skip": "{live} a --reason=test --yes",
    "step retry": "{live} a --reason=test --yes",
    "step cancel": "{live} a --reason=test --yes",
    "trigger create": "{workflow} --subject=tree.>",
    "trigger list": "",
    "trigger update": "{trigger} --tz=Europe/Berlin",
    "trigger delete": "{trigger}",
    "trigger enable": "{trigger}",
    "trigger disable": "{trigger}",
    "trigger fire": "{trigger}",
    "trigger history": "{trigger}",
    "trigger test": "'0 9 * * *'",
    "event publish": "tree.tested {object}",
    "dlq list": "",
    "dlq show": "{seq}",
    "dlq replay": "{seq}",
    "dlq watch": "",
    "dlq discard": "{seq} --yes",
    "workers list": "",
    "workers show": "{worker}",
    "singleton list": "",
    "singleton release": "{lock} --yes",
    "engine pause": "--workflow={workflow}",
    "engine resume": "--workflow={workflow}",
    "engine status": "",
    "serve": "--dry-run",
    "status": "",
    "logs": "--tail=5",
    "clean": "--type=otel --force",
    "config show": "",
    "init project": "{new}",
    "init workflow": "{new}",
    "dev": "--dir={project}",
    "demo": "",
    "completion": "bash",
}
"""Arguments with which a command works; words in braces are made by :class:`Scene`."""

OFFLINE = frozenset(
    {
        *("workflow validate", "workflow simulate", "trigger test", "serve", "config show"),
        *("init project", "init workflow", "demo", "completion"),
    }
)
"""Commands that need no server."""

FOREVER = frozenset({"dlq watch", "dev", "demo"})
"""Commands that go on until interrupted, or for long: ``test_long_running`` runs them."""

ELSEWHERE = frozenset({"ui", "doctor", "verify"})
"""Commands with tests of their own: the doctor would find what other tests did to the runs."""

RUNS = ("run", "live", "gate", "traced")
"""Words in braces that stand for a run."""

UNKNOWN = {
    **dict.fromkeys(RUNS, "f" * 32),
    **dict.fromkeys(("workflow", "doomed", "stuck", "failing"), "no-such-workflow"),
    "trigger": "trig-ffffffffffffffff",
    "seq": "999999",
    "worker": "nobody",
    "lock": "nothing",
    "file": "no-such-file.json",
    "project": "no-such-folder",
}
"""What nothing is called, by kind of thing."""

FINE_WITH_UNKNOWN = frozenset(
    {
        "trigger history",  # of a trigger that was deleted
        "engine resume",  # of a workflow that was deleted while it was held
        "run cancel-all",  # nothing to do is done
        "run retry-all",
    }
)

TWINS = ("abcdef12" + "0" * 24, "abcdef12" + "1" * 24)
"""Two runs that the same prefix means."""

OPTIONS: dict[str, tuple[str, str]] = {
    "--workflow": ("{workflow}", ""),
    "--status": ("completed", "nope"),
    "--limit": ("5", "0"),
    "--since": ("1h", "yesterday"),
    "--where": ("status:completed sort:-dur", "colour:red"),
    "--after": ("2020-01-02T03:04:05Z", "2020-01-02"),
    "--before": ("2090-01-02T03:04:05Z", "noon"),
    "--at": ("{tomorrow}", "tomorrow"),
    "--type": ("otel", ""),
    "--step": ("a", ""),
    "--from": ("b", "zzz"),
    "--set": ("n=2", "novalue"),
    "--input": ("{json}", "{nope"),
    "--output": ("{json}", "{nope"),
    "--reason": ("because", ""),
    "--token-value": ("", "wrong"),
    "--mode": ("rerun", "nope"),
    "--from-file": ("{jsonl}", "no-such-file"),
    "--at-seq": ("{first}", "-1"),
    "--cron": ("0 9 * * *", "every day"),
    "--subject": ("a.b", "a..b"),
    "--webhook": ("{hook}", "hooks"),
    "--tz": ("Europe/Berlin", "Mars/Base"),
    "--secret": ("a-long-enough-secret", "@no-such-file"),
    "--signature": ("body", "nonsense"),
    "--count": ("3", "101"),
    "--id": ("once", ""),
    "--run": ("{run}", "short"),
    "logs --run": ("{run}", ""),
    "--interval": ("10s", "10"),
    "--max-replays": ("2", "0"),
    "--config": ("{yaml}", "no-such-file"),
    "--data-dir": ("{folder}", ""),
    "--http-addr": ("127.0.0.1:18181", "nope"),
    "--nats-port": ("14333", "x"),
    "--nats-url": ("{url}", "http://x"),
    "--monitor-port": ("18222", "-1"),
    "--nats-ws-port": ("18080", "99999999"),
    "--sync": ("2m", "often"),
    "--log-format": ("json", "xml"),
    "--log-level": ("debug", "loud"),
    "--level": ("ERROR", "LOUD"),
    "--service": ("api", "a.b"),
    "--search": ("text", ""),
    "--tail": ("3", "10001"),
    "--older-than": ("7d", "-5m"),
    "--keep": ("3", "0"),
    "--before-seq": ("3", "x"),
    "--steps": ("a,b", "a,a"),
    "--lang": ("go", "cobol"),
    "--dir": ("{project}", "no-such-folder"),
    "--delay": ("100", "fast"),
    "--fail": ("a=1", "=1"),
    "--duration": ("a=2s", "a=long"),
    "--loops": ("a=2", "a=x"),
    "--child": ("{file}", "no-such-file"),
    "workflow simulate --input": ("{json}", "{nope"),
    "workflow simulate --fail": ("a=1", "=1"),
    "workflow simulate --output": ("a=1", "a={nope"),
    "workflow simulate --at": ("2026-01-01T00:00:00Z", "noon"),
    "run cancel-all --status": ("pending", "completed"),
    "run events --type": ("step.completed", ""),
    "clean --type": ("otel", "nope"),
    "run cancel-all --workflow": ("{stuck}", ""),
    "run retry-all --workflow": ("{failing}", ""),
}
"""A good and a bad value of an option, of one command under its name. No bad one: any will do."""

INSTEAD = {
    "run start --at": "{workflow}",
    "run rerun --from": "{run}",
    "run status --last": "",
    "run bulk --workflow": "{json}",
    "run bulk --from-file": "--workflow={workflow}",
    "run cancel-all --workflow": "",
    "run retry-all --workflow": "--mode=rerun",
    "run retry-all --mode": "--workflow={failing}",
    "run approve --token-value": "{gate} gate",
    "run reject --token-value": "{gate} gate",
    "step complete --reason": "{live} a --yes",
    "step fail --reason": "{live} a --yes",
    "step skip --reason": "{live} a --yes",
    "step retry --reason": "{live} a --yes",
    "step cancel --reason": "{live} a --yes",
    "trigger create --cron": "{workflow}",
    "trigger create --subject": "{workflow}",
    "trigger create --webhook": "{workflow}",
    "trigger create --tz": "{workflow} --cron='0 9 * * *'",
    "trigger create --backfill": "{workflow} --cron='0 9 * * *'",
    "trigger create --secret": "{workflow} --webhook=/hooks/y",
    "trigger create --signature": "{workflow} --webhook=/hooks/z --secret=a-long-enough-secret",
    "trigger update --signature": "{trigger:webhook}",
    "trigger update --subject": "{trigger:subject}",
    "trigger update --webhook": "{trigger:webhook}",
    "trigger update --secret": "{trigger:webhook}",
    "trigger test --cron": "",
    "dlq replay --run": "",
    "engine pause --workflow": "",
    "engine resume --workflow": "",
    "clean --type": "--force",
    "clean --all": "--dry-run",
    "clean --keep": "--dry-run",
    "clean --before-seq": "--dry-run",
    "clean --older-than": "--dry-run",
    "clean --force": "--type=otel",
    "logs --tail": "",
    "serve --fail-on-port-conflict": ("--dry-run --http-addr=127.0.0.1:18181 --nats-port=14333"),
    "serve --nats-ws-port": "--dry-run --nats-ws-no-tls",
    "dev --dir": "",
}
"""The line to put an option behind, where that of its command says it already or excludes it."""


@dataclass(frozen=True)
class Leaf:
    """A command that can be called, and what it takes."""

    name: str
    params: list[Any] = field(hash=False, compare=False)

    @property
    def options(self) -> list[Any]:
        """Its own options, not those that every command has."""
        return [p for p in self.params if p.param_type_name == "option" and p.expose_value]


def leaves() -> list[Leaf]:
    """Every command there is."""
    found: list[Leaf] = []
    for word in COMMANDS:
        if word in ELSEWHERE:
            continue
        command = load(word)
        inner: dict[str, Any] = getattr(command, "commands", {})
        if inner:
            found += [Leaf(f"{word} {name}", each.params) for name, each in inner.items()]
        else:
            found.append(Leaf(word, command.params))
    return found


class Scene:
    """Makes what the words in braces stand for: fresh things where a command uses them up."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self._count = 0
        self._kept: dict[str, str] = {}
        self._make: dict[str, Callable[[], str]] = {
            "url": lambda: world.url,
            "json": lambda: '{"n":1}',
            "object": lambda: '{"n":1}',
            "tomorrow": lambda: format_time((time.time_ns() + DAY) // SECOND * SECOND),
            "hook": lambda: f"/hooks/{self._next()}",
            "new": lambda: f"new-{self._next()}",
            "lock": self._lock,
            "live": lambda: self._live("tree-live", step("a", task="nobody")),
            "gate": lambda: self._live(
                "tree-gate",
                {"id": "gate", "type": "approval", "config": {"subject": "s", "timeout": "1h"}},
            ),
            "doomed": lambda: self._workflow(f"tree-doomed-{self._next()}", step("a")),
            "trigger": lambda: self._trigger("--cron=0 0 1 1 *"),
            "trigger:subject": lambda: self._trigger("--subject=tree.x"),
            "trigger:webhook": lambda: self._trigger(f"--webhook={self.make('hook')}"),
            "seq": self._dead,
            "traced": self._traced,
            "folder": lambda: self._folder(f"folder{self._next()}"),
        }
        self._make_once: dict[str, Callable[[], str]] = {
            "workflow": lambda: self._workflow("tree", step("a"), step("b", "a")),
            "stuck": lambda: self._workflow("tree-stuck", step("a", task="nobody")),
            "failing": lambda: self._workflow("tree-failing", step("a", task="fail")),
            "run": self._ended,
            "first": lambda: self._first(self.make("run")),
            "worker": lambda: world("workers", "list", "-o", "name").lines[0],
            "file": lambda: self._file("tree.json", self._definition("tree-file", step("a"))),
            "jsonl": lambda: self._file("inputs.jsonl", '{"n":1}\n'),
            "yaml": lambda: self._file("some.yaml", "nats_port: 14222\n"),
            "project": self._project,
        }

    def words(self, line: str, *, used: bool = True, **instead: str) -> list[str]:
        """The words of a line.

        Args:
            line: words, some in braces.
            used: whether they will be used up; else the same may be had again.
            instead: other values for words in braces.
        """
        return [self._filled(word, instead, used) for word in shlex.split(line)]

    def _filled(self, word: str, instead: dict[str, str], used: bool) -> str:
        head, brace, rest = word.partition("{")
        name = rest.removesuffix("}")
        if not brace or not rest.endswith("}"):
            return word
        return head + (instead[name] if name in instead else self.make(name, used=used))

    def make(self, name: str, *, used: bool = True) -> str:
        """What a word in braces stands for."""
        if name in self._make and used:
            return self._make[name]()
        if name not in self._kept:
            self._kept[name] = (self._make | self._make_once)[name]()
        return self._kept[name]

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _run(self, *words: str) -> str:
        done = self.world(*words, "-o", "name")
        assert done.code == 0, (words, done.err)
        return done.lines[0]

    def _workflow(self, name: str, *steps: dict[str, Any]) -> str:
        path = self._file(f"{name}.json", self._definition(name, *steps))
        return self._run("workflow", "register", path)

    def _definition(self, name: str, *steps: dict[str, Any]) -> str:
        return json.dumps({"name": name, "version": "1", "steps": steps})

    def _file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def _folder(self, name: str) -> str:
        (self.folder / name).mkdir()
        return str(self.folder / name)

    def _project(self) -> str:
        folder = self._folder("project")
        self._file("project/main.py", "")
        return folder

    def _ended(self) -> str:
        run_id = self._run("run", "start", self.make("workflow"), "{}")
        assert self.world("run", "watch", run_id).code == 0
        return run_id

    def _traced(self) -> str:
        run_id = self._ended()
        self.world.do(lambda session: _told(session, run_id))
        return run_id

    def _first(self, run_id: str) -> str:
        return self.world("run", "events", run_id, "-o", "name").lines[0]

    def _live(self, workflow: str, *steps: dict[str, Any]) -> str:
        if workflow not in self._kept:
            self._kept[workflow] = self._workflow(workflow, *steps)
        return self.world.do(lambda session: _begun(session, workflow))

    def _dead(self) -> str:
        failing = self.make("failing")
        return self.world.do(lambda session: _failed(session, failing))

    def _trigger(self, option: str) -> str:
        return self._run("trigger", "create", self.make("workflow"), option)

    def _lock(self) -> str:
        from dagnats.model.records import SingletonLock

        key = f"tree-lock-{self._next()}"
        self.world.do(lambda s: s.stores.singletons.put(key, SingletonLock(run_id="0" * 32)))
        return key


async def _begun(session: Session, workflow: str) -> str:
    """A run whose first step waits."""
    from dagnats.services.run_query import get_run
    from dagnats.services.runs import start_run

    run_id = (await start_run(session, workflow, b"{}")).run_id

    async def waits() -> bool:
        steps = (await get_run(session, run_id)).run.steps.values()
        return any(state.status in ("queued", "running") for state in steps)

    await eventually(waits)
    return run_id


async def _told(session: Session, run_id: str) -> None:
    """Wait for the spans of a run, which are told a little later."""
    from dagnats.services.run_trace import run_trace

    async def told() -> bool:
        return bool(await run_trace(session, run_id))

    await eventually(told)


async def _failed(session: Session, workflow: str) -> str:
    """The sequence of the dead letter of a run that has failed."""
    from dagnats.services.dlq import list_dead
    from dagnats.services.run_query import get_run
    from dagnats.services.runs import start_run

    run_id = (await start_run(session, workflow, b"{}")).run_id
    found: list[int] = []

    async def failed() -> bool:
        letters = (await list_dead(session, run_id)).entries
        found.extend(letter.sequence for letter in letters)
        return bool(found) and (await get_run(session, run_id)).run.status == "failed"

    await eventually(failed)
    return str(found[0])
