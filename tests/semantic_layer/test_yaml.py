"""What a person may write in a YAML file, and what they are told when it cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.errors import InvalidWorkspace
from semantic_layer.yaml_file import MAX_BYTES, Node, parse_yaml, read_yaml

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


def said(content: bytes | str) -> list[str]:
    with pytest.raises(InvalidWorkspace) as raised:
        parse_yaml(content, shown_as="f.yaml")
    return [str(problem) for problem in raised.value.problems]


@given(PLAIN)
def test_json_reads_as_json_does(value: Any) -> None:
    text = json.dumps({"value": value})
    assert parse_yaml(text).plain() == json.loads(text)


@given(PLAIN)
def test_json_with_letters_of_every_script_reads_as_json_does(value: Any) -> None:
    text = json.dumps([value], ensure_ascii=False, indent=2)
    assert parse_yaml(text).plain() == [value]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_both_parsers_of_the_library_give_the_same_nodes(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semantic_layer.yaml_file._LOADER", loader)
    node = parse_yaml('a: no\nb: [1, "1", 1e-6, ~]\n"<<": x\n')
    assert node.plain() == {"a": "no", "b": [1, "1", 1e-6, None], "<<": "x"}


def test_words_and_times_stay_text_as_in_yaml_1_2() -> None:
    plain = parse_yaml("[no, on, 12:30, 2025-01-01, '5']").plain()
    assert plain == ["no", "on", "12:30", "2025-01-01", "5"]


def test_numbers_are_those_of_yaml_1_2() -> None:
    *numbers, not_a_number = parse_yaml("[0o17, 0x1F, 1e3, 1e-6, -.5, .inf, .nan]").plain()
    assert numbers == [15, 31, 1000.0, 1e-6, -0.5, math.inf]
    assert math.isnan(not_a_number)


def test_every_node_knows_its_line() -> None:
    node = parse_yaml("a: 1\nb:\n  - x\n  - y: >\n      long\n      text\n    z: 3\n")
    assert (node.at("a").line, node.at("b").line, node.at("b", 1, "y").line, node.at("b", 1, "z").line) == (
        1,
        2,
        4,
        7,
    )


def test_all_duplicate_keys_tags_and_merge_keys_are_named_at_once() -> None:
    assert said("a: 1\na: 2\nb: !!python/object:os.system x\n<<: {c: 1}\n") == [
        "f.yaml:2: the key 'a' stands twice (first at line 1). Keep one.",
        "f.yaml:3: the tag 'tag:yaml.org,2002:python/object:os.system' is not read. "
        "Remove the tag; values are plain YAML 1.2.",
        "f.yaml:4: merge keys (<<) are not YAML 1.2. Write the keys out.",
    ]


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        ("a: [1, 2\nb: 3", 2, "not YAML"),
        ("a:\n\t- 1", 2, "not YAML"),
        (b"a: 1\nb: \xe4", 2, "byte 0xe4 is not UTF-8"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("? [a]\n: 1", 1, "a key must be text"),
        ("a: \x01", 1, "not YAML"),
        ("a: *gone", 1, "alias *gone"),
        ("a: &x [*x]", 1, "alias *x"),
        ("- " * 5000 + "a", 1, "nested deeper"),
        ("[" * 5000, 1, "nested deeper"),
        ("{a: " * 5000, 1, "nested deeper"),
        ("a: !!str 1", 1, "the tag"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(content: bytes | str, line: int, part: str) -> None:
    (problem,) = said(content)
    assert problem.startswith(f"f.yaml:{line}: ")
    assert part in problem


def test_aliases_that_grow_without_end_are_refused_before_they_grow() -> None:
    layers = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (problem,) = said("\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *layers]))
    assert "aliases counted in full" in problem


def test_an_alias_stands_for_its_value_with_its_own_line() -> None:
    node = parse_yaml("a: &x {k: 1}\nb: *x\n")
    assert node.at("b") == Node("<text>", 2, node.at("a").value)


def test_a_file_that_is_absent_or_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkspace, match=r"gone\.yaml:1: the file cannot be read"):
        read_yaml(tmp_path / "gone.yaml", shown_as="gone.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InvalidWorkspace, match="larger than 8 MB"):
        read_yaml(large)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1").plain() == {"a": 1}
