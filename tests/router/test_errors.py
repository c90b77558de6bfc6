"""router.errors: what an operator or a client reads."""

from __future__ import annotations

import pytest

from router.errors import (
    AdapterRefused,
    AuthError,
    BreakevenError,
    ConfigError,
    DataError,
    GateRequired,
    LedgerError,
    LimitError,
    Problem,
    Reason,
    RequestError,
    StateError,
    UpstreamRefused,
    UpstreamTimeout,
)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("must be positive", "b.yaml", 3, "slo.total_ms"), "b.yaml:3: slo.total_ms: must be positive"),
        (Problem("is empty", "b.yaml"), "b.yaml: is empty"),
        (Problem("is empty"), "is empty"),
    ],
)
def test_a_problem_reads_like_a_compilers(problem: Problem, text: str) -> None:
    """File, line, key and what is wrong, as far as they are known."""
    assert str(problem) == text
    assert set(problem.as_dict()) == {"file", "line", "key", "message"}


def test_errors_carry_what_their_answer_needs() -> None:
    """Status, code, param, retry, phase, body and every reason survive."""
    problems = (Problem("a"), Problem("b"))
    reason = Reason("rank", "rank 64 is above 32", "train with r: 32")
    assert ConfigError("two problems", problems).problems == DataError("two problems", problems).problems == problems
    bad = RequestError("no such model", status=404, code="model_not_found", param="model")
    assert (bad.status, bad.code, bad.param, str(bad)) == (404, "model_not_found", "model", "no such model")
    assert (AuthError("no key", status=401).status, AuthError("no key").code) == (401, "invalid_api_key")
    limit = LimitError("slow down", retry_after_s=2.5)
    assert (limit.status, limit.code, limit.retry_after_s) == (429, "rate_limit_exceeded", 2.5)
    assert UpstreamTimeout("silence", phase="first_token").phase == "first_token"
    refused = UpstreamRefused("it said no", status=503, body=b"{}", retry_after_s=1.0)
    assert (refused.status, refused.body, refused.retry_after_s) == (503, b"{}", 1.0)
    assert AdapterRefused("refused", (reason,)).reasons == (reason,)
    assert reason.as_dict() == {"code": "rank", "message": "rank 64 is above 32", "remedy": "train with r: 32"}


def test_every_error_is_of_the_one_tree_with_a_code_of_its_own() -> None:
    """Programs tell them apart by code."""
    kinds: list[type[BreakevenError]] = [
        ConfigError, DataError, RequestError, AuthError, LimitError, UpstreamTimeout, UpstreamRefused, AdapterRefused, GateRequired, StateError, LedgerError
    ]  # fmt: skip
    assert all(issubclass(kind, BreakevenError) for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)
