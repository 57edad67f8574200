from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.errors import InvalidError
from dagnats.wire import msgids, subjects

RUN = "0f" * 16


def test_subjects_are_those_of_the_protocol():
    assert subjects.history(RUN) == f"history.{RUN}"
    assert subjects.task("git.fetch", RUN) == f"task.git.fetch.{RUN}"
    assert subjects.task("git.fetch", RUN, "gpu") == f"task.git.fetch.gpu.{RUN}"
    assert subjects.task_filter("git.fetch", "gpu") == "task.git.fetch.gpu.>"
    assert subjects.sticky("a", "worker-1", RUN) == f"sticky.a.worker-1.{RUN}"
    assert subjects.dead("a.b", RUN, "s.map.3") == f"dead.a.b.{RUN}.s.map.3"
    assert subjects.dead("", RUN, "nap") == f"dead._.{RUN}.nap"
    assert subjects.dead_history("step.failed", "") == "dead.orchestrator.step-failed.unknown"
    assert subjects.event("order.paid") == "event.order.paid"
    assert subjects.timer_at(RUN, "retry.fetch.2") == f"sleep.at.{RUN}.retry.fetch.2"
    assert subjects.timer_fire(RUN, "t") == f"sleep.fire.{RUN}.t"
    assert subjects.log("dagnats", "WARN") == "telemetry.logs.dagnats.warn"
    assert subjects.http_response(RUN) == f"dagnats.http.response.{RUN}"
    assert subjects.stream(RUN, "s") == f"stream.{RUN}.s"
    assert subjects.scheduled(RUN) == f"scheduled.{RUN}"
    assert subjects.trigger_fire("trig-1") == "trigger.fire.trig-1"


def test_durable_names_are_sanitised_byte_by_byte():
    assert subjects.durable("img.resize") == "workers-img-resize"
    assert subjects.durable("a/b", "g.1") == "workers-a_b-g-1"
    assert subjects.durable("é") == "workers-__"


@pytest.mark.parametrize(
    "bad",
    ["", " ", "*", ">", "a b", "a.*", "a.>", ".a", "a.", "a..b", "a\nb", "a\0", "\ud800", "\x9b"],
)
def test_unclean_names_are_refused(bad: str):
    for make in (
        subjects.history,
        subjects.event,
        subjects.task_filter,
        subjects.trigger_fire,
        lambda text: subjects.task("t", text),
        lambda text: subjects.dead("t", RUN, text),
        lambda text: subjects.timer_at(RUN, text),
    ):
        with pytest.raises(InvalidError):
            make(bad)


def test_one_token_names_take_no_dots():
    for make in (subjects.history, subjects.scheduled, subjects.http_response):
        with pytest.raises(InvalidError):
            make("a.b")


def test_too_long_names_are_refused():
    with pytest.raises(InvalidError, match="longer than 255 bytes"):
        subjects.history("x" * 256)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_widens_a_subject(task: str, run: str):
    try:
        subject = subjects.task(task, run)
    except InvalidError:
        return
    assert not set("*> \t\r\n\0") & set(subject)
    assert all(subject.split("."))
    assert subject.rsplit(".", 1)[1] == run


@given(st.text(max_size=30))
def test_any_undeliverable_event_gets_a_subject(text: str):
    subject = subjects.dead_history(text, text)
    assert len(subject.split(".")) == 4
    assert all(subject.split("."))


def test_keys():
    for good in ("run.ab", "a/b=c_d-1", "A"):
        assert subjects.valid_key(good)
    for bad in ("", ".a", "a.", "a..b", "a b", "a*", "a>", "é", "a+b", "a\n"):
        assert not subjects.valid_key(bad)
        with pytest.raises(InvalidError):
            subjects.key(bad)


@pytest.mark.parametrize("good", [">", "a", "a.*", "*.b", "a.>"])
def test_patterns(good: str):
    assert subjects.pattern(good) == good


@pytest.mark.parametrize("bad", ["", "a.>.b", "a*", "a..b", "a b"])
def test_bad_patterns(bad: str):
    with pytest.raises(InvalidError):
        subjects.pattern(bad)


def test_the_way_back():
    assert subjects.run_of_history("history.r") == "r"
    assert subjects.event_type("event.a.b") == "a.b"
    assert subjects.parse_timer("sleep.fire.r.a.b") == ("r", "a.b")
    assert subjects.parse_timer("sleep.r.a") == ("", "")
    assert subjects.parse_log("telemetry.logs.svc.info") == ("svc", "info")


def test_message_ids():
    assert msgids.event("r", "workflow.started") == "r.workflow.started"
    assert msgids.event("r", "step.completed", "s", 2) == "r.s.step.completed.2"
    assert msgids.event("r", "step.completed", "s") == "r.s.step.completed"
    assert msgids.dispatch("r", "s") == "r.s.queued"
    assert msgids.dispatch("r", "s", 3) == "r.s.queued.3"
    assert msgids.cron_start("t", 120) == "trigger.t.2"
    assert msgids.dead("r", "s", 4) == "dlq:r:s:4"
