"""router.naming: what `model` means, in the design's order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.naming import Target, backend_name, parse, parse_digest, parse_version, valid_name
from router.types import Kind

ROUTES = {"support-triage", "gpt-4o-mini"}
FT = {"ft:local:acme::abc": "local/support-triage@2", "ft:gone": "removed/x@1"}
LISTED = {"openai": ("gpt-4o", "ft:gpt-4o-mini:acme::1", "local/odd"), "azure": ("gpt-4o", "text-1"), "any": ("*",)}
OWNERS: dict[str, Kind] = {"openai": "hosted", "azure": "hosted", "any": "hosted", "local": "local"}
DIGEST = "ab" * 32


def meaning(name: str, listed: dict[str, tuple[str, ...]] | None = None) -> Target | None:
    """The target of a name under the sample configuration."""
    return parse(name, ROUTES, FT, LISTED if listed is None else listed, OWNERS)


def hosted(owner: str, model: str) -> Target:
    """A pinned hosted candidate."""
    return Target("candidate", owner=owner, owner_kind="hosted", model=model)


def local(**fields: object) -> Target:
    """A pinned candidate of the sample engine."""
    return Target("candidate", owner="local", owner_kind="local", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("support-triage", Target("route", route="support-triage")),
        ("gpt-4o-mini", Target("route", route="gpt-4o-mini")),
        ("ft:local:acme::abc", local(adapter="support-triage", version=2, answer_as="ft:local:acme::abc")),
        ("ft:gone", None),
        ("ft:gpt-4o-mini:acme::1", hosted("openai", "ft:gpt-4o-mini:acme::1")),
        ("gpt-4o", hosted("openai", "gpt-4o")),
        ("text-1", hosted("azure", "text-1")),
        ("local/odd", hosted("openai", "local/odd")),
        ("azure/gpt-4o", hosted("azure", "gpt-4o")),
        ("openai/org/model", hosted("openai", "org/model")),
        ("local", local()),
        ("local/support-triage", local(adapter="support-triage")),
        ("local/support-triage@3", local(adapter="support-triage", version=3)),
        (f"local/support-triage@sha256:{DIGEST}", local(adapter="support-triage", digest=DIGEST)),
        ("openai", None),
        ("openai/", None),
        ("local/", None),
        ("local/a b", None),
        ("local/a@0", None),
        ("local/a@latest", None),
        ("local/../etc@1", None),
        ("brand-new-model", hosted("any", "brand-new-model")),
        ("meta-llama/Llama-3", hosted("any", "meta-llama/Llama-3")),
        ("*", hosted("any", "*")),
        ("", None),
    ],
)
def test_a_name_means_the_first_thing_it_matches(name: str, target: Target | None) -> None:
    """Route, ft name, listed model, owner grammar, wildcard: in this order."""
    assert meaning(name) == target


def test_without_a_wildcard_an_unknown_model_is_not_found() -> None:
    """Nothing lists it: the caller answers 404."""
    assert meaning("brand-new-model", {"openai": ("gpt-4o",)}) is None
    assert meaning("meta-llama/Llama-3", {"openai": ("gpt-4o",)}) is None


def test_only_a_route_leaves_the_choice_to_the_router() -> None:
    """Everything but a route is pinned."""
    route, engine = meaning("support-triage"), meaning("local")
    assert route is not None
    assert engine is not None
    assert not route.pinned
    assert engine.pinned


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(names, st.none() | st.integers(1, 10**8))
def test_backend_names_read_back(adapter: str, version: int | None) -> None:
    """What backend_name writes, parse understands."""
    got = parse(backend_name("local", adapter, version), (), {}, {}, OWNERS)
    assert got == local(adapter=adapter, version=version)


def test_backend_names_are_written_one_way() -> None:
    """The four public forms."""
    assert backend_name("local") == "local"
    assert backend_name("openai", "gpt-4o-mini") == "openai/gpt-4o-mini"
    assert backend_name("local", "t") == "local/t"
    assert backend_name("local", "t", 3) == "local/t@3"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("A.b-c_9", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("-a", False),
        ("..", False),
        ("a/b", False),
        ("a@1", False),
        ("a\n", False),
        ("ä", False),
    ],
)
def test_names_are_safe_in_paths_and_labels(name: str, good: bool) -> None:
    """No slash, no @, no dots first, nothing that is not ASCII."""
    assert valid_name(name) is good


def test_versions_count_from_one_and_digests_are_whole() -> None:
    """`03`, `0` and half a digest are no versions."""
    assert [parse_version(text) for text in ("1", "42", "0", "03", "-1", "x", "1\n")] == [1, 42, None, None, None, None, None]
    assert parse_digest(DIGEST) == DIGEST
    assert parse_digest(f"sha256:{DIGEST}") == DIGEST
    assert parse_digest(DIGEST[:40]) is None
