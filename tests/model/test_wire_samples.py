"""What lies on the wire, byte for byte."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagnats.errors import InvalidError
from dagnats.model import event, records, run, task, trigger, workflow
from dagnats.model.codec import ABSENT, Wire, decode, encode, is_absent, parse_json, raw
from dagnats.model.event import (
    ApprovalRequest,
    ChildPayload,
    CompensationContext,
    Event,
    FailureContext,
    SpawnPayload,
    StartPayload,
)
from dagnats.model.records import DeadLetter, LogRecord, TokenBucket, WorkerRegistration
from dagnats.model.run import MapInstance, StepState, WorkflowRun
from dagnats.model.task import StepFailedPayload, TaskPayload
from dagnats.model.trigger import (
    HttpTrigger,
    TriggerDef,
    TriggerEnvelope,
    TriggerFire,
    TriggerTypeDef,
    trigger_route,
)
from dagnats.model.workflow import (
    MapConfig,
    PriorityConfig,
    RespondConfig,
    RetryPolicy,
    SleepConfig,
    StepDef,
    WaitForEventConfig,
    WorkflowDef,
)

THUMBS = (
    '{"name":"thumbs","version":"1","steps":['
    '{"id":"fetch","task":"http.get","timeout":30000000000,"type":"normal"},'
    '{"id":"resize","task":"img.resize","depends_on":["fetch"],"timeout":0,"type":"normal",'
    '"retry":{"max_attempts":2,"strategy":"exponential","initial_delay":1000000000,'
    '"max_delay":60000000000,"multiplier":2},"on_failure":"alert"},'
    '{"id":"alert","task":"notify","timeout":0,"type":"normal"}],"aux_steps":{"alert":true}}'
)
SAMPLES: list[tuple[type[Wire], str]] = [
    (WorkflowDef, THUMBS),
    (
        Event,
        ('{"type":"step.completed","run_id":"0f3a","step_id":"resize",'
        '"timestamp":"2026-03-01T10:00:00.25Z","payload":{"w":640},"worker_id":"worker-9a"}'),
    ),
    (
        Event,
        ('{"type":"step.started","run_id":"r","step_id":"s","timestamp":"2026-03-01T10:00:00Z",'
        '"trace_parent":"00-a-b-01","trace_state":"x=1","worker_id":"w","attempt_number":2}'),
    ),
    (Event, '{"type":"workflow.completed","run_id":"r","timestamp":"0001-01-01T00:00:00Z"}'),
    (
        Event,
        '{"type":"step.completed","run_id":"r","timestamp":"2026-03-01T10:00:00Z","payload":null}',
    ),
    (StartPayload, '{"workflow_def":' + THUMBS + ',"input":{"u":"x"}}'),
    (StartPayload, '{"workflow_def":' + THUMBS + ',"input":null}'),
    (
        SpawnPayload,
        ('{"child_run_id":"c","child_workflow":"w","detach":false,"input":null,'
        '"parent_step_id":"s"}'),
    ),
    (ChildPayload, '{"child_run_id":"c","error":"","parent_step_id":"s"}'),
    (
        ApprovalRequest,
        ('{"token":"t","run_id":"r","step_id":"s","subject":"ops","description":"d",'
        '"metadata":{"a":"b"},"expires_at":"2026-03-01T10:00:00Z"}'),
    ),
    (FailureContext, '{"failed_step":"s","error":"e"}'),
    (
        CompensationContext,
        '{"original_step":"s","original_output":null,"trigger_step":"t","trigger_error":"e"}',
    ),
    (
        TaskPayload,
        ('{"task_id":"4ce1.resize","run_id":"4ce1","step_id":"resize","attempt":2,'
        '"input":{"w":640},"dispatch_nonce":"b70d","workflow_name":"thumbs"}'),
    ),
    (
        TaskPayload,
        ('{"task_id":"r.s","run_id":"r","step_id":"s","iteration":3,"attempt":2,"input":null,'
        '"metadata":{"a":"b"},"required_capabilities":["gpu"],"dispatch_nonce":"n",'
        '"workflow_name":"w","traceparent":"p","tracestate":"s"}'),
    ),
    (StepFailedPayload, '{"error":"e","failure_type":"retry_after","retry_after_ms":100}'),
    (StepFailedPayload, '{"error":""}'),
    (
        StepDef,
        ('{"id":"a","task":"","depends_on":["b"],"retries":1,"timeout":1,"type":"map",'
        '"config":{"max_items":1000},"skip_if":{"step_id":"b","field":"f","op":"==","value":null},'
        '"metadata":{"k":"v"},"worker_group":"g","on_failure":"x","compensate":"y",'
        '"rate_limit":{"limit":1,"period":1},'
        '"keyed_rate_limit":{"key":"k","limit":1,"period":1,"units":1},'
        '"max_task_concurrency":1,"singleton":true,"required_capabilities":["gpu"]}'),
    ),
    (
        WorkflowDef,
        ('{"name":"w","version":"1","steps":[],"default_retry":{"max_attempts":0,"strategy":'
        '"fixed","initial_delay":0,"max_delay":0},"concurrency":{"max_runs":1,"max_steps":2},'
        '"timeout":1,"input_schema":{"type":"object"},"output_schema":true,'
        '"idempotency_key":"a.b","sticky":"soft","priority":{"key":"k","rules":{"a":1,"b":-2},'
        '"default_offset":0},"cancel_on":[{"event":"e","match":{"left":"","op":"","right":""}}],'
        '"singleton":{"mode":"skip","key":"k"}}'),
    ),
    (RetryPolicy, '{"max_attempts":1,"strategy":"linear","initial_delay":1,"max_delay":0}'),
    (
        RetryPolicy,
        '{"max_attempts":1,"strategy":"linear","initial_delay":1,"max_delay":0,"multiplier":1.5}',
    ),
    (MapConfig, '{"max_items":1000}'),
    (SleepConfig, '{"cron":"* * * * *"}'),
    (
        WaitForEventConfig,
        '{"event":"e","match":{"left":"a","op":"eq","right":"input.b"},"timeout":60}',
    ),
    (RespondConfig, '{"status":201,"headers":{"A":"b"},"body_from":"x","content_type":"text/x"}'),
    (
        WorkflowRun,
        ('{"run_id":"4c","workflow_id":"thumbs","status":"running","steps":{"fetch":{"status":'
        '"completed","attempts":1,"loop_started_at":"0001-01-01T00:00:00Z",'
        '"output":"eyJuIjoyfQ==","dispatch_nonce":"ab"}},"input":{"u":"x"},'
        '"created_at":"2026-03-01T10:00:00Z","root_run_id":"4c"}'),
    ),
    (
        WorkflowRun,
        ('{"run_id":"r","workflow_id":"w","status":"failed","steps":{},'
        '"created_at":"2026-03-01T10:00:00.123456789Z","parent_run_id":"p","root_run_id":"q",'
        '"parent_step_id":"s","deadline":"2026-03-01T12:00:00.5+02:00","priority_offset":-5,'
        '"singleton_key":"k","trace_parent":"t","completed_at":"2026-03-01T10:00:01Z"}'),
    ),
    (
        StepState,
        ('{"status":"running","attempts":2,"iterations":3,'
        '"loop_started_at":"2026-03-01T10:00:00.000000001+05:30","error":"e",'
        '"map_instances":[{"status":"completed","output":{"a":1}},{"status":"failed",'
        '"error":"x"}],"wake_at":"2026-03-01T10:00:00Z","child_run_id":"c"}'),
    ),
    (MapInstance, '{"status":"completed","output":null}'),
    (
        TriggerDef,
        ('{"id":"h","workflow_id":"w","enabled":true,"http":{"path":"/api/x","method":"POST",'
        '"timeout_ms":30000,"max_body_bytes":1048576,"secret":"0123456789abcdef",'
        '"idempotency_header":"Idempotency-Key","authentication":{"name":"n","type":"apiKey",'
        '"in":"header","header_name":"X-Key"}},"source":"file:dagnats.yaml"}'),
    ),
    (
        TriggerDef,
        ('{"id":"s","workflow_id":"w","enabled":false,"subject":{"subject":"a.*"},'
        '"debounce":{"period":1,"timeout":2,"key":"k"}}'),
    ),
    (
        TriggerDef,
        '{"id":"w","workflow_id":"w","enabled":true,"webhook":{"path":"/hooks/x","secret":"s"}}',
    ),
    (
        TriggerDef,
        '{"id":"e","workflow_id":"w","enabled":true,"external":{"kind":"k","config":null}}',
    ),
    (
        TriggerEnvelope,
        ('{"trigger":"webhook","source":"t","workflow_id":"w","timestamp":"2026-03-01T10:00:00Z",'
        '"data":{"a":1}}'),
    ),
    (
        TriggerFire,
        ('{"trigger_id":"t","workflow_id":"w","run_id":"r","source":"cron",'
        '"fired_at":"2026-03-01T10:00:00Z","input":"e30=","skipped":true,"skip_reason":"x"}'),
    ),
    (
        TriggerTypeDef,
        ('{"name":"n","owner_worker_id":"w","description":"","config_schema":{"type":"object"},'
        '"payload_schema":null,"version":"1","registered_at":"2026-03-01T10:00:00Z"}'),
    ),
    (TokenBucket, '{"tokens":1,"last_refill_ns":2,"limit":3,"period_ns":4}'),
    (
        WorkerRegistration,
        ('{"worker_id":"w","task_types":["a"],"language":"go","transport":"nats","max_tasks":1,'
        '"metadata":{"a":"b"},"pid":1,"hostname":"h","version":"v",'
        '"last_seen":"2026-03-01T10:00:00Z"}'),
    ),
    (
        DeadLetter,
        ('{"sequence":1,"subject":"dead.t.r.s","run_id":"r","step_id":"s","task":"t","error":"e",'
        '"timestamp":"2026-03-01T10:00:00Z","body":"e30=",'
        '"headers":{"Dagnats-Dlq-Attempts":["1"]},"delivery_count":1,"consumer":"TASK_QUEUES",'
        '"body_preserved":true}'),
    ),
    (
        LogRecord,
        ('{"timestamp":"2026-03-01T10:00:00Z","severity":"info","body":"b","attributes":{"a":"b"},'
        '"traceId":"t","spanId":"s","serviceName":"engine"}'),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "sample"), SAMPLES, ids=[f"{kind.__name__}-{n}" for n, (kind, _) in enumerate(SAMPLES)]
)
def test_a_sample_survives_byte_for_byte(kind: type[Wire], sample: str) -> None:
    assert encode(decode(sample, kind)).decode() == sample


def test_what_go_always_writes_is_always_written() -> None:
    assert encode(StepState()) == (
        b'{"status":"pending","attempts":0,"loop_started_at":"0001-01-01T00:00:00Z"}'
    )
    assert b'"steps":{}' in encode(WorkflowRun(run_id="r"))
    assert encode(WorkflowDef()) == b'{"name":"","version":"","steps":[]}'
    assert encode(StepDef()) == b'{"id":"","task":"","timeout":0,"type":"normal"}'
    assert encode(TriggerDef()) == b'{"id":"","workflow_id":"","enabled":false}'
    assert encode(PriorityConfig()) == b'{"key":"","rules":{},"default_offset":0}'


def test_strings_are_escaped_as_go_escapes_them() -> None:
    text = '<a> & \u2028\u2029 é " \\ \n \x01'
    assert encode({"k": text}).decode() == (
        '{"k":"\\u003ca\\u003e \\u0026 \\u2028\\u2029 é \\" \\\\ \\n \\u0001"}'
    )
    assert parse_json(encode(text)) == text


def test_map_keys_are_sorted() -> None:
    assert encode(StepDef(metadata={"b": "1", "a": "2"})).count(b'"metadata":{"a":"2","b":"1"}')


def test_unknown_keys_of_a_newer_peer_are_ignored() -> None:
    assert decode('{"type":"x","run_id":"r","new":{"a":[1]}}', Event) == Event(type="x", run_id="r")


def test_null_and_absent_input_differ() -> None:
    null, absent = decode('{"input":null}', StartPayload), decode("{}", StartPayload)
    assert bytes(null.input) == b"null"
    assert is_absent(absent.input)
    assert not is_absent(null.input)
    assert is_absent(ABSENT)


def test_null_where_go_has_an_empty_list_or_map() -> None:
    assert decode('{"worker_id":"w","task_types":null}', WorkerRegistration).task_types == []
    assert decode('{"run_id":"r","steps":null,"status":null}', WorkflowRun).steps == {}
    definition = decode(
        '{"name":"w","steps":[{"id":"a","depends_on":null,"retry":null,"config":{"x":null},'
        '"skip_if":{"step_id":"s","field":"f","op":"==","value":null}}],'
        '"priority":{"key":"k","rules":null,"default_offset":0},"unknown":null}',
        WorkflowDef,
    )
    assert definition.steps[0].depends_on == []
    assert bytes(definition.steps[0].config) == b'{"x":null}'
    assert definition.priority == PriorityConfig(key="k")
    nested = decode(
        '{"run_id":"r","steps":{"a":{"map_instances":null},"b":{"map_instances":'
        '[{"status":"completed","output":null,"error":null}]}}}',
        WorkflowRun,
    )
    assert bytes(nested.steps["b"].map_instances[0].output) == b"null"


def test_an_empty_raw_value_is_absent_or_null_but_never_nothing() -> None:
    empty = msgspec.Raw(b"")
    assert encode(StartPayload(input=empty, reuse={"a": empty})) == b'{"reuse":{"a":null}}'
    assert b'"original_output":null' in encode(CompensationContext(original_output=ABSENT))
    assert encode([TaskPayload(input=empty)]) == encode([TaskPayload()])
    tricky = StepFailedPayload(error='":, ":}')
    assert decode(encode(tricky), StepFailedPayload) == tricky


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (WorkflowDef, b'{"timeout":"5s"}'),
        (WorkflowDef, b'{"timeout":5.5}'),
        (WorkflowDef, b'{"steps":{}}'),
        (StepState, b'{"output":{}}'),
        (StepState, b'{"output":"e30"}'),
        (Event, b"{}"),
        (Event, b"null"),
        (Event, b""),
        (Event, b"\xff"),
        (Event, b"[" * 100_000),
        (Event, b'{"type":"x","run_id":"r"} x'),
    ],
)
def test_what_cannot_be_decoded_says_of_what(kind: type[Wire], data: bytes) -> None:
    with pytest.raises(InvalidError, match=f"cannot decode {kind.__name__}"):
        decode(data, kind)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'"\\ud800"', b"1e400"])
def test_json_that_is_none(data: bytes) -> None:
    with pytest.raises(InvalidError, match="not JSON"):
        parse_json(data)


def test_routes() -> None:
    assert trigger_route(TriggerDef()) == ""
    http = HttpTrigger(path="/api/x", method="PUT")
    assert trigger_route(TriggerDef(http=http)) == "PUT /api/x"


KINDS = [
    kind
    for module in (event, records, run, task, trigger, workflow)
    for kind in vars(module).values()
    if inspect.isclass(kind) and issubclass(kind, Wire) and kind is not Wire
]
raws = st.sampled_from([ABSENT, msgspec.Raw(b""), raw(None), raw({"a": [1, "<"]}), raw("x")])


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    msgspec.inspect.IntType: st.integers(-(2**63), 2**63 - 1),
    msgspec.inspect.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    msgspec.inspect.BoolType: st.booleans(),
    msgspec.inspect.StrType: st.text(max_size=5) | st.just("2026-03-01T10:00:00.123456789+02:00"),
    msgspec.inspect.BytesType: st.binary(max_size=5),
    msgspec.inspect.RawType: raws,
    msgspec.inspect.AnyType: st.none() | st.integers(0, 9) | st.text(max_size=5),
    msgspec.inspect.NoneType: st.none(),
}


def values_of(info: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    match info:
        case msgspec.inspect.Metadata():
            return values_of(info.type)
        case msgspec.inspect.ListType():
            return st.lists(values_of(info.item_type), max_size=2)
        case msgspec.inspect.DictType():
            return st.dictionaries(st.text(max_size=3), values_of(info.value_type), max_size=2)
        case msgspec.inspect.UnionType():
            return st.one_of(*(values_of(each) for each in info.types))
        case msgspec.inspect.StructType():
            return structs_of(info.cls)
        case _:
            return SCALARS[type(info)]


def structs_of(kind: Any) -> st.SearchStrategy[Any]:
    """Structs of the model with arbitrary values."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    fields = {field.name: values_of(field.type) for field in info.fields}
    needed = {field.name: fields.pop(field.name) for field in info.fields if field.required}
    return st.fixed_dictionaries(needed, optional=fields).map(lambda given: kind(**given))


def comparable(value: Any) -> Any:
    """Raw JSON has identity, not equality: compare what it says."""
    return msgspec.json.decode(encode(value))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_struct_survives_the_wire(kind: type[Wire], data: st.DataObject) -> None:
    value = data.draw(structs_of(kind))
    first = encode(value)
    again = decode(first, kind)
    assert encode(again) == first
    assert comparable(again) == comparable(value)
