"""What is asked of every command and every option, over the whole tree."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dagnats.cli.render import refresh
from dagnats.model.run import WorkflowRun
from dagnats.model.times import format_time
from tests.cli.conftest import HOSTILE, World
from tests.cli.runner import Result, cli
from tests.cli.table import (
    FINE_WITH_UNKNOWN,
    FOREVER,
    INSTEAD,
    LINES,
    OFFLINE,
    OPTIONS,
    RUNS,
    TWINS,
    UNKNOWN,
    Leaf,
    Scene,
    leaves,
)
from tests.cli.test_dispatch import NOWHERE
from tests.cli.test_hostile import clean

LEAVES = leaves()
EVIL = f"x{HOSTILE}"
OPTION_CASES = [
    pytest.param(leaf, option, id=f"{leaf.name} {option.opts[0]}")
    for leaf in LEAVES
    for option in leaf.options
]
EACH = pytest.mark.parametrize("leaf", [pytest.param(leaf, id=leaf.name) for leaf in LEAVES])
EACH_OPTION = pytest.mark.parametrize(("leaf", "option"), OPTION_CASES)


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(world, tmp_path_factory.mktemp("scene"))
    for run_id in TWINS:
        run = WorkflowRun(run_id=run_id, workflow_id="twins", created_at=format_time(1))
        world.do(lambda s, run=run: s.stores.runs.put(f"run.{run.run_id}", run))
    return scene


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sound(done: Result, *codes: int) -> None:
    """It ended as it may, and said nothing that a person should not see."""
    assert done.code in codes, (done.out, done.err)
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    clean(done.out)
    clean(done.err)


def test_every_command_has_a_line() -> None:
    assert {leaf.name for leaf in LEAVES} == set(LINES)


def line_of(leaf: Leaf, *, server: bool = False) -> str:
    if leaf.name in FOREVER and not server:
        pytest.skip("runs until it is interrupted: see test_long_running")
    return LINES[leaf.name]


@EACH
def test_it_works_in_every_format(leaf: Leaf, scene: Scene) -> None:
    line = line_of(leaf)
    reads = scene.words(line) == scene.words(line)
    for form in ("table", "json", "name", *(("wide", "jsonl", "yaml") if reads else ())):
        done = scene.world(*leaf.name.split(), *scene.words(line), "-o", form)
        refused = form == "name" and "no names to print" in done.err
        sound(done, 2 if refused else 0)
        if form == "table":
            assert "\x1b" not in done.out + done.err, "nothing for a terminal where there is none"


@EACH
def test_without_a_server(leaf: Leaf, scene: Scene) -> None:
    if leaf.name in OFFLINE:
        pytest.skip("needs none")
    line = line_of(leaf, server=True)
    words = [*leaf.name.split(), *scene.words(line, used=False), "--json"]
    done = cli(*words, env=NOWHERE)
    sound(done, 1)
    assert done.json["error"]["code"] == "unreachable"
    assert done.err.splitlines()[1] == "Hint: run 'dagnats serve' to start the server"


@EACH
def test_of_something_unknown(leaf: Leaf, scene: Scene) -> None:
    line = line_of(leaf)
    if not any(f"{{{name}}}" in line for name in UNKNOWN):
        pytest.skip("names nothing")
    done = scene.world(*leaf.name.split(), *scene.words(line, **UNKNOWN), "--json")
    if leaf.name in FINE_WITH_UNKNOWN:
        sound(done, 0)
        return
    sound(done, 1)
    if leaf.name != "workflow validate":
        assert done.json["error"]["code"] == "not_found"


@EACH
def test_of_an_ambiguous_prefix(leaf: Leaf, scene: Scene) -> None:
    line = line_of(leaf)
    prefix = dict.fromkeys(RUNS, TWINS[0][:8])
    if not any(f"{{{name}}}" in line for name in prefix):
        pytest.skip("takes no run")
    done = scene.world(*leaf.name.split(), *scene.words(line, **prefix), "--json")
    sound(done, 1)
    assert done.json["error"]["code"] == "ambiguous"
    assert all(run_id in done.json["error"]["hint"] for run_id in TWINS)


@EACH
def test_of_what_is_not_json(leaf: Leaf, scene: Scene) -> None:
    line = line_of(leaf)
    if "{json}" not in line and "{object}" not in line:
        pytest.skip("takes no JSON")
    for text in ("{nope", "{'a': 1}", "NaN", "\ufeff{}", ""):
        words = scene.words(line, used=not text, json=text, object=text)
        done = scene.world(*leaf.name.split(), *words)
        if text or done.code:  # no words at all may mean no input
            sound(done, 1, 2)


@EACH
def test_into_a_pipe_that_nobody_reads(leaf: Leaf, scene: Scene) -> None:
    words = [*leaf.name.split(), *scene.words(line_of(leaf))]
    env = {"DAGNATS_NATS_URL": scene.world.url}
    done = cli(*words, env=env, closed=True)
    assert done.code == 0
    assert not done.err or done.err.startswith("Warning: ")


@EACH
def test_with_hostile_text(leaf: Leaf, scene: Scene) -> None:
    line = line_of(leaf, server=True)
    places = re.findall(r"{([\w:]+)}", line)
    for place in places:
        done = scene.world(*leaf.name.split(), *scene.words(line, **{place: EVIL}))
        sound(done, *((0, 1, 2) if leaf.name in FINE_WITH_UNKNOWN else (1, 2)))
    if not places:
        sound(scene.world(*leaf.name.split(), EVIL), 1, 2)


# --- options ----------------------------------------------------------------------------------


def values_of(leaf: Leaf, option: Any) -> tuple[str, str]:
    """A good and a bad value."""
    for name in option.opts:
        for key in (f"{leaf.name} {name}", name):
            if key in OPTIONS:
                return OPTIONS[key]
    pytest.fail(f"no values for {leaf.name} {option.opts[0]}: add them to OPTIONS")


def before(leaf: Leaf, option: Any) -> str:
    return INSTEAD.get(f"{leaf.name} {option.opts[0]}", LINES[leaf.name])


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is watched is interrupted after its first picture."""

    async def interrupted(seconds: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(refresh, "asyncio", SimpleNamespace(sleep=interrupted))


@EACH_OPTION
@pytest.mark.usefixtures("once")
def test_an_option_with_a_good_value(leaf: Leaf, option: Any, scene: Scene) -> None:
    if leaf.name in FOREVER:
        pytest.skip("runs until it is interrupted: see test_long_running")
    line = before(leaf, option)
    if option.is_flag:
        words = scene.words(line)
        if option.opts[0] == "--last":
            words = [word for word in words if not re.fullmatch("[0-9a-f]{32}", word)]
        given = [option.opts[0]]
    else:
        words = scene.words(line)
        good, _ = values_of(leaf, option)
        (value,) = scene.words(good) if good.startswith("{") else (good,)
        given = [f"{option.opts[0]}={value}"]
    done = scene.world(*leaf.name.split(), *words, *given, "--json")
    # What --last means may have ended; a simulated run may end otherwise than completed.
    others = {"--last": (1, 3)}.get(option.opts[0], (3,) if "simulate" in leaf.name else ())
    sound(done, 0, *others)


@EACH_OPTION
def test_an_option_with_a_bad_value(leaf: Leaf, option: Any, scene: Scene) -> None:
    line = before(leaf, option)
    if option.is_flag:
        bad = "nonsense"
    else:
        _, bad = values_of(leaf, option)
        if not bad:
            pytest.skip("takes any text")
    words = [*leaf.name.split(), *scene.words(line, used=False), f"{option.opts[0]}={bad}"]
    sound(scene.world(*words), 1, 2)


@EACH_OPTION
def test_an_option_without_its_value(leaf: Leaf, option: Any, scene: Scene) -> None:
    if option.is_flag:
        pytest.skip("has none")
    words = scene.words(before(leaf, option), used=False)
    for name in option.opts:
        done = scene.world(*leaf.name.split(), *words, name)
        sound(done, 2)
        assert name in done.err


@EACH_OPTION
def test_an_option_with_hostile_text(leaf: Leaf, option: Any, scene: Scene) -> None:
    if option.is_flag or leaf.name in FOREVER:
        pytest.skip("takes no text, or runs on")
    words = scene.words(before(leaf, option))
    done = scene.world(*leaf.name.split(), *words, f"{option.opts[0]}={EVIL}")
    sound(done, 0, 1, 2)


@EACH
def test_an_unknown_option(leaf: Leaf) -> None:
    done = cli(*leaf.name.split(), "--no-such-option", env=NOWHERE)
    sound(done, 2)
    assert "--no-such-option" in done.err


@EACH
def test_one_argument_too_many(leaf: Leaf) -> None:
    if any(param.nargs == -1 for param in leaf.params):
        pytest.skip("takes any number")
    done = cli(*leaf.name.split(), *["x"] * 6, env=NOWHERE)
    sound(done, 2)
