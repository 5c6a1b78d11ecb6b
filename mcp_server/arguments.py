"""Closed arguments: what a tool does not know is an error with the near name, never dropped."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails

from mcp_server.references import without_references
from semantic_layer.errors import InvalidArgument, UnknownName

MAX_SHOWN_CHARS = 60
_UNSAID = frozenset({"title", "minLength", "maxLength", "maxItems"})
"""Left out of published schemas, which agents pay for by the byte; lengths are checked all the same.

The first choice of an enum is its default where it has one.
"""


class Arguments(BaseModel):
    """The arguments of one tool. Subclasses declare fields with bounds and short descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        return without_references(cast("Mapping[str, Any]", raw)) if isinstance(raw, Mapping) else raw


Filter = Annotated[dict[str, Any] | list[Any], WithJsonSchema({"type": "object"})]
"""A filter as agents write it: a leaf or a node. A list, which means all of its parts, is taken too."""

_MEANT: Mapping[str, tuple[str, ...]] = {
    "query": ("question", "sql"),
    "q": ("question", "query"),
    "text": ("question", "query"),
    "group_by": ("dimensions",),
    "where": ("filters",),
    "order_by": ("order",),
    "sort": ("order",),
    "fields": ("columns",),
    "select": ("columns",),
    "table": ("dataset",),
    "id": ("key", "ref", "audit_id"),
    "name": ("ref",),
    "uri": ("ref",),
    "search": ("contains", "query"),
    "top_k": ("limit",),
    "page": ("cursor",),
    "statement": ("sql",),
}
"""What agents call an argument that is named otherwise here, as other servers have it."""
_WANTED = {"list_type": "a list", "dict_type": "an object"}

A = TypeVar("A", bound=Arguments)


def parse_arguments(model: type[A], raw: Mapping[str, Any] | None) -> A:
    """The typed arguments. Raises UnknownName or InvalidArgument: one line that says what to change."""
    try:
        return model.model_validate(dict(raw or {}))
    except ValidationError as invalid:
        mistakes = invalid.errors(include_url=False, include_context=True)
        unknown = [one for one in mistakes if one["type"] == "extra_forbidden"]
        if unknown:
            name = str(unknown[0]["loc"][-1])
            raise _unknown(name[:MAX_SHOWN_CHARS], model) from None
        raise InvalidArgument(
            " ".join(_sentence(one) for one in mistakes[:3]), hint="Mend it and call again."
        ) from None


@functools.cache
def input_schema(model: type[Arguments]) -> dict[str, Any]:
    """The model's JSON Schema (2020-12) in its shortest form: closed; no titles, lengths or null alternatives."""
    schema = model.model_json_schema()
    short = cast("dict[str, Any]", _short(schema))
    short.pop("description", None)
    return {"type": "object", **short, "additionalProperties": False}


def _short(node: Any) -> Any:
    if isinstance(node, list):
        return [_short(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    form = cast("dict[str, Any]", node)
    choices = form.get("anyOf")
    if isinstance(choices, list):
        kept = [one for one in cast("list[Any]", choices) if one != {"type": "null"}]
        form = {**form, "anyOf": kept}
        if len(kept) == 1:
            form = {**form, **kept[0]}
            form.pop("anyOf")
    short: dict[str, Any] = {}
    for name, value in form.items():
        if name == "properties":
            short[name] = {key: _short(item) for key, item in cast("dict[str, Any]", value).items()}
        elif (
            name in _UNSAID
            or (name == "default" and value in (None, [], {}, "", False))
            or (name == "type" and "enum" in form)
            or (name == "default" and value == form.get("enum", [None])[0])
            or (name == "additionalProperties" and value is True)
        ):
            continue
        else:
            short[name] = _short(value)
    return short


def _unknown(name: str, model: type[Arguments]) -> UnknownName:
    """The error for an argument that a tool has not got, with the one that others call so."""
    hint = f"Arguments are: {', '.join(model.model_fields)}."
    unknown = UnknownName("argument", name, model.model_fields, hint=hint)
    meant = next((one for one in _MEANT.get(name.casefold(), ()) if one in model.model_fields), "")
    return unknown if unknown.near or not meant else UnknownName("argument", name, hint=f"Say {meant!r}. {hint}")


def _sentence(mistake: ErrorDetails) -> str:
    where = ".".join(str(part) for part in mistake["loc"]) or "the arguments"
    if mistake["type"] == "missing":
        return f"argument {where!r} is required."
    got = repr(mistake["input"])
    shown = got if len(got) <= MAX_SHOWN_CHARS else got[: MAX_SHOWN_CHARS - 1] + "…"
    if mistake["type"] in _WANTED:
        such = f", such as [{json.dumps(mistake['input'])}]" if isinstance(mistake["input"], str) else ""
        listed = mistake["type"] == "list_type" and got == shown
        return f"argument {where!r} must be {_WANTED[mistake['type']]}{such if listed else ''} (got {shown})."
    return f"argument {where!r}: {mistake['msg'][0].lower()}{mistake['msg'][1:]} (got {shown})."
