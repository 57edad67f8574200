"""The configuration: where values come from, which are refused, what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagnats.errors import DagnatsError, InvalidError, NotFoundError, UsageError
from dagnats.model.times import DAY, HOUR
from dagnats.server import configview
from dagnats.server.config import Loaded, load
from dagnats.server.settings import KEYS


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place without any configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def written(text: str, place: str = "dagnats.yaml") -> Path:
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(text: str) -> str:
    with pytest.raises(InvalidError) as error:
        load(written(text), env={})
    return error.value.message


class TestPrecedence:
    def test_each_layer_covers_the_one_below(self) -> None:
        written("nats_port: 5001\nsync: 2m\nlog_level: debug")
        loaded = load(env={"DAGNATS_NATS_PORT": "5002", "DAGNATS_SYNC": "3m"}, flags={"sync": "4m"})
        settings = loaded.settings
        assert (settings.log_level, settings.nats_port, settings.sync) == ("debug", 5002, "4m")
        names = ("monitor_port", "log_level", "nats_port", "sync")
        assert [loaded.sources[n] for n in names] == ["default", "file", "env", "flag"]

    def test_defaults(self) -> None:
        loaded = load(env={})
        assert loaded.path is None
        assert set(loaded.sources.values()) == {"default"}
        assert loaded.settings.http_addr == "127.0.0.1:8080"
        assert loaded.settings.runs_max_age == 30 * DAY
        assert loaded.settings.sync == "always"

    def test_empty_variables_and_missing_flags_count_as_unset(self) -> None:
        loaded = load(env={"DAGNATS_NATS_PORT": ""}, flags={"nats_port": None})
        assert loaded.sources["nats_port"] == "default"

    def test_empty_values_in_the_file_count_as_unset(self) -> None:
        assert load(written("nats_port:\n"), env={}).sources["nats_port"] == "default"

    @pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
    def test_every_key_has_its_variable(self, key: Any) -> None:
        with pytest.raises(InvalidError, match=key.env):
            load(env={key.env: "\x01"})


class TestSearch:
    def test_the_working_directory_comes_first(self) -> None:
        written("nats_port: 5001")
        written("nats_port: 5002", ".config/dagnats/dagnats.yaml")
        assert load(env={}).settings.nats_port == 5001

    def test_the_home_of_configuration(self, tmp_path: Path) -> None:
        written("nats_port: 5002", ".config/dagnats/dagnats.yaml")
        written("nats_port: 5003", "xdg/dagnats/dagnats.yaml")
        assert load(env={}).settings.nats_port == 5002
        assert load(env={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).settings.nats_port == 5003

    def test_a_named_file_must_exist(self) -> None:
        with pytest.raises(NotFoundError, match=r"config file not found: no\.yaml"):
            load(Path("no.yaml"), env={})


BAD = [
    ("data_dir", "''", "is no path"),
    ("http_addr", "8080", "is not an address"),
    ("http_addr", "'host:99999'", "from 1 to 65535"),
    ("http_addr", "'ho st:80'", "is not an address"),
    ("nats_port", "x", "from 1 to 65535"),
    ("nats_port", "0", "from 1 to 65535"),
    ("nats_port", "65536", "from 1 to 65535"),
    ("nats_port", "4222.5", "from 1 to 65535"),
    ("nats_port", "[1]", "is no text"),
    ("nats_port", "true", "is no text"),
    ("monitor_port", "-1", "from 1 to 65535"),
    ("leaf_remotes", "[http://x]", "such as nats-leaf://host:port"),
    ("leaf_remotes", f"[{', '.join(['nats-leaf://h'] * 11)}]", "more than 10"),
    ("leaf_credentials", "missing.creds", "is not a file"),
    ("max_store_bytes", "much", "is not a size"),
    ("max_store_bytes", "0", "is not a size"),
    ("max_store_bytes", "-5", "is not a size"),
    ("max_memory_bytes", "10XB", "is not a size"),
    ("sync", "never", "is not a duration"),
    ("sync", "1ns", "neither always nor"),
    ("sync", "2h", "neither always nor"),
    ("paused", "maybe", "neither true nor false"),
    ("nats_url", "localhost:4222", "an address such as nats://host:port (nats:// or tls://"),
    ("nats_url", "nats://h:99999", "an address such as nats://host:port"),
    ("nats_creds", "missing.creds", "is not a file"),
    ("nats_jetstream_replicas", "2", "is not one of 0, 1, 3, 5"),
    ("nats_cluster_routes", "[ftp://a, ftp://b]", "such as nats-route://host:port"),
    ("nats_ws_port", "web", "from 1 to 65535"),
    ("nats_ws_no_tls", "2", "neither true nor false"),
    ("runs_max_age", "soon", "is not a duration"),
    ("runs_max_age", "-1h", "is negative"),
    ("max_active_runs_per_root", "-1", "of at least 0"),
    ("max_defs_per_root", "-1", "of at least 0"),
    ("max_generation_depth", "4", "from 0 to 3"),
    ("max_registers_per_minute_per_root", "-1", "of at least 0"),
    ("otlp_endpoint", "localhost", "such as http://host:port"),
    ("log_format", "xml", "is not one of text, json"),
    ("log_level", "loud", "is not one of"),
]


class TestRefusals:
    @pytest.mark.parametrize(("key", "value", "words"), BAD)
    def test_bad_values_are_named_with_their_line(self, key: str, value: str, words: str) -> None:
        message = refused(f"# first line\n{key}: {value}\n")
        assert message.startswith(f"dagnats.yaml:2: {key}: ")
        assert words in message

    def test_all_problems_are_told(self) -> None:
        with pytest.raises(InvalidError) as error:
            load(written("nats_port: x\nsync: y"), env={"DAGNATS_LOG_LEVEL": "z"})
        assert len(error.value.problems) == 3
        assert "(and 2 more)" in error.value.message

    def test_a_bad_flag_is_wrong_usage(self) -> None:
        with pytest.raises(UsageError, match="--nats-port"):
            load(env={}, flags={"nats_port": "x"})

    def test_a_bad_secret_is_not_repeated(self) -> None:
        assert "hunter2" not in refused('api_token: "hunter2\\nhunter2"')

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("http_addr: '0.0.0.0:8080'", "open to the network without a token"),
            ("nats_ws_port: 9222", "confirm with nats_ws_no_tls"),
            ("nats_cluster_name: x", "belong together"),
            ("nats_cluster_routes: [nats://a:1]", "needs 2 to 10"),
            ("monitor_port: 4222", "both want port 4222"),
            ("http_addr: ':4222'", "both want port 4222"),
        ],
    )
    def test_contradictions(self, text: str, words: str) -> None:
        assert words in refused(text)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("nats_port: 1\nnats_port: 2", 'dagnats.yaml:2: the key "nats_port" stands here'),
            ("a: {b: 1, b: 2}", 'the key "b" stands here'),
            ("a: [1", "dagnats.yaml:"),
            ("- 1", "holds no mapping"),
            ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
            ("a: &a [*a]", "refers to itself"),
            ("a: 2020-13-45", "month"),
            ("a: \x00", "special characters"),
        ],
    )
    def test_bad_documents(self, text: str, words: str) -> None:
        assert words in refused(text)

    def test_a_billion_laughs(self) -> None:
        levels = ["a0: &a0 [x]"]
        levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        assert "more than 200000 values" in refused("\n".join(levels))

    def test_deep_nesting(self) -> None:
        assert "nested too deeply" in refused("[" * 5000)

    def test_too_large(self) -> None:
        assert "larger than 1 MiB" in refused("# " + "x" * 1024 * 1024)

    def test_not_utf8(self) -> None:
        Path("dagnats.yaml").write_bytes(b"a: 1\nb: \xff")
        with pytest.raises(InvalidError, match=r"dagnats\.yaml:2: is not UTF-8"):
            load(env={})

    @pytest.mark.parametrize("name", ["/dev/zero", "."])
    def test_no_regular_file(self, name: str) -> None:
        with pytest.raises(DagnatsError, match="is not a file"):
            load(Path(name), env={})


class TestReading:
    def test_sizes_ages_and_words(self) -> None:
        text = "max_store_bytes: 10GiB\nmax_memory_bytes: 512MB\nruns_max_age: 12h\npaused: yes"
        settings = load(written(text), env={}).settings
        assert settings.max_store_bytes == 10 * 1024**3
        assert settings.max_memory_bytes == 512_000_000
        assert settings.runs_max_age == 12 * HOUR
        assert settings.paused is True

    @pytest.mark.parametrize("word", ["0", "off", "disabled", "false"])
    def test_retention_can_be_off(self, word: str) -> None:
        assert load(written(f"runs_max_age: {word}"), env={}).settings.runs_max_age == 0

    def test_lists_as_yaml_or_with_commas(self) -> None:
        remotes = ("nats-leaf://a:1", "nats-leaf://b:2")
        as_list = load(written(f"leaf_remotes: [{', '.join(remotes)}]"), env={})
        as_text = load(env={"DAGNATS_LEAF_REMOTES": ", ".join(remotes)})
        assert as_list.settings.leaf_remotes == as_text.settings.leaf_remotes == remotes

    def test_unknown_keys_warn_and_sections_do_not(self) -> None:
        loaded = load(written("nats_prt: 1\nworkflows: []\ntriggers: []\npolicy: {}"), env={})
        assert loaded.warnings == (
            "dagnats.yaml:1: nats_prt is no known key and is ignored; did you mean nats_port?",
        )

    def test_keys_without_effect_warn(self) -> None:
        loaded = load(written("nats_url: nats://h:4222\nnats_port: 4222\nsync: 2m"), env={})
        assert loaded.warnings == (
            "nats_port has no effect with nats_url",
            "sync has no effect with nats_url",
        )

    def test_logins_without_a_nats_of_ones_own_warn(self) -> None:
        loaded = load(env={"DAGNATS_NATS_USER": "me"})
        assert loaded.warnings == ("nats_user has no effect without nats_url",)

    @pytest.mark.parametrize(
        ("routes", "told", "replicas"), [(0, 0, 1), (2, 0, 3), (4, 0, 5), (4, 3, 3), (0, 1, 1)]
    )
    def test_replicas_follow_the_cluster(self, routes: int, told: int, replicas: int) -> None:
        text = f"nats_jetstream_replicas: {told}\n"
        if routes:
            text += "nats_cluster_name: c\nnats_cluster_auth_token: t\nnats_cluster_routes:\n"
            text += "".join(f"- nats-route://h{n}:6222\n" for n in range(routes))
        assert load(written(text), env={}).settings.replicas == replicas

    def test_an_address_without_host_faces_the_network_only_with_a_token(self) -> None:
        open_to_us = load(env={"DAGNATS_HTTP_ADDR": ":8080"}).settings
        assert open_to_us.http_bind == ("127.0.0.1", 8080)
        with_token = load(env={"DAGNATS_HTTP_ADDR": ":8080", "DAGNATS_API_TOKEN": "t"}).settings
        assert with_token.http_bind == ("0.0.0.0", 8080)


class TestWorkers:
    def test_they_are_read_and_overridden(self) -> None:
        text = "worker.img.resize.exec: ./resize\nworker.mail.http: http://h/m\n"
        text += "worker.mail.http_method: PUT"
        env = {"DAGNATS_WORKER_IMG_RESIZE_EXEC": "./other"}
        first, second = load(written(text), env=env).settings.workers
        assert (first.task, first.exec, first.http) == ("img.resize", "./other", "")
        assert (second.task, second.http, second.http_method) == ("mail", "http://h/m", "PUT")

    @pytest.mark.parametrize(
        "text",
        ["worker.a.http_method: PUT", "worker.a.exec: x\nworker.a.http: http://y"],
    )
    def test_exactly_one_way(self, text: str) -> None:
        assert 'worker "a" needs either exec or http' in refused(text)

    def test_at_most_fifty(self) -> None:
        lines = "\n".join(f"worker.t{n}.exec: x" for n in range(51))
        assert "51 workers; 50 are allowed" in refused(lines)


def loaded_with(**env: str) -> Loaded:
    return load(env={f"DAGNATS_{name.upper()}": value for name, value in env.items()})


class TestShowing:
    def test_the_seven_lines_of_the_reference_come_first(self) -> None:
        loaded = loaded_with(data_dir="/tmp/dagnats", http_addr=":8080", max_store_bytes="1GiB")
        first = [line.split() for line in configview.show(loaded)[:7]]
        assert first == [
            ["data_dir:", "/tmp/dagnats"],
            ["http_addr:", ":8080"],
            ["nats_port:", "4222"],
            ["monitor_port:", "(disabled)"],
            ["leaf_remotes:", "(none)"],
            ["leaf_credentials:", "(none)"],
            ["max_store_bytes:", "1073741824"],
        ]

    def test_json_keeps_the_order_and_the_types(self) -> None:
        shown = configview.as_json(loaded_with(data_dir="/tmp/dagnats", http_addr=":8080"))
        text = json.dumps(shown, separators=(",", ":"))
        assert text.startswith('{"data_dir":"/tmp/dagnats","http_addr":":8080","nats_port":4222,')
        assert shown["runs_max_age"] == "30d"
        assert shown["sources"]["http_addr"] == "env"

    def test_secrets_never_show(self) -> None:
        secret = "s3cr3t"
        inline = f"-----BEGIN NATS USER JWT-----\n{secret}\n"
        names = [key.name for key in KEYS if key.secret]
        loaded = loaded_with(
            **dict.fromkeys(names, secret),
            leaf_credentials=inline,
            leaf_remotes=f"nats-leaf://me:{secret}@h:7422",
            nats_url=f"nats://me:{secret}@h:4222,nats://{secret}@h2:4222",
        )
        lines = configview.show(loaded) + configview.with_sources(loaded)
        assert secret not in "\n".join(lines) + json.dumps(configview.as_json(loaded))
        assert any("***@h:7422" in line for line in lines)

    def test_sources_are_shown(self) -> None:
        lines = configview.with_sources(loaded_with(nats_port="5000"))
        assert any(line.split() == ["nats_port:", "5000", "(from", "env)"] for line in lines)
