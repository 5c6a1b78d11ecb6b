"""What an Ossie file says beyond the model: unknown keys, other vendors' extensions, other dialects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, cast

from semantic_layer.metric import SemanticModel
from semantic_layer.semantics.extension import VENDOR
from semantic_layer.yaml_file import Node

DIALECTS = "dialects"
DOCUMENT = "document"
READ: Mapping[str, Collection[str]] = {
    "document": ("version", "semantic_model"),
    "model": ("version", "name", "description", "datasets", "relationships", "metrics"),
    "dataset": ("name", "source", "primary_key", "unique_keys", "description", "fields"),
    "field": ("name", "expression", "dimension", "label", "description", "datatype"),
    "relationship": ("name", "from", "to", "from_columns", "to_columns"),
    "metric": ("name", "expression", "description"),
}
"""The keys of each part that the model holds in full. `ai_context` and `custom_extensions` it holds in part."""


def kept_of(part: str, node: Node, *, said: str = "synonyms", dialect: str = "") -> dict[str, Any]:
    """What a part of an Ossie file says that the model does not hold; `kept_into` writes it back.

    `said` is the key of `ai_context` that the model holds, `dialect` the one whose expression it read.
    """
    kept = {
        key: child.plain()
        for key, child in (node.mapping or {}).items()
        if key not in READ[part] and key not in ("ai_context", "custom_extensions")
    }
    kept |= _context(node, said) | _foreign(node) | _dialects(node, dialect)
    dimension = node.get("dimension")
    if part == "field" and dimension is not None:
        more = {key: child.plain() for key, child in (dimension.mapping or {}).items() if key != "is_time"}
        kept |= {"dimension": more} if more else {}
    return kept


def _context(node: Node, said: str) -> dict[str, Any]:
    context = node.get("ai_context")
    if context is None or context.value is None:
        return {}
    if context.mapping is None:
        return {} if said == "instructions" else {"ai_context": context.plain()}
    rest = {key: child.plain() for key, child in context.mapping.items() if key != said}
    return {"ai_context": rest} if rest else {}


def _foreign(node: Node) -> dict[str, Any]:
    listed = node.get("custom_extensions")
    others = [
        one.plain() for one in (listed.items if listed else None) or () if one.at("vendor_name").value != VENDOR
    ]
    return {"custom_extensions": others} if others else {}


def _dialects(node: Node, read: str) -> dict[str, Any]:
    offered = node.get("expression")
    listed = offered.get(DIALECTS) if offered is not None else None
    others = [
        one.plain()
        for one in (listed.items if listed else None) or ()
        if one.at("dialect").value != "ANSI_SQL" or read != "ANSI_SQL"
    ]
    return {DIALECTS: others} if others else {}


def kept_keys(model: SemanticModel) -> dict[str, int]:
    """What is kept for others and used by nothing here: `VENDOR key`, or the bare key, and in how many parts."""
    found: Counter[str] = Counter()
    parts = [model, *model.datasets, *model.relationships, *model.metrics]
    parts += [one for dataset in model.datasets for one in dataset.dimensions]
    for part in parts:
        for key, value in part.kept.items():
            if key == "custom_extensions":
                found.update(name for one in _listed(value) for name in _extended(one))
            elif key != DIALECTS:
                found[key] += 1
    return dict(sorted(found.items()))


def _extended(extension: Any) -> list[str]:
    """The keys inside another vendor's extension, each after the vendor's name; the name alone where it is no JSON."""
    form = cast("dict[str, Any]", extension) if isinstance(extension, dict) else {}
    vendor = str(form.get("vendor_name", ""))
    try:
        data = json.loads(str(form.get("data", "")))
    except ValueError:
        return [vendor]
    return [f"{vendor} {key}" for key in cast("dict[str, Any]", data)] if isinstance(data, dict) else [vendor]


def kept_into(form: dict[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The written part with what was kept of it, each thing at its own place."""
    merged = dict(form)
    for key, value in kept.items():
        there = merged.get(key)
        if key == DIALECTS:
            merged["expression"] = {DIALECTS: [*_listed(merged["expression"][DIALECTS]), *_listed(value)]}
        elif isinstance(there, dict) and isinstance(value, Mapping):
            merged[key] = {**cast("dict[str, Any]", there), **cast("Mapping[str, Any]", value)}
        elif isinstance(there, list):
            merged[key] = [*_listed(cast("Any", there)), *_listed(value)]
        elif key not in (DOCUMENT, *merged):
            merged[key] = value
    return merged


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]
