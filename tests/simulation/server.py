"""A NATS server with JetStream, as far as the engine uses it, in memory and on virtual time.

Behind the client's interface everything is the real code of ``dagnats.wire``. What the server does
was measured on nats-server 2.15: deduplication, key-value semantics, work queues, pull consumers,
message schedules. It stores at once whatever reaches it; losing, delaying and repeating is the
network's business (``network.py``).
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from dagnats.model.times import format_time, parse_time

from .loop import VirtualLoop

Send = Callable[[str, str, bytes, dict[str, str]], None]
"""Delivers (subject, reply, data, headers) to whoever asked."""

EMPTY: dict[str, str] = {}


class Stored:
    """One message of a stream."""

    __slots__ = ("data", "headers", "seq", "subject", "ts")

    def __init__(
        self, seq: int, subject: str, data: bytes, headers: dict[str, str], ts: int
    ) -> None:
        self.seq = seq
        self.subject = subject
        self.data = data
        self.headers = headers
        self.ts = ts


def fits(pattern: str, subject: str) -> bool:
    """Whether a subject matches a pattern."""
    if pattern == subject or pattern == ">":
        return True
    if pattern.endswith(".>") and "*" not in pattern:
        return subject.startswith(pattern[:-1])
    parts, tokens = pattern.split("."), subject.split(".")
    for index, part in enumerate(parts):
        if part == ">":
            return len(tokens) > index
        if index >= len(tokens) or part not in ("*", tokens[index]):
            return False
    return len(parts) == len(tokens)


class Consumer:
    """A pull consumer."""

    def __init__(self, stream: Stream, config: dict[str, Any]) -> None:
        self.stream = stream
        self.config = config
        self.name = config["name"]
        self.filters = config.get("filter_subjects") or [config.get("filter_subject") or ">"]
        self.all = config.get("ack_policy") == "all"
        self.wait = config.get("ack_wait", 30_000_000_000) / 1e9
        self.most = config.get("max_ack_pending") or 1000
        policy = config.get("deliver_policy", "all")
        self.cursor = stream.last + 1 if policy == "new" else config.get("opt_start_seq", 1)
        self.floor = self.cursor - 1
        self.given = 0
        self.pending: dict[int, float] = {}
        self.times: dict[int, int] = {}
        self.again: deque[int] = deque()
        self.requests: deque[list[Any]] = deque()

    def wants(self, subject: str) -> bool:
        return any(fits(pattern, subject) for pattern in self.filters)

    def request(self, send: Any, count: int, expires: float) -> None:
        loop = self.stream.server.loop
        request = [send, count]
        self.requests.append(request)
        loop.call_later(expires, self._expire, request)
        self.pump()

    def _expire(self, request: list[Any]) -> None:
        if request in self.requests:
            self.requests.remove(request)
            request[0]("", "", b"", {"Status": "408"})

    def pump(self) -> None:
        while self.requests:
            if not self.requests[0][0].alive:
                self.requests.popleft()  # The server knows when nobody listens any more.
                continue
            stored = self._next()
            if stored is None:
                return
            send, left = self.requests[0]
            self._deliver(send, stored)
            self.requests[0][1] = left - 1
            if left <= 1:
                self.requests.popleft()

    def _next(self) -> Stored | None:
        while self.again:
            stored = self.stream.messages.get(self.again.popleft())
            if stored is not None:
                return stored
        if len(self.pending) >= self.most:
            return None
        while self.cursor <= self.stream.last:
            stored = self.stream.messages.get(self.cursor)
            self.cursor += 1
            if stored is not None and self.wants(stored.subject):
                return stored
        return None

    def _deliver(self, send: Send, stored: Stored) -> None:
        loop = self.stream.server.loop
        seq = stored.seq
        deadline = loop.now + self.wait
        self.pending[seq] = deadline
        times = self.times[seq] = self.times.get(seq, 0) + 1
        self.given += 1
        place = f"{times}.{seq}.{self.given}.{stored.ts}.0"
        reply = f"$JS.ACK.{self.stream.name}.{self.name}.{place}"
        loop.call_at(deadline, self._late, seq, deadline)
        send("", reply, stored.data, {"": stored.subject, **stored.headers})

    def _late(self, seq: int, deadline: float) -> None:
        if self.pending.get(seq) == deadline:
            del self.pending[seq]
            self.again.append(seq)
            self.pump()

    def ack(self, seq: int, body: bytes) -> None:
        if body.startswith(b"-NAK"):
            self._nak(seq, body)
        elif body.startswith(b"+WPI"):
            self._progress(seq)
        elif self.all:
            for each in [pending for pending in self.pending if pending <= seq]:
                self._done(each)
            self.again = deque(each for each in self.again if each > seq)
            self.floor = max(self.floor, seq)
        else:
            self._done(seq)
        self.pump()

    def _done(self, seq: int) -> None:
        if self.pending.pop(seq, None) is None and not self.all:
            return  # It was taken away meanwhile: the acknowledgement comes too late.
        self.times.pop(seq, None)
        if self.stream.workqueue:
            self.stream.remove(seq)

    def _nak(self, seq: int, body: bytes) -> None:
        if self.pending.pop(seq, None) is not None:
            delay = json.loads(body[5:])["delay"] / 1e9 if len(body) > 5 else 0
            self.stream.server.loop.call_later(delay, self._put_back, seq)

    def _put_back(self, seq: int) -> None:
        self.again.append(seq)
        self.pump()

    def _progress(self, seq: int) -> None:
        if seq in self.pending:
            deadline = self.pending[seq] = self.stream.server.loop.now + self.wait
            self.stream.server.loop.call_at(deadline, self._late, seq, deadline)

    def info(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "num_waiting": len(self.requests),
            "num_pending": self.stream.last - self.cursor + 1,
            "num_ack_pending": len(self.pending),
            "ack_floor": {"stream_seq": self.floor},
            "delivered": {"stream_seq": self.cursor - 1, "consumer_seq": self.given},
        }

    def reset(self) -> dict[str, Any]:
        """Back to the acknowledgement floor; how it stands before the next delivery."""
        unacked = sorted({*self.pending, *self.again})
        self.pending.clear()
        self.again.clear()
        if self.all:
            self.cursor = self.floor + 1
        else:
            self.again.extend(unacked)
        self.stream.server.loop.call_soon(self.pump)
        return self.info()


class Stream:
    """One stream, or the stream of a bucket."""

    def __init__(self, server: Server, config: dict[str, Any]) -> None:
        self.server = server
        self.config = config
        self.name = config["name"]
        self.workqueue = config.get("retention") == "workqueue"
        self.bucket = config.get("max_msgs_per_subject") == 1
        self.window = config.get("duplicate_window", 120_000_000_000)
        self.age = config.get("max_age", 0) if self.bucket else 0
        self.messages: dict[int, Stored] = {}
        self.newest: dict[str, int] = {}
        self.last = 0
        self.last_ts = 0
        self.seen: dict[str, tuple[int, int]] = {}
        self.consumers: dict[str, Consumer] = {}
        self.scheduled: dict[str, int] = {}

    def store(self, subject: str, data: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """Take a message; the acknowledgement."""
        now = self.server.loop.time_ns()
        msg_id = headers.get("Nats-Msg-Id")
        if msg_id is not None:
            known = self.seen.get(msg_id)
            if known is not None and now - known[1] < self.window:
                return {"stream": self.name, "seq": known[0], "duplicate": True}
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        depends = headers.get("Nats-Expected-Last-Subject-Sequence-Subject", subject)
        if expected is not None and int(expected) != self._newest(depends):
            text = f"wrong last sequence: {self._newest(depends)}"
            return {"error": {"code": 400, "err_code": 10071, "description": text}}
        self.last += 1
        stored = Stored(self.last, subject, data, headers, now)
        self.messages[self.last] = stored
        self.last_ts = now
        if msg_id is not None:
            self.seen[msg_id] = (self.last, now)
        before = self.newest.get(subject)
        self.newest[subject] = self.last
        if self.bucket and before is not None:
            self.messages.pop(before, None)
        if "Nats-Schedule" in headers:
            self._schedule(stored)
        self.server.stored(self, stored)
        for consumer in list(self.consumers.values()):
            consumer.pump()
        return {"stream": self.name, "seq": stored.seq}

    def _newest(self, subject: str) -> int:
        stored = self.last_of(subject)
        return stored.seq if stored is not None else 0

    def last_of(self, subject: str) -> Stored | None:
        stored = self.messages.get(self.newest.get(subject, 0))
        if stored is not None and self.age and self.server.loop.time_ns() - stored.ts >= self.age:
            self.remove(stored.seq)
            return None
        return stored

    def _schedule(self, stored: Stored) -> None:
        before = self.scheduled.get(stored.subject)
        if before is not None:
            self.messages.pop(before, None)
        self.scheduled[stored.subject] = stored.seq
        due = (parse_time(stored.headers["Nats-Schedule"].removeprefix("@at ")) or 0) / 1e9
        # The server looks at its schedules now and then; it is never early.
        late = self.server.lateness()
        self.server.loop.call_at(max(due, self.server.loop.now) + late, self._fire, stored)

    def _fire(self, stored: Stored) -> None:
        if self.scheduled.get(stored.subject) != stored.seq or stored.seq not in self.messages:
            return
        self.remove(stored.seq)
        self.server.publish(stored.headers["Nats-Schedule-Target"], stored.data, EMPTY)

    def remove(self, seq: int) -> None:
        stored = self.messages.pop(seq, None)
        if stored is not None and self.scheduled.get(stored.subject) == seq:
            del self.scheduled[stored.subject]

    def purge(self, pattern: str, below: int) -> None:
        for seq, stored in list(self.messages.items()):
            if (not below or seq < below) and fits(pattern, stored.subject):
                self.remove(seq)

    def state(self) -> dict[str, Any]:
        first = next(iter(self.messages), self.last + 1)
        return {
            "messages": len(self.messages),
            "first_seq": first,
            "last_seq": self.last,
            "last_ts": format_time(self.last_ts),
        }

    def walk(self, seq: int, pattern: str) -> Iterator[Stored]:
        for each in list(self.messages.values()):
            if each.seq >= seq and fits(pattern, each.subject):
                yield each


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
