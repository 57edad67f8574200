"""The streams of the server in memory, their consumers and their schedules."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagnats.model.times import format_time, parse_time

if TYPE_CHECKING:
    from .server import Server

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

    def _deliver(self, send: Any, stored: Stored) -> None:
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
