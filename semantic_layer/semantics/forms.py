"""Parts of the metric model as JSON, and back: how an extension says what Ossie has no words for.

A form leaves out what is its default, where a thing stands, and the columns that its SQL tells anyhow. SQL that
comes back goes through the same allow-list as any other, so a form is no way around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from semantic_layer.errors import InvalidArgument, close_names
from semantic_layer.filter_form import filter_form, parse_filter
from semantic_layer.predicate import Predicate

UNWRITTEN = frozenset({"line", "file", "columns"})
Rebuild = Callable[[type[Any], dict[str, Any]], dict[str, Any]]
"""Given a class and its fields as read, the fields with what the form left out (`columns`) and SQL checked."""


def form_of(value: Any) -> Any:
    """The value in plain JSON. Equal forms mean equal parts, wherever they stand."""
    if isinstance(value, get_args(Predicate)):
        return filter_form(cast("Predicate", value))
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {
            one.name: form_of(getattr(value, one.name))
            for one in fields(value)
            if one.name not in UNWRITTEN and getattr(value, one.name) != default_of(one)
        }
    if isinstance(value, Mapping):
        return {str(key): form_of(one) for key, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (set, frozenset)):
        return sorted(form_of(one) for one in cast("frozenset[Any]", value))
    if isinstance(value, (list, tuple)):
        return [form_of(one) for one in cast("Sequence[Any]", value)]
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def default_of(one: Field[Any]) -> Any:
    """A field's default; MISSING where it must be given."""
    return one.default_factory() if one.default_factory is not MISSING else one.default


@cache
def hints_of(kind: type[Any]) -> Mapping[str, Any]:
    """The type of each field of a dataclass."""
    return get_type_hints(kind)


def part_of(kind: Any, form: Any, rebuild: Rebuild, path: str = "") -> Any:
    """The part of the model that a form states. Raises InvalidArgument naming the path of what does not fit."""
    if kind == Predicate:
        return parse_filter(form)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(inside, form, rebuild, path)
    if origin is Literal:
        return _word(form, [str(one) for one in inside], path)
    if origin is tuple:
        return _several(inside, form, rebuild, path)
    if origin is not None and issubclass(origin, Mapping):
        return dict(_expect(form, Mapping, path))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(_word(form, [one.value for one in kind], path))
    if is_dataclass(kind):
        return _object(cast("type[Any]", kind), form, rebuild, path)
    if kind is float and isinstance(form, int) and not isinstance(form, bool):
        return float(form)
    return form if kind is Any else _expect(form, kind, path)


def _one_of(kinds: Sequence[Any], form: Any, rebuild: Rebuild, path: str) -> Any:
    """A value that may be absent, or one of several plain kinds."""
    if form is None and NoneType in kinds:
        return None
    given = [kind for kind in kinds if kind is not NoneType]
    for kind in given[:-1]:
        try:
            return part_of(kind, form, rebuild, path)
        except InvalidArgument:
            continue
    return part_of(given[-1], form, rebuild, path)


def _several(kinds: Sequence[Any], form: Any, rebuild: Rebuild, path: str) -> tuple[Any, ...]:
    items = _expect(form, list, path)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(part_of(kinds[0], item, rebuild, f"{path}[{at}]") for at, item in enumerate(items))
    if len(items) != len(kinds):
        raise InvalidArgument(f"`{path}` takes {len(kinds)} values.")
    return tuple(
        part_of(kind, item, rebuild, f"{path}[{at}]")
        for at, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _object(kind: type[Any], form: Any, rebuild: Rebuild, path: str) -> Any:
    given = _expect(form, Mapping, path)
    hints = hints_of(kind)
    read = {
        key: part_of(_hint(hints, key, path), one, rebuild, f"{path}.{key}".lstrip("."))
        for key, one in given.items()
    }
    built = rebuild(kind, read)
    absent = [
        one.name
        for one in fields(kind)
        if one.name not in built and one.default is MISSING and one.default_factory is MISSING
    ]
    if absent:
        raise InvalidArgument(f"`{path}` needs `{absent[0]}`.")
    return kind(**built)


def _hint(hints: Mapping[str, Any], key: str, path: str) -> Any:
    known = [name for name in hints if name not in UNWRITTEN]
    if key not in known:
        near = close_names(key, known)
        raise InvalidArgument(
            f"`{path}` has no key {key!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else "The keys are " + ", ".join(known) + ".",
        )
    return hints[key]


def _word(form: Any, words: Sequence[str], path: str) -> str:
    if form not in words:
        near = close_names(str(form), words) or tuple(words)
        raise InvalidArgument(f"`{path}` cannot be {form!r}.", hint="Use one of " + ", ".join(near) + ".")
    return str(form)


def _expect(form: Any, kind: Any, path: str) -> Any:
    if not isinstance(form, kind) or (isinstance(form, bool) and kind is not bool):
        raise InvalidArgument(f"`{path}` cannot be {form!r}.")
    return form
