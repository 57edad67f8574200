from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagnats.runtime.triggers.signature import TOLERANCE_S, problem, sign
from dagnats.telemetry.context import clean_traceparent, is_sampled, span_id_of, trace_id_of

NOW = 1_780_000_000
MODES = st.sampled_from(["", "body", "timestamped"])


@given(MODES, st.text(), st.text(), st.binary())
def test_nobody_gets_in_by_chance(mode: str, given_: str, stamp: str, body: bytes) -> None:
    headers = {"x-signature-256": given_, "x-signature-timestamp": stamp}
    assert problem("secret", mode, headers, body, NOW)
    assert problem("", mode, headers, body, NOW) == ""


@given(MODES, st.text(min_size=1), st.binary(), st.integers(-TOLERANCE_S, TOLERANCE_S))
def test_who_knows_the_secret_gets_in(mode: str, secret: str, body: bytes, off: int) -> None:
    secret = secret.encode("utf-8", "replace").decode()
    stamp = str(NOW + off) if mode == "timestamped" else ""
    headers = {"x-signature-256": sign(secret, body, stamp), "x-signature-timestamp": stamp}
    assert problem(secret, mode, headers, body, NOW) == ""
    assert problem(secret, mode, headers, body + b"x", NOW)
    assert problem(secret + "x", mode, headers, body, NOW)
    late = NOW + off + TOLERANCE_S + 1
    assert bool(problem(secret, mode, headers, body, late)) == (mode == "timestamped")


@given(st.text())
def test_a_context_of_strangers_is_one_or_nothing(text: str) -> None:
    clean = clean_traceparent(text)
    assert clean in ("", text.strip()[:64].lower())
    assert (len(trace_id_of(text)), len(span_id_of(text))) in ((0, 0), (32, 16))
    assert isinstance(is_sampled(text), bool)
