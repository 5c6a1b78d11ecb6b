"""A mapping of a file while it is being read: values by type, every mistake collected, no key ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from semantic_layer.errors import Problem, close_names
from semantic_layer.yaml_file import Node

_Choice = TypeVar("_Choice", bound=str)


@dataclass
class Section:
    """Reads one mapping. Each reader gives its default where the key is absent or wrong, and notes what is wrong.

    `known` are the keys that may stand here; any other is a problem with a suggestion. `what` names the section
    in messages. `problems` is shared by a whole file.
    """

    node: Node
    known: Iterable[str]
    what: str
    problems: list[Problem] = field(default_factory=list[Problem])

    def __post_init__(self) -> None:
        if self.node.mapping is None:
            if self.node.value is not None:
                self.wrong(f"{self.what} must be a mapping, not {_shown(self.node)}.")
            return
        known = tuple(self.known)
        for key, child in self.node.mapping.items():
            if key not in known:
                self.problems.append(unknown_key(child, key, known, self.what))

    def node_of(self, key: str) -> Node | None:
        """The node under a key; None where it is absent or null."""
        child = self.node.get(key)
        return None if child is None or child.value is None else child

    def wrong(self, message: str, suggestion: str = "", *, key: str = "") -> None:
        """Note a mistake at a key's line, or at the section's own."""
        self.problems.append((self.node.get(key) or self.node).problem(message, suggestion))

    def required(self, *keys: str) -> bool:
        """Whether all these keys stand here; each absent one is noted."""
        absent = [key for key in keys if self.node_of(key) is None]
        for key in absent:
            self.wrong(f"{self.what} needs `{key}`.", f"Add `{key}:`.", key=key)
        return not absent

    def text(self, key: str, default: str = "") -> str:
        child = self.node_of(key)
        if child is None:
            return default
        if isinstance(child.value, str):
            return child.value
        self._expected(child, key, "text", 'Put it in quotes: "…".')
        return default

    def flag(self, key: str, default: bool = False) -> bool:
        child = self.node_of(key)
        if child is None:
            return default
        if isinstance(child.value, bool):
            return child.value
        self._expected(child, key, "true or false", "Write true or false (yes and no are text in YAML 1.2).")
        return default

    def integer(self, key: str, default: int = 0, *, low: int | None = None, high: int | None = None) -> int:
        child = self.node_of(key)
        if child is None:
            return default
        value = child.value
        if isinstance(value, bool) or not isinstance(value, int):
            self._expected(child, key, "a whole number")
            return default
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"from {low} to {high}" if high is not None else f"at least {low}"
            self._expected(child, key, bounds)
            return default
        return value

    def number(self, key: str, default: float | None = None) -> float | None:
        child = self.node_of(key)
        if child is None:
            return default
        if isinstance(child.value, (int, float)) and not isinstance(child.value, bool):
            return child.value
        self._expected(child, key, "a number")
        return default

    def choice(self, key: str, choices: Iterable[_Choice], default: _Choice) -> _Choice:
        """One of these words; another is a problem that lists them."""
        child = self.node_of(key)
        allowed = {str(choice): choice for choice in choices}
        if child is None:
            return default
        if isinstance(child.value, str) and child.value in allowed:
            return allowed[child.value]
        near = close_names(str(child.value), allowed)
        suggestion = f"Did you mean {near[0]!r}?" if near else "Use one of " + ", ".join(allowed) + "."
        self.problems.append(child.problem(f"`{key}` cannot be {_shown(child)}.", suggestion))
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one text standing for a list of one."""
        child = self.node_of(key)
        return () if child is None else tuple(str(item.value) for item in self.text_nodes(key))

    def text_nodes(self, key: str) -> tuple[Node, ...]:
        """The items of a list of texts, with their lines."""
        child = self.node_of(key)
        if child is None:
            return ()
        items = child.items if child.items is not None else (child,)
        for item in items:
            if not isinstance(item.value, str):
                self._expected(item, key, "a list of texts", "Write [a, b].")
        return tuple(item for item in items if isinstance(item.value, str))

    def nodes(self, key: str) -> tuple[Node, ...]:
        """The items of a list."""
        child = self.node_of(key)
        if child is None:
            return ()
        if child.items is None:
            self._expected(child, key, "a list", "Start each item with `- `.")
            return ()
        return child.items

    def section(self, key: str, known: Iterable[str]) -> Section:
        """The mapping under a key, read in its turn; an empty one where the key is absent."""
        child = self.node_of(key) or Node(self.node.file, self.node.line, None)
        return Section(child, known, f"`{key}`", self.problems)

    def sections(self, key: str, known: Iterable[str], what: str) -> list[Section]:
        """The mappings of a list, each read in its turn."""
        return [Section(item, known, what, self.problems) for item in self.nodes(key)]

    def _expected(self, child: Node, key: str, form: str, suggestion: str = "") -> None:
        self.problems.append(child.problem(f"`{key}` must be {form}, not {_shown(child)}.", suggestion))


def unknown_key(node: Node, key: str, known: Iterable[str], what: str) -> Problem:
    """The problem of a key that may not stand here, with the nearest one that may."""
    known = tuple(known)
    near = close_names(key, known)
    suggestion = f"Did you mean {near[0]!r}?" if near else "Known keys: " + ", ".join(known) + "."
    return node.problem(f"{what} has no key {key!r}.", suggestion)


def unknown_name(node: Node, kind: str, asked: str, known: Iterable[str]) -> Problem:
    """The problem of a name that does not exist, with the nearest ones that do."""
    known = tuple(known)
    near = close_names(asked, known)
    listed = ", ".join(sorted(known)[:12])
    suggestion = f"There are: {listed}." if listed else ""
    if near:
        suggestion = "Did you mean " + " or ".join(map(repr, near)) + "?"
    return node.problem(f"no {kind} {asked!r}.", suggestion)


def _shown(node: Node) -> str:
    if isinstance(node.value, Mapping):
        return "a mapping"
    if isinstance(node.value, tuple):
        return "a list"
    return {True: "true", False: "false"}[node.value] if isinstance(node.value, bool) else repr(node.value)
