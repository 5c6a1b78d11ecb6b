"""Reads a YAML file into nodes that remember their line, so that every mistake can name where it stands.

The rules are YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): `no`, `on` and `12:30` are
text, dates stay text in ISO form. Tags, merge keys, duplicate keys, recursive aliases and files past a bound are
refused, so a product folder from a stranger can be read safely. JSON is YAML here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from semantic_layer.errors import InvalidWorkspace, Problem

MAX_BYTES = 8_000_000
MAX_NODES = 400_000
MAX_DEPTH = 64

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Node:
    """A value of a file with its line: a scalar, a tuple of nodes, or a mapping from text to nodes.

    In a mapping, a child's line is its key's line; an item of a list has its own.
    """

    file: str
    line: int
    value: str | int | float | bool | tuple[Node, ...] | Mapping[str, Node] | None

    @property
    def mapping(self) -> Mapping[str, Node] | None:
        """The children by key, or None where this is no mapping."""
        return self.value if isinstance(self.value, Mapping) else None

    @property
    def items(self) -> tuple[Node, ...] | None:
        """The items, or None where this is no list."""
        return self.value if isinstance(self.value, tuple) else None

    def get(self, key: str) -> Node | None:
        """The child under a key, or None."""
        return self.mapping.get(key) if self.mapping is not None else None

    def at(self, *path: str | int) -> Node:
        """The node under a path, or the deepest one on the way to it."""
        node = self
        for step in path:
            if isinstance(step, int):
                items = node.items
                child = items[step] if items is not None and -len(items) <= step < len(items) else None
            else:
                child = node.get(step)
            if child is None:
                return node
            node = child
        return node

    def plain(self) -> Any:
        """The value without lines, as `json.loads` would give it."""
        if self.mapping is not None:
            return {key: child.plain() for key, child in self.mapping.items()}
        if self.items is not None:
            return [child.plain() for child in self.items]
        return self.value

    def problem(self, message: str, suggestion: str = "") -> Problem:
        """A mistake that stands here."""
        return Problem(self.file, self.line, message, suggestion)


def read_yaml(path: Path, *, shown_as: str = "") -> Node:
    """The one document of a YAML or JSON file; `shown_as` is how problems name the file.

    Raises InvalidWorkspace with every mistake of form: unreadable, not UTF-8, too large, syntax, duplicate keys …
    """
    shown = shown_as or str(path)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        problem = Problem(
            shown, 1, f"the file cannot be read ({error.strerror}).", "Check its path and permissions."
        )
        raise InvalidWorkspace([problem]) from error
    if size > MAX_BYTES:
        problem = Problem(shown, 1, f"the file is larger than {MAX_BYTES // 1_000_000} MB.", "Split it.")
        raise InvalidWorkspace([problem])
    return parse_yaml(content, shown_as=shown)


def parse_yaml(content: bytes | str, *, shown_as: str = "<text>") -> Node:
    """The one document in this text. Raises InvalidWorkspace as `read_yaml` does."""
    if isinstance(content, bytes):
        content = _decoded(content, shown_as)
    if content.lstrip().startswith(("{", "[")):
        content = _SURROGATES.sub(_joined, content)
    builder = _Builder(shown_as)
    try:
        node = builder.document(yaml.parse(content, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidWorkspace(
            [Problem(shown_as, line, f"not YAML: {said}.", "Check indentation and quotes.")]
        ) from error
    except yaml.YAMLError as error:
        said = str(error).splitlines()[0]
        raise InvalidWorkspace(
            [Problem(shown_as, 1, f"not YAML: {said}.", "Remove control characters.")]
        ) from error
    if builder.problems:
        raise InvalidWorkspace(builder.problems)
    return node


def reads_as_text(text: str) -> bool:
    """Whether these characters, without quotes, are text and not a number, a truth value or null."""
    return text not in _WORDS and not any(kind.fullmatch(text) for kind in (_INTEGER, _FLOAT, _INFINITE))


def _joined(pair: re.Match[str]) -> str:
    """JSON writes a character past U+FFFF as two escapes, which YAML does not read."""
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _decoded(content: bytes, shown_as: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(shown_as, line, f"byte 0x{content[error.start]:02x} is not UTF-8.", "Save it as UTF-8.")
        raise InvalidWorkspace([problem]) from error


@dataclass
class _Builder:
    """Turns parse events into nodes without recursion limits of the C composer; counts what aliases repeat."""

    file: str
    problems: list[Problem] = field(default_factory=list[Problem])
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict[str, tuple[Node, int]])
    count: int = 0

    def document(self, events: Iterator[Any]) -> Node:
        root = Node(self.file, 1, None)
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fatal(event, "a second document starts here.", "Keep one document in a file.")
            elif isinstance(event, yaml.NodeEvent):
                root = self.node(event, events, 0)
        return root

    def node(self, event: Any, events: Iterator[Any], depth: int, line: int = 0) -> Node:
        """The node that this event starts; `line` is its key's line inside a mapping."""
        line = line or event.start_mark.line + 1
        self.counted(event, 1)
        if depth > MAX_DEPTH:
            raise self.fatal(event, f"nested deeper than {MAX_DEPTH}.", "Flatten it.")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, line)
        if event.tag not in (None, "!"):
            self.wrong(event, f"the tag {event.tag!r} is not read.", "Remove the tag; values are plain YAML 1.2.")
        before = self.count
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self.file, line, self.scalar(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self.file, line, self.sequence(events, depth))
        else:
            node = Node(self.file, line, self.children(events, depth))
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.count - before + 1)
        return node

    def alias(self, event: Any, line: int) -> Node:
        if event.anchor not in self.anchors:
            raise self.fatal(event, f"the alias *{event.anchor} stands for nothing that is complete here.")
        node, size = self.anchors[event.anchor]
        self.counted(event, size)
        return Node(self.file, line, node.value)

    def scalar(self, event: Any) -> str | int | float | bool | None:
        text = str(event.value)
        if event.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.fullmatch(text) or _INFINITE.fullmatch(text):
            return float(text.casefold().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def sequence(self, events: Iterator[Any], depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(event, events, depth + 1))
        return tuple(items)

    def children(self, events: Iterator[Any], depth: int) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                raise self.fatal(event, "a key must be text.", "Put the key in quotes.")
            key = str(event.value)
            if key == "<<" and not event.style:
                self.wrong(event, "merge keys (<<) are not YAML 1.2.", "Write the keys out.")
            if key in found:
                self.wrong(event, f"the key {key!r} stands twice (first at line {found[key].line}).", "Keep one.")
            found[key] = self.node(next(events), events, depth + 1, line)
        return found

    def counted(self, event: Any, nodes: int) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            raise self.fatal(event, f"more than {MAX_NODES} values, aliases counted in full.", "Split the file.")

    def wrong(self, event: Any, message: str, suggestion: str) -> None:
        self.problems.append(Problem(self.file, event.start_mark.line + 1, message, suggestion))

    def fatal(self, event: Any, message: str, suggestion: str = "") -> InvalidWorkspace:
        self.wrong(event, message, suggestion)
        return InvalidWorkspace(self.problems)
