"""dbt's names for what a query groups and filters by, such as `Dimension('order__status').grain('month')`."""

from __future__ import annotations

import ast
import re

from semantic_layer.errors import InvalidArgument

GROUP_BYS = ("Dimension", "TimeDimension", "Entity")


_METRIC = re.compile(r"\{\{\s*Metric\(")


def names_metric(filter_text: str) -> bool:
    """Whether a filter looks at a metric's value per entity, which is read and not computed yet."""
    return _METRIC.search(filter_text) is not None


def field_of(text: str) -> str:
    """The field that a template stands for, as a query names it: `order__ordered_at__month`.

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
        elif tree.func.attr != "descending":
            raise _unread(text)
        tree = tree.func.value
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or not tree.args:
        raise _unread(text)
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
        else:
            raise _unread(text)
    return f"{name}__{grain}" if grain else name


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
