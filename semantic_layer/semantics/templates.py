"""dbt's names for what a query groups and filters by, such as `Dimension('order__status').grain('month')`."""

from __future__ import annotations

import ast

from semantic_layer.errors import InvalidArgument
from semantic_layer.plan.names import BY

GROUP_BYS = ("Dimension", "TimeDimension", "Entity")


def field_of(text: str) -> str:
    """The field that a template stands for, as a query names it: `order__ordered_at__month`, `orders by customer`.

    The text is parsed as a Python expression and never run. Raises InvalidArgument for any other form.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _unread(text) from error
    grain = ""
    while isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        if tree.func.attr == "grain":
            grain = _text(tree.args[0], text) if tree.args else ""
        elif tree.func.attr == "date_part":
            grain = "extract_" + (_text(tree.args[0], text) if tree.args else "")
        elif tree.func.attr != "descending":
            raise _unread(text)
        tree = tree.func.value
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or not tree.args:
        raise _unread(text)
    if tree.func.id == "Metric":
        return _metric_by(tree, text)
    if tree.func.id not in GROUP_BYS:
        raise _unread(text)
    name = _text(tree.args[0], text)
    if tree.func.id == "TimeDimension" and len(tree.args) > 1:
        grain = _text(tree.args[1], text)
    for keyword in tree.keywords:
        if keyword.arg == "entity_path":
            name = "__".join([*_texts(keyword.value, text), name])
        elif keyword.arg == "time_granularity_name":
            grain = _text(keyword.value, text)
        elif keyword.arg == "date_part_name":
            grain = "extract_" + _text(keyword.value, text)
        else:
            raise _unread(text)
    return f"{name}__{grain.casefold()}" if grain else name


def _metric_by(tree: ast.Call, text: str) -> str:
    name = _text(tree.args[0], text)
    entities = _texts(tree.args[1], text) if len(tree.args) > 1 else []
    for keyword in tree.keywords:
        if keyword.arg != "group_by":
            raise _unread(text)
        entities = _texts(keyword.value, text)
    return name + BY + ", ".join(entities) if entities else name


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
