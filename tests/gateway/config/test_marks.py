"""What YAML text becomes, and that every fault in it has its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.marks import MAX_DEPTH, Node, Tree, parse, resolve


def plain(node: Node | None) -> object:
    """Python values of a tree."""
    value = None if node is None else node.value
    if isinstance(value, dict):
        return {key: plain(entry.node) for key, entry in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def faults(tree: Tree) -> list[tuple[int, str]]:
    """Line and message of each fault."""
    return [(fault.line, fault.message) for fault in tree.faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8080", 8080),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("2.50", 2.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"),
        ("1_000", "1_000"),
        ("9" * 40, float("9" * 40)),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    """Words, sexagesimals and dates stay text; numbers keep their type."""
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quotes_make_text() -> None:
    """A quoted number is text, a block scalar too."""
    assert plain(parse('a: "8080"\nb: |\n  1\n').root) == {"a": "8080", "b": "1\n"}


def test_every_node_knows_its_line() -> None:
    """Keys and values keep the line they stand on."""
    root = parse("a: 1\nb:\n  - x\n  - c: 2\n").root
    assert root is not None
    assert isinstance(root.value, dict)
    assert root.value["b"].line == 2
    inner = root.value["b"].node.value
    assert isinstance(inner, list)
    assert [item.line for item in inner] == [3, 4]


def test_duplicate_keys_are_faults_and_the_first_stays() -> None:
    """A second key of the same name names the line of the first."""
    tree = parse("a: 1\nb: 2\na: 3\n")
    assert plain(tree.root) == {"a": 1, "b": 2}
    assert faults(tree) == [(3, "the key 'a' is here a second time (first on line 1): keep one")]


def test_anchors_aliases_and_merges_work() -> None:
    """Written keys win over merged ones, earlier merges over later ones."""
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\nw: {<<: *x}\nv: *x\n"
    tree = parse(text)
    assert tree.faults == []
    root = plain(tree.root)
    assert isinstance(root, dict)
    assert root["z"] == {"a": 3, "b": 1, "c": 2}
    assert root["w"] == root["v"] == {"a": 1, "b": 1}


def test_an_alias_inside_its_own_anchor_is_a_fault_not_a_loop() -> None:
    """Recursive aliases end, in mappings, lists and merges."""
    for text in ("a: &a\n  b: *a\n", "a: &a [1, *a]\n", "a: &a\n  <<: *a\n"):
        found = faults(parse(text))
        assert found[0][1] == "*a stands inside &a and would contain itself"


def test_an_alias_without_anchor_is_a_fault() -> None:
    """It is reported with the rest of the file, which is still read."""
    tree = parse("a: *gone\nb: 1\nb: 2\n")
    assert [line for line, _ in faults(tree)] == [1, 3]
    assert "write &gone before" in tree.faults[0].message


def test_a_bomb_of_aliases_stays_small() -> None:
    """Ten levels of ten aliases each are read in no time: nodes are shared."""
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    assert parse("\n".join(lines)).faults == []


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: [1\nb: 2\n", 2, "is not valid YAML"),
        ("a:\n\t- b\n", 2, "spaces, not tabs"),
        ("a: b: c\n", 1, "indentation"),
        ("a: 1\n---\nb: 2\n", 2, "one document per file"),
        ("a: 1\nb: \x01\n", 2, "control character"),
        ("a: !!python/object:os.system x\n", 1, "tag"),
        ("a: !thing {b: 1}\n", 1, "tag"),
        ("? [a, b]\n: 1\n", 1, "plain word"),
        ("<<: 5\n", 1, "followed by an alias"),
        ("a: !!int b\n", 1, "does not fit"),
        ("[" * (MAX_DEPTH + 5), 1, "levels deep"),
        ('a: "\n', 2, "is not valid YAML"),
    ],
)
def test_faults_have_a_line_and_say_what_to_do(text: str, line: int, part: str) -> None:
    """Syntax errors, strange tags, keys and depths are faults with a place."""
    tree = parse(text)
    assert [fault.line for fault in tree.faults] == [line]
    assert part in tree.faults[0].message


def test_standard_tags_are_understood() -> None:
    """`!!str 1` is text and `!!int 1` a number."""
    assert plain(parse("a: !!str 1\nb: !!int 1\nc: !!float 1\nd: !!map {}\ne: !!seq []\nf: !!null ''\n").root) == {
        "a": "1",
        "b": 1,
        "c": 1,
        "d": {},
        "e": [],
        "f": None,
    }


@given(st.text(alphabet="ab: -[]{}&*!#\"'\n\t$|>%@<,?0", max_size=80))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    """Whatever is in the file, the answer is a tree or faults with lines, never an exception."""
    tree = parse(text)
    assert tree.root is not None or tree.faults or not text.strip() or text.lstrip().startswith(("#", "-", "%", "."))
    assert all(fault.line >= 1 for fault in tree.faults)
