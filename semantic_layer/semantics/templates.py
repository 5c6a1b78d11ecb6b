"""dbt's names for what a query groups and filters by, such as `Dimension('order__status').grain('month')`."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Grain
from semantic_layer.plan.cut import DatePart, coarseness, period_grain
from semantic_layer.plan.names import BY

_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "Dimension": ("name", "entity_path"),
    "TimeDimension": (
        "time_dimension_name", "time_granularity_name", "entity_path", "descending", "date_part_name"
    ),
    "Entity": ("entity_name", "entity_path"),
    "Metric": ("metric_name", "group_by"),
}  # fmt: skip
"""What dbt's functions take, in order; the first is the name."""
_METHODS: Mapping[str, str] = {
    "grain": "time_granularity_name",
    "date_part": "date_part_name",
    "descending": "descending",
}


def field_of(text: str) -> str:
    """The field that a template stands for, as a query names it: `order__ordered_at__month`, `orders by customer`.

    A part of the date goes before a grain, as in dbt. The text is parsed as a Python expression and never run. Raises
    InvalidArgument for any other form.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _unread(text) from error
    chosen: dict[str, ast.expr] = {}
    while isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        if tree.func.attr not in _METHODS or len(tree.args) != 1 or tree.keywords:
            raise _unread(text)
        chosen.setdefault(_METHODS[tree.func.attr], tree.args[0])
        tree = tree.func.value
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.func.id not in _SIGNATURES:
        raise _unread(text)
    given = {**_arguments(tree, _SIGNATURES[tree.func.id], text), **chosen}
    name = _text(given[_SIGNATURES[tree.func.id][0]], text)
    if "group_by" in given:
        entities = _texts(given["group_by"], text)
        return name + BY + ", ".join(entities) if entities else name
    name = "__".join([*(_texts(given["entity_path"], text) if "entity_path" in given else []), name])
    if "date_part_name" in given:
        return f"{name}__extract_{_text(given['date_part_name'], text).casefold()}"
    if "time_granularity_name" in given:
        return f"{name}__{_text(given['time_granularity_name'], text).casefold()}"
    return name


def _arguments(call: ast.Call, signature: tuple[str, ...], text: str) -> dict[str, ast.expr]:
    """What is given for each parameter, None left out; raises InvalidArgument for more, or for one twice."""
    pairs = [*zip(signature, call.args, strict=False), *((one.arg or "", one.value) for one in call.keywords)]
    names = [name for name, _ in pairs]
    if len(call.args) > len(signature) or len(set(names)) < len(names) or not set(names) <= set(signature):
        raise _unread(text)
    if signature[0] not in names:
        raise _unread(text)
    return {name: value for name, value in pairs if not (isinstance(value, ast.Constant) and value.value is None)}


def cut_field(name: str, cut: str) -> str:
    """The field cut to a grain (`month`) or a part of the date (`extract_year`), where a filter's SQL does so.

    Raises InvalidArgument where the field is cut already, to periods that do not lie in those.
    """
    base, _, last = name.rpartition("__")
    have = Grain(last) if base and last in tuple(Grain) else None
    if have is None:
        return f"{name}__{cut}"
    wanted = Grain(cut) if cut in tuple(Grain) else period_grain(DatePart(cut)) or Grain.DAY
    if coarseness(have) <= coarseness(wanted) and not (have is Grain.WEEK and wanted is not Grain.WEEK):
        return f"{base}__{cut}"
    if cut in tuple(Grain) and coarseness(have) > coarseness(wanted):
        return name
    raise InvalidArgument(
        f"{name!r} cannot be cut to {cut} again.", hint="Name the dimension with the grain that is meant."
    )


def _text(node: ast.expr, text: str) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise _unread(text)


def _texts(node: ast.expr, text: str) -> list[str]:
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_text(item, text) for item in node.elts]
    raise _unread(text)


def _unread(text: str) -> InvalidArgument:
    return InvalidArgument(f"the template {text!r} is not read.", hint="Write Dimension('entity__name').")
