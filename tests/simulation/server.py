"""A NATS server with JetStream, as far as the engine uses it, in memory and on virtual time.

Behind the client's interface everything is the real code of ``dagnats.wire``. The server does what
nats-server 2.15 is known to do where that code depends on it: deduplication, key-value semantics,
work queues, pull consumers, message schedules. It stores at once whatever reaches it; losing,
delaying and repeating is the network's business (``network.py``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from dagnats.model.times import format_time

from .loop import VirtualLoop
from .streams import EMPTY, Consumer, Stored, Stream, fits

Send = Callable[[str, str, bytes, dict[str, str]], None]
"""Delivers (subject, reply, data, headers) to whoever asked."""


class Server:
    """The server.

    Args:
        loop: virtual time.
        lateness: seconds by which a schedule fires late, drawn anew for each.
    """

    def __init__(self, loop: VirtualLoop, lateness: Callable[[], float]) -> None:
        self.loop = loop
        self.lateness = lateness
        self.streams: dict[str, Stream] = {}
        self.watchers: list[Callable[[Stream, Stored], None]] = []
        self.subscriptions: dict[int, tuple[str, Send]] = {}
        self._exact: dict[str, list[int]] = {}
        self._wild: list[int] = []
        self._sid = 0
        self._roots: dict[str, Stream] = {}

    # --- core ---------------------------------------------------------------------------------

    def subscribe(self, pattern: str, send: Send) -> int:
        self._sid += 1
        self.subscriptions[self._sid] = (pattern, send)
        if "*" in pattern or ">" in pattern:
            self._wild.append(self._sid)
        else:
            self._exact.setdefault(pattern, []).append(self._sid)
        return self._sid

    def unsubscribe(self, sid: int) -> None:
        found = self.subscriptions.pop(sid, None)
        if found is None:
            return
        if sid in self._wild:
            self._wild.remove(sid)
        else:
            self._exact[found[0]].remove(sid)

    def publish(
        self, subject: str, data: bytes, headers: dict[str, str], reply: Send | None = None
    ) -> bool:
        """Take a message from a client; whether anybody was interested."""
        heard = False
        for sid in self._exact.get(subject, ()):
            heard = True
            self.subscriptions[sid][1](subject, "", data, headers)
        for sid in list(self._wild):
            pattern, send = self.subscriptions[sid]
            if fits(pattern, subject):
                heard = True
                send(subject, "", data, headers)
        if subject.startswith("$JS."):
            self._api(subject, data, reply)
            return True
        stream = self.stream_of(subject)
        if stream is None:
            return heard
        ack = stream.store(subject, data, headers)
        if reply is not None:
            reply("", "", json.dumps(ack).encode(), EMPTY)
        return True

    def stream_of(self, subject: str) -> Stream | None:
        head, _, rest = subject.partition(".")
        if head == "$KV":
            return self.streams.get(f"KV_{rest.partition('.')[0]}")
        return self._roots.get(head)

    def stored(self, stream: Stream, stored: Stored) -> None:
        for watcher in self.watchers:
            watcher(stream, stored)

    def create(self, config: dict[str, Any]) -> Stream:
        stream = self.streams[config["name"]] = Stream(self, config)
        for subject in config["subjects"]:
            if not subject.startswith("$KV."):
                self._roots[subject.partition(".")[0]] = stream
        return stream

    # --- the JetStream API --------------------------------------------------------------------

    def _api(self, subject: str, data: bytes, reply: Send | None) -> None:
        words = subject.split(".")
        if words[1] == "ACK":
            consumer = self.streams[words[2]].consumers.get(words[3])
            if consumer is not None:
                consumer.ack(int(words[5]), data)
            return
        assert reply is not None, subject
        if words[2] == "DIRECT":
            self._direct(subject, data, reply)
        elif words[2:5] == ["CONSUMER", "MSG", "NEXT"]:
            self._pull(words, data, reply)
        else:
            body = json.loads(data) if data else {}
            reply("", "", json.dumps(self._call(words[2:], body)).encode(), EMPTY)

    def _pull(self, words: list[str], data: bytes, reply: Send) -> None:
        stream = self.streams.get(words[5])
        consumer = stream.consumers.get(words[6]) if stream else None
        if consumer is None:
            reply("", "", b"", {"Status": "404"})
            return
        body = json.loads(data)
        consumer.request(reply, body["batch"], body["expires"] / 1e9)

    def _direct(self, subject: str, data: bytes, reply: Send) -> None:
        words = subject.split(".", 5)
        stream = self.streams.get(words[4])
        if stream is None:
            reply("", "", b"", {"Status": "503"})
        elif len(words) > 5:
            found = stream.last_of(words[5])
            self._give(found, stream, reply) if found else reply("", "", b"", {"Status": "404"})
        else:
            for each in self._chosen(stream, json.loads(data)):
                self._give(each, stream, reply)
            reply("", "", b"", {"Status": "204"})

    @staticmethod
    def _chosen(stream: Stream, body: dict[str, Any]) -> list[Stored]:
        if "multi_last" in body:
            found = (stream.last_of(subject) for subject in body["multi_last"])
            return [each for each in found if each is not None]
        pattern = body.get("next_by_subj", ">")
        return list(stream.walk(body["seq"], pattern))[: body["batch"]]

    @staticmethod
    def _give(stored: Stored, stream: Stream, reply: Send) -> None:
        headers = {
            **stored.headers,
            "Nats-Stream": stream.name,
            "Nats-Subject": stored.subject,
            "Nats-Sequence": str(stored.seq),
            "Nats-Time-Stamp": format_time(stored.ts),
        }
        reply("", "", stored.data, headers)

    def _call(self, words: list[str], body: dict[str, Any]) -> dict[str, Any]:
        if words == ["INFO"]:
            return {"api": {"level": 5}}
        kind, verb = words[0], words[1]
        if kind == "STREAM":
            return self._stream_call(verb, words[2:], body)
        if kind == "CONSUMER":
            return self._consumer_call(verb, words[2:], body)
        return _error(400, f"unknown call {'.'.join(words)}")

    def _stream_call(self, verb: str, names: list[str], body: dict[str, Any]) -> dict[str, Any]:
        if verb == "CREATE":
            self.create(body)
            return {}
        name = names[-1]
        stream = self.streams.get(name)
        if stream is None:
            return _error(404, "stream not found")
        match verb:
            case "INFO":
                return {"config": stream.config, "state": stream.state()}
            case "PURGE":
                stream.purge(body.get("filter", ">"), body.get("seq", 0))
            case "MSG" if names[0] == "GET":
                found = stream.last_of(body["last_by_subj"])
                if found is None:
                    return _error(404, "no message found")
                data = base64.b64encode(found.data).decode()
                return {"message": {"seq": found.seq, "subject": found.subject, "data": data}}
            case "MSG":
                stream.remove(body["seq"])
            case "UPDATE":
                stream.config = body
            case _:
                return _error(400, f"unknown call STREAM.{verb}")
        return {"success": True}

    def _consumer_call(self, verb: str, names: list[str], body: dict[str, Any]) -> dict[str, Any]:
        names = names[1:] if verb == "DURABLE" else names
        stream = self.streams.get(names[0])
        if stream is None:
            return _error(404, "stream not found")
        if verb in ("CREATE", "DURABLE"):
            made = stream.consumers[names[1]] = Consumer(stream, body["config"])
            return {"config": made.config}
        consumer = stream.consumers.get(names[1])
        if consumer is None:
            return _error(404, "consumer not found")
        match verb:
            case "INFO":
                return consumer.info()
            case "RESET":
                return consumer.reset()
            case "DELETE":
                del stream.consumers[names[1]]
            case _:
                return _error(400, f"unknown call CONSUMER.{verb}")
        return {"success": True}


def _error(code: int, text: str) -> dict[str, Any]:
    return {"error": {"code": code, "description": text}}
