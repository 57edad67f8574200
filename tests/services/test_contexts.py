from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagnats.errors import InvalidError, NotFoundError
from dagnats.services.contexts import DEFAULT_URL, ConnectSettings, resolve


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "nats" / "context").mkdir(parents=True)
    return tmp_path


def write(home: Path, name: str, **keys: Any) -> None:
    (home / "nats" / "context" / f"{name}.json").write_text(json.dumps(keys))


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(home), **more}


def test_without_anything_it_is_the_local_server(home: Path) -> None:
    found = resolve(ConnectSettings(), environment(home))
    assert (found.options.url, found.source) == (DEFAULT_URL, "default")


def test_an_empty_variable_counts_as_unset(home: Path) -> None:
    env = environment(home, DAGNATS_NATS_URL="", NATS_URL="")
    assert resolve(ConnectSettings(), env).source == "default"


def test_the_old_variable_still_works_and_says_so(home: Path) -> None:
    found = resolve(ConnectSettings(), environment(home, NATS_URL="nats://old:1"))
    assert found.options.url == "nats://old:1"
    assert found.warnings == ("NATS_URL is deprecated, use DAGNATS_NATS_URL instead",)


def test_flag_beats_context_beats_variables(home: Path) -> None:
    write(home, "prod", url="nats://prod:1", user="ann", password="s3cret")
    env = environment(home, DAGNATS_NATS_URL="nats://env:1", NATS_URL="nats://old:1")
    assert resolve(ConnectSettings(), env).options.url == "nats://env:1"
    by_context = resolve(ConnectSettings(context="prod"), env).options
    assert (by_context.url, by_context.user) == ("nats://prod:1", "ann")
    by_flag = resolve(ConnectSettings(server="nats://flag:1", context="prod"), env).options
    assert (by_flag.url, by_flag.user) == ("nats://flag:1", "ann")


def test_a_context_of_the_environment_never_lends_its_login_to_another_server(home: Path) -> None:
    write(home, "prod", url="nats://prod:1", user="ann", password="s3cret")
    env = environment(home, NATS_CONTEXT="prod")
    assert resolve(ConnectSettings(), env).options.user == "ann"
    other = environment(home, NATS_CONTEXT="prod", DAGNATS_NATS_URL="nats://env:1")
    assert resolve(ConnectSettings(), other).options.user == ""


def test_every_kind_of_login(home: Path) -> None:
    for name in ("a.creds", "seed.nk", "ca.pem"):
        (home / name).write_text("x")
    settings = ConnectSettings(creds=str(home / "a.creds"), token="t", tls_ca=str(home / "ca.pem"))
    env = environment(home, DAGNATS_NATS_NKEY=str(home / "seed.nk"))
    options = resolve(settings, env).options
    assert options.creds == str(home / "a.creds")
    assert options.nkey_seed == str(home / "seed.nk")
    assert (options.token, options.tls_ca) == ("t", str(home / "ca.pem"))


def test_a_missing_credentials_file_is_named(home: Path) -> None:
    with pytest.raises(NotFoundError, match=r"creds file /no/such.creds does not exist"):
        resolve(ConnectSettings(creds="/no/such.creds"), environment(home))


def test_an_unknown_context_is_named(home: Path) -> None:
    with pytest.raises(NotFoundError, match='"nope" not found'):
        resolve(ConnectSettings(context="nope"), environment(home))


@pytest.mark.parametrize("name", ["../prod", "/etc/passwd", ".hidden"])
def test_a_context_name_is_no_path(home: Path, name: str) -> None:
    with pytest.raises(InvalidError, match="not the name of a nats context"):
        resolve(ConnectSettings(context=name), environment(home))


def test_what_a_context_asks_for_in_vain_is_refused(home: Path) -> None:
    write(home, "hub", url="nats://hub:1", jetstream_domain="leaf")
    with pytest.raises(InvalidError, match="sets jetstream_domain"):
        resolve(ConnectSettings(context="hub"), environment(home))
