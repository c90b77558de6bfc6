"""Claims about comparing what is served with what was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.errors import DataError
from serving.verify import Probes, distance, judge, judge_foreign, read_probes
from tests.serving.making import probes

IDS = ((1, 2, 3), (4, 5))
BASE = ((-1.0, -2.0), (-3.0,))
TUNED = ((-1.5, -1.0), (-2.0,))
RECORD = Probes(IDS, BASE, TUNED, "float32")


def off(rows: tuple[tuple[float, ...], ...], by: float) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(value + by for value in row) for row in rows)


def codes(served_base: tuple[tuple[float, ...], ...], served: tuple[tuple[float, ...], ...]) -> list[str]:
    return [reason.code for reason in judge(RECORD, served_base, served).reasons]


def test_exactly_what_was_recorded_is_verified() -> None:
    """At float32 precision there is nothing to forgive; the numbers are kept."""
    verdict = judge(RECORD, off(BASE, 1e-6), off(TUNED, -1e-6))
    assert verdict.reasons == ()
    assert verdict.as_dict() == {
        "proof": "proven", "base_mean": 1e-6, "base_max": 1e-6, "adapter_mean": 1e-6, "adapter_max": 1e-6, "effect_mean": pytest.approx(0.8333327, abs=1e-6),
        "effect_max": pytest.approx(1.0, abs=1e-5), "tolerance_mean": 0.002, "tolerance_max": 0.02, "tokens": 3.0,
    }  # fmt: skip


def test_the_tolerance_grows_with_the_noise_of_the_base() -> None:
    """bfloat16 numbers as observed: the base off by 0.001, a right adapter by 0.005, pass; the same adapter on an exact server does not."""
    assert codes(off(BASE, 0.0011), off(TUNED, 0.005)) == []
    assert codes(BASE, off(TUNED, 0.005)) == ["record_differs"]


def test_another_adapter_is_refused_however_noisy_the_server() -> None:
    """What is nearer to the base than to the record does not pass on a noisy server either."""
    assert codes(off(BASE, 0.04), off(TUNED, 0.45)) == ["record_differs"]
    assert codes(BASE, off(TUNED, 0.5)) == ["record_differs"]


def test_one_token_far_off_is_enough() -> None:
    """A wrong layer shows in single tokens: the maximum has its own bound."""
    assert codes(BASE, ((-1.5, -1.0), (-2.025,))) == ["record_differs"]


def test_another_base_is_said_to_be_one() -> None:
    """When the bare base already differs, that is the reason, not the adapter."""
    assert codes(off(BASE, 0.3), off(TUNED, 0.3)) == ["base_differs"]


def test_an_adapter_that_changes_nothing_is_refused() -> None:
    """Silently serving the base is not serving the adapter."""
    assert codes(BASE, BASE) == ["record_differs", "no_effect"]
    nothing = judge(Probes(IDS, BASE, BASE), BASE, BASE)
    assert [reason.code for reason in nothing.reasons] == ["no_effect"]


def test_missing_numbers_do_not_pass() -> None:
    """Rows of another length are infinitely far off."""
    assert distance(((1.0, 2.0),), ((1.0,),)) == (float("inf"), float("inf"))
    assert distance((), ()) == (float("inf"), float("inf"))
    assert codes(BASE, ((-1.5,), (-2.0,))) == ["record_differs"]


def test_foreign_adapters_need_only_differ() -> None:
    """Without a record the adapter must differ from the base by more than the base from itself, and is marked unproven."""
    assert judge_foreign(BASE, BASE, TUNED).reasons == ()
    assert judge_foreign(BASE, BASE, TUNED).proof == "unproven"
    assert [r.code for r in judge_foreign(BASE, BASE, BASE).reasons] == ["no_effect"]
    assert [r.code for r in judge_foreign(BASE, off(BASE, 0.01), off(BASE, 0.015)).reasons] == ["no_effect"]


def test_probes_are_read_as_the_trainer_wrote_them(tmp_path: Path) -> None:
    """Format 1; none is not an error; cutting keeps what is before the cut."""
    assert read_probes(tmp_path) is None
    (tmp_path / "probes.json").write_text(json.dumps(probes(0.25)))
    found = read_probes(tmp_path)
    assert found is not None
    assert found.token_ids == ((5, 9, 30, 7), (2, 8, 40))
    assert found.adapter[0][0] == pytest.approx(found.base[0][0] + 0.25)
    cut = found.cut(2)
    assert cut.token_ids == ((5, 9), (2, 8))
    assert cut.base == tuple(row[:1] for row in found.base)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        json.dumps({"format": 2, "probes": []}),
        json.dumps({"format": 1, "probes": []}),
        json.dumps({"format": 1}),
        json.dumps({"format": 1, "probes": [{"token_ids": [1, 2], "base_logprobs": [1.0], "adapter_logprobs": []}]}),
        json.dumps({"format": 1, "probes": [{"token_ids": [1], "base_logprobs": [], "adapter_logprobs": []}]}),
        '{"format": 1, "probes": [{"token_ids": [1, 2], "base_logprobs": [NaN], "adapter_logprobs": [1.0]}]}',
    ],
)
def test_damaged_probes_are_refused(tmp_path: Path, body: str) -> None:
    """A record that cannot be compared with is an error that says so."""
    (tmp_path / "probes.json").write_text(body)
    with pytest.raises(DataError, match="publish the adapter again"):
        read_probes(tmp_path)


def test_an_adapter_that_is_exactly_as_recorded_needs_no_answer_of_the_base() -> None:
    """Beside other requests vLLM on CPU answers for the base with an adapter's weights: far off, or with this very adapter's; the record is proof enough."""
    recorded = Probes(((1, 2, 3), (4, 5)), ((-1.0, -2.0), (-3.0,)), ((-1.5, -2.5), (-3.5,)))
    for spoilt in (((-9.0, -9.0), (-9.0,)), recorded.adapter):
        assert judge(recorded, spoilt, recorded.adapter).reasons == ()
        assert judge(recorded, spoilt, ((-1.9, -2.9), (-3.9,))).reasons != ()
    assert [r.code for r in judge(Probes(recorded.token_ids, recorded.base, recorded.base), recorded.base, recorded.base).reasons] == ["no_effect"]
