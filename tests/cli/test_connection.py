"""The options that say which server to talk to, and as whom."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nkeys
import pytest

from dagnats.server.binary import find_binary
from dagnats.server.embedded import free_port
from tests.cli.runner import Result, cli

Serve = Callable[[str], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a nats-server with a configuration; gives its address."""
    children: list[subprocess.Popen[bytes]] = []

    def start(config: str) -> str:
        port = free_port()
        path = tmp_path / f"nats-{port}.conf"
        store = json.dumps(str(tmp_path / f"store-{port}"))
        stored = "" if "jetstream" in config else f"jetstream {{ store_dir: {store} }}"
        path.write_text(f"port: {port}\n{stored}\n{config}\n")
        children.append(
            subprocess.Popen([find_binary(), "-c", str(path)], stderr=subprocess.DEVNULL)
        )
        _wait_for_port(port)
        return f"nats://127.0.0.1:{port}"

    yield start
    for child in children:
        child.terminate()
        child.wait(10)


def _wait_for_port(port: int) -> None:
    import socket

    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


def status(*words: str, **env: str) -> Result:
    return cli("status", "--json", *words, env=env)


def refused(done: Result, *said: str) -> None:
    assert done.code in (1, 2), done.out
    assert "internal error" not in done.err
    assert "Traceback" not in done.err
    assert all(text in done.err for text in said), done.err


def test_server(serve: Serve, tmp_path: Path) -> None:
    url = serve("")
    for words in (["--server", url], [f"-s{url}"], ["--server", f"nats://127.0.0.1:1,{url}"]):
        assert status(*words).json["nats"] == "connected"
    assert status(DAGNATS_NATS_URL=url).code == 0
    old = status(NATS_URL=url)
    assert old.err == "Warning: NATS_URL is deprecated, use DAGNATS_NATS_URL instead\n"
    for bad in ("nats://127.0.0.1:1", "http://127.0.0.1:1", "nats://", "::", "nats://h:x", "\x1b"):
        refused(status("--server", bad))
    unprovisioned = cli("run", "list", "-s", url)
    refused(unprovisioned, "workflow_runs is not provisioned\n", "Hint: run 'dagnats serve'\n")
    work = tmp_path / "w.json"
    work.write_text('{"name": "w", "steps": [{"id": "a", "task": "t"}]}')
    refused(cli("workflow", "register", str(work), "-s", url), "Hint: run 'dagnats serve'")
    refused(status("--server"), "--server")


def test_a_nats_without_jetstream_is_named(serve: Serve) -> None:
    url = serve("jetstream: false")
    refused(status("-s", url), f"NATS at {url} has no JetStream\n", "Hint: start it with JetStream")


def test_user_and_password(serve: Serve, tmp_path: Path) -> None:
    url = serve('authorization { user: "op", password: "s3cret" }')
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    login = ("-s", url, "--user", "op")
    assert status(*login, "--password", "s3cret").code == 0
    assert status(*login, f"--password=@{secret}").code == 0
    assert status(*login, DAGNATS_NATS_PASSWORD="s3cret").code == 0
    assert status("-s", url.replace("//", "//op:s3cret@")).code == 0
    wrong = status(*login, "--password", "wrong")
    refused(wrong, "cannot connect to NATS at", "uthoriz")
    assert "wrong" not in wrong.out + wrong.err
    refused(status("-s", url), "cannot connect")
    refused(status(*login, "--password=@no-such-file"), "no-such-file")
    for option in ("--user", "--password"):
        refused(status("-s", url, option), option)


def test_token(serve: Serve, tmp_path: Path) -> None:
    url = serve('authorization { token: "t0ken" }')
    secret = tmp_path / "token"
    secret.write_text("t0ken")
    assert status("-s", url, "--token", "t0ken").code == 0
    assert status("-s", url, f"--token=@{secret}").code == 0
    refused(status("-s", url, "--token", "wrong"), "cannot connect")
    refused(status("-s", url, "--token"), "--token")


def _user() -> tuple[str, str]:
    """A user's seed and public key."""
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


def test_nkey(serve: Serve, tmp_path: Path) -> None:
    seed, public = _user()
    url = serve(f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    path = tmp_path / "user.nk"
    path.write_text(f"{seed}\n")
    assert status("-s", url, "--nkey", str(path)).code == 0
    path.write_text("nonsense")
    refused(status("-s", url, "--nkey", str(path)))
    refused(status("-s", url, "--nkey", "no-such-file"), "no-such-file")
    refused(status("-s", url, "--nkey"), "--nkey")


def test_creds(serve: Serve, tmp_path: Path) -> None:
    """Whether they are right only an operator's server can say; this one takes any."""
    seed, _ = _user()
    claims = base64.urlsafe_b64encode(b'{"name":"x"}').decode().rstrip("=")
    path = tmp_path / "user.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\ne30.{claims}.x\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    url = serve("")
    assert status("-s", url, "--creds", str(path)).code == 0
    for text in ("", "nonsense", "-----BEGIN NATS USER JWT-----\n"):
        path.write_text(text)
        refused(status("-s", url, "--creds", str(path)))
    refused(status("-s", url, "--creds", "no-such-file"), "no-such-file")
    refused(status("-s", url, "--creds"), "--creds")


@contextmanager
def _certificates(folder: Path) -> Iterator[dict[str, str]]:
    """A certificate for this machine, which is its own authority."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", str(key)),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    yield {"key": str(key), "cert": str(cert)}


def test_tls(serve: Serve, tmp_path: Path) -> None:
    with _certificates(tmp_path) as files:
        cert, key = files["cert"], files["key"]
        url = serve(
            f'tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{cert}", verify: true }}'
        ).replace("nats:", "tls:")
        words = ("-s", url, "--tls-ca", cert)
        trusted = status(*words, "--tls-cert", cert, "--tls-key", key)
        assert (trusted.code, trusted.err) == (0, "")
        begun = time.monotonic()
        refused(status(*words), "cannot connect")
        shown = (*("--tls-cert", cert), *("--tls-key", key))
        refused(status("-s", url, *shown), "CERTIFICATE_VERIFY_FAILED")
        assert time.monotonic() - begun < 5, "it is not tried again and again"
        broken = tmp_path / "broken.pem"
        broken.write_text("nonsense")
        refused(status("-s", url, "--tls-ca", str(broken)))
        refused(status(*words, "--tls-cert", str(broken), "--tls-key", key))
        for option in ("--tls-ca", "--tls-cert", "--tls-key"):
            refused(status("-s", url, option, "no-such-file"), "no-such-file")
            refused(status("-s", url, option), option)


def test_context(serve: Serve, tmp_path: Path) -> None:
    url = serve('authorization { user: "op", password: "s3cret" }')
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    home = {"XDG_CONFIG_HOME": str(tmp_path), "DAGNATS_NATS_URL": ""}
    (folder / "work.json").write_text(json.dumps({"url": url, "user": "op", "password": "s3cret"}))
    assert status("--context", "work", **home).code == 0
    assert status(NATS_CONTEXT="work", **home).code == 0
    (folder / "broken.json").write_text("{")
    refused(status("--context", "broken", **home))
    for bad in ("none", "../work", "x\x1b[2J"):
        assert status("--context", bad, **home).code == 1, bad
    refused(status("--context", **home), "--context")


def test_debug_and_format() -> None:
    nowhere = {"DAGNATS_NATS_URL": "nats://127.0.0.1:1"}
    assert cli("status", "--debug", env=nowhere).code == 1
    refused(cli("status", "--debug=x", env=nowhere), "--debug")
    refused(cli("status", "-o", "xml", env=nowhere), "xml")
    refused(cli("status", "-o", env=nowhere), "-o")
    refused(cli("status", "--json=x", env=nowhere), "--json")
