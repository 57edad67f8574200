from __future__ import annotations

from dagnats.telemetry import metrics
from dagnats.telemetry.metrics import Registry


def test_the_text_is_what_prometheus_reads() -> None:
    registry = Registry()
    runs = registry.counter("workflow.runs.completed", "Runs that completed.", ("workflow",))
    runs.add(1, 'odd "name"\n')
    runs.add(2, "plain")
    registry.gauge("workflow.runs.active", "Runs that go on.").set(3.5)
    registry.histogram("step.duration_ms", "Milliseconds.", ("task",)).observe(7, "t")
    assert registry.histogram("step.duration_ms", "", ("task",)).points[("t",)].count == 1
    text = registry.render().splitlines()
    assert text[:3] == [
        "# HELP step_duration_ms Milliseconds.",
        "# TYPE step_duration_ms histogram",
        'step_duration_ms_bucket{task="t",le="1"} 0',
    ]
    assert 'step_duration_ms_bucket{task="t",le="10"} 1' in text
    assert 'step_duration_ms_bucket{task="t",le="+Inf"} 1' in text
    assert 'step_duration_ms_sum{task="t"} 7' in text
    assert "workflow_runs_active 3.5" in text
    assert 'workflow_runs_completed{workflow="odd \\"name\\"\\n"} 1' in text
    assert text[-1] == 'workflow_runs_completed{workflow="plain"} 2'


def test_a_counter_without_labels_begins_at_nought() -> None:
    registry = Registry()
    registry.counter("dlq_entries_total", "Dead letters.")
    assert registry.render().splitlines()[-1] == "dlq_entries_total 0"


def test_labels_of_strangers_do_not_grow_without_bound(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    counter = Registry().counter("c", "C.", ("who",))
    for number in range(10):
        counter.add(1, f"w{number}")
    assert counter.values == {("w0",): 1, ("w1",): 1, ("w2",): 1, ("other",): 7}


def test_a_gauge_may_be_asked() -> None:
    registry = Registry()
    registry.gauge("depth", "Depth.", read=lambda: {(): 4})
    assert registry.render().endswith("depth 4\n")
    other = registry.gauge("next", "Next.", ("trigger",))
    other.set(1, "a")
    other.drop("a")
    other.drop("never")
    assert other.values == {}
