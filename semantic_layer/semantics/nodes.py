"""Nodes of one form made out of another's, each on the line of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from semantic_layer.semantics.extension import VENDOR
from semantic_layer.yaml_file import Node


def made(place: Node, value: Any) -> Node:
    """The value as nodes on the line of `place`; nodes in it keep their own, and what is None is left out."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Mapping):
        return Node(
            place.file, place.line, {key: made(place, one) for key, one in value.items() if one is not None}
        )
    if isinstance(value, (list, tuple)):
        return Node(place.file, place.line, tuple(made(place, one) for one in value))
    return Node(place.file, place.line, value)


def listed(node: Node, key: str) -> list[Node]:
    """The mappings in the list under a key; none where there is no list."""
    child = node.get(key)
    return [one for one in (child.items if child is not None else None) or () if one.mapping is not None]


def given(node: Node, key: str) -> bool:
    """Whether a key is there with a value."""
    child = node.get(key)
    return child is not None and child.value is not None


def text_of(node: Node, key: str) -> str:
    """The text under a key, numbers too; empty where there is none."""
    child = node.get(key)
    return str(child.value) if child is not None and isinstance(child.value, (str, int, float)) else ""


def names_of(node: Node, key: str) -> list[str]:
    """The texts in the list under a key."""
    child = node.get(key)
    return [str(one.value) for one in (child.items if child is not None else None) or () if one.value is not None]


def extensions(node: Node, own: Mapping[str, Any], vendor: str, read: Collection[str]) -> list[dict[str, str]]:
    """The extensions of a part: ours with what it says, and the vendor's with every key that was not read."""
    said = {key: value for key, value in own.items() if value not in (None, "", [], {})}
    rest = {key: child.plain() for key, child in (node.mapping or {}).items() if key not in read}
    return [
        {"vendor_name": name, "data": json.dumps(data, ensure_ascii=False)}
        for name, data in ((VENDOR, said), (vendor, rest))
        if data
    ]


def described(node: Node, *, comment: str = "description") -> dict[str, Any]:
    """A part's description and synonyms where Ossie has them."""
    words = names_of(node, "synonyms")
    context = {"synonyms": words} if words else None
    return {"description": text_of(node, comment) or None, "ai_context": context}


def expression(text: str, dialect: str) -> dict[str, Any]:
    """An expression in one dialect."""
    return {"dialects": [{"dialect": dialect, "expression": text}]}


def several(place: Node, items: Iterable[Node]) -> Node:
    """The nodes as a list on the line of `place`."""
    return Node(place.file, place.line, tuple(items))
