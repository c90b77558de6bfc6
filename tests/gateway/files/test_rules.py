"""What a file may be, and what is said when it may not."""

from __future__ import annotations

import pytest

from gateway.files import rules
from router.errors import RequestError


@pytest.mark.parametrize(
    ("purpose", "said"),
    [(None, "Missing required parameter: 'purpose'"), ("batch_output", "is not one of"), ("finetune", "'fine-tune', 'assistants', 'batch'"), (7, "'7' is not")],
)
def test_purposes(purpose: object, said: str) -> None:
    """A wrong one names those there are; what only the gateway makes cannot be uploaded."""
    with pytest.raises(RequestError, match=said) as refused:
        rules.check_purpose(purpose)
    assert refused.value.param == "purpose"
    assert all(rules.check_purpose(known) == known for known in rules.PURPOSES)


def test_endings() -> None:
    """Batch and fine-tuning files are JSONL; others may be called anything."""
    for purpose, name in (("batch", "a.JSONL"), ("fine-tune", "a.jsonl"), ("user_data", "a.pdf")):
        rules.check_name(purpose, name)
    for purpose, said in (("batch", "for Batch API"), ("fine-tune", "for Fine-Tuning API")):
        with pytest.raises(RequestError, match=rf"Invalid file format {said}\. Must be \.jsonl"):
            rules.check_name(purpose, "a.json")


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        (None, None),
        ({"anchor": "created_at", "seconds": 3600}, 3600),
        ({"anchor": "created_at", "seconds": "2592000"}, 2_592_000),
    ],
)
def test_lifetimes(after: object, seconds: int | None) -> None:
    """As JSON and as form fields."""
    assert rules.expiry(after) == seconds


@pytest.mark.parametrize(
    ("after", "param"),
    [
        ([], "expires_after"),
        ({"seconds": 3600}, "expires_after.anchor"),
        ({"anchor": "created_at"}, "expires_after.seconds"),
        *(({"anchor": "created_at", "seconds": bad}, "expires_after.seconds") for bad in (3599, 2_592_001, True, "-1", "²", 3600.0, "9" * 50)),
    ],
)
def test_wrong_lifetimes(after: object, param: str) -> None:
    """The parameter that is wrong is named."""
    with pytest.raises(RequestError) as refused:
        rules.expiry(after)
    assert refused.value.param == param


def test_usual_lifetimes() -> None:
    """Thirty days for batches, for ever for the rest, unless asked otherwise."""
    assert rules.lifetime_s("batch", None) == 30 * 86_400
    assert rules.lifetime_s("fine-tune", None) is None
    assert rules.lifetime_s("fine-tune", 3600) == 3600


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.jsonl", "a.jsonl"),
        ("/etc/pass wd", "pass wd"),
        ("C:\\x\\y.jsonl", "y.jsonl"),
        ("a\n\0b", "a__b"),
        ("", "upload"),
        (None, "upload"),
        ("ü" * 300, "ü" * 255),
    ],
)
def test_names(sent: str | None, kept: str) -> None:
    """A name, never a path, and nothing that breaks a header."""
    assert rules.base_name(sent) == kept


def test_the_first_lines_of_a_fine_tuning_file() -> None:
    """OpenAI's words with the line and how it begins; empty lines, a mark at the start and a cut last line are no fault; batch files are judged later."""
    for good in (b'{"a": 1}\n\n{"b": 2}\n', b'\xef\xbb\xbf{"a": 1}', b'{"a": "' + b"x" * rules.HEAD_BYTES):
        rules.check_head("fine-tune", good[: rules.HEAD_BYTES])
    for bad, line in ((b'{"a": 1}\n["p"]', 2), (b"hello", 1), (b"\xff\xfe", 1)):
        with pytest.raises(RequestError, match=rf"Line {line} is not a dictionary \(HINT: line starts with:"):
            rules.check_head("fine-tune", bad)
        rules.check_head("batch", bad)
    with pytest.raises(RequestError, match="empty"):
        rules.check_size(0)
