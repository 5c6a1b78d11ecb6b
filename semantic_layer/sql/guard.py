"""Reads one statement that a caller wrote and refuses by name whatever is not plain reading."""

from __future__ import annotations

import logging

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.sql.guard_functions import (
    CLOCKS,
    JOINS,
    MAX_PATTERN,
    NODES,
    PARTS,
    PATTERNS,
    SCALARS,
    TYPES,
)

MAX_LENGTH = 10_000
MAX_NODES = 4_000
RULE = "sql_allow_list"
_STATEMENTS = "Write one SELECT over `product.dataset`; `describe` lists datasets and columns."
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings quote the statement, which no log should hold


def read_statement(text: str) -> exp.Query:
    """The one query in this text, of allowed parts only.

    Raises InvalidArgument where it is no SQL or too long, Refused (rule `sql_allow_list`) for any other statement and
    for the first clause, function, type or form that is not allowed.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(
            f"the statement is longer than {MAX_LENGTH} characters.", hint="Ask for less at once."
        )
    try:
        trees = [tree for tree in sqlglot.parse(text, read="duckdb") if tree is not None]
        nodes = sum(1 for tree in trees for _ in tree.walk())
    except RecursionError:
        raise InvalidArgument(
            "the statement is nested too deeply.", hint="Use common table expressions."
        ) from None
    except SqlglotError as error:
        said = str(error).splitlines()[0].split(". Line")[0].rstrip(".")
        raise InvalidArgument(f"the statement is not SQL: {said}.", hint=_STATEMENTS) from None
    if len(trees) != 1:
        raise _refused("more than one statement" if trees else "an empty statement", "Send one statement.")
    if nodes > MAX_NODES:
        raise InvalidArgument(f"the statement has more than {MAX_NODES} parts.", hint="Ask for less at once.")
    tree = trees[0]
    if not isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)):
        raise _refused(_shown(tree), _STATEMENTS)
    for node in tree.walk():
        _check(node)
    return tree


def _check(node: exp.Expr) -> None:
    """Raises Refused where the node, or one of its parts, is not on the allow-list."""
    if isinstance(node, exp.Anonymous):
        if node.name.casefold() not in CLOCKS or node.expressions:
            raise _refused(f"the function {node.name}")
        return
    if type(node) not in NODES:
        raise _refused(_shown(node))
    _check_form(node)
    allowed = PARTS.get(type(node))
    for name, value in node.args.items():
        if value and allowed is not None and name not in allowed:
            raise _refused(f"{name.strip('_').replace('_', ' ').upper()} in {node.key.upper()}")


def _check_form(node: exp.Expr) -> None:
    """Forms of allowed nodes that are not allowed."""
    match node:
        case exp.Join() if node.method or node.kind.upper() not in JOINS:
            raise _refused(
                f"a {node.method or node.kind} join", "Use INNER, LEFT, RIGHT, FULL, CROSS, SEMI or ANTI."
            )
        case exp.Cast() | exp.TryCast() if _type_name(node.to) not in TYPES:
            raise _refused(f"a cast to {node.to.sql('duckdb')}")
        case exp.Limit() | exp.Offset() if not _is_whole(node.expression):
            raise _refused(f"{node.key.upper()} of anything but a whole number")
        case exp.TimeToStr() if not _is_text(node.args.get("format")):
            raise _refused("a format that is not a literal")
        case exp.RegexpLike() | exp.RegexpExtract() | exp.RegexpReplace():
            _check_pattern(node)
        case exp.Table() if not isinstance(node.this, exp.Identifier):
            raise _refused(f"the table function {_function_name(node.this)}")
        case _:
            pass


def _check_pattern(node: exp.Expr) -> None:
    pattern = node.expression
    if not _is_text(pattern) or len(pattern.name) > MAX_PATTERN:
        raise _refused(
            "a regular expression that is not a short literal", f"Write it out, {MAX_PATTERN} characters at most."
        )


def _is_text(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Literal) and node.is_string


def _is_whole(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit() and len(node.name) < 10


def _type_name(kind: exp.DataType) -> str:
    return kind.this.name if isinstance(kind.this, exp.DataType.Type) and not kind.args.get("nested") else ""


def _function_name(node: exp.Expr) -> str:
    return node.name if isinstance(node, exp.Anonymous) else node.key.upper()


def _shown(node: exp.Expr) -> str:
    """What a node is called in a refusal: the function or statement a person wrote, never its whole text."""
    if isinstance(node, exp.Command):
        return f"the statement {str(node.this).split(' ')[0].upper()[:20]}"
    if isinstance(node, (exp.Func, *PATTERNS, *SCALARS)):
        return f"the function {node.sql_name().upper()}"
    return f"{node.key.upper()}"


def _refused(
    what: str, hint: str = "`query_metrics` computes governed numbers; plain SELECTs are read here."
) -> Refused:
    return Refused(f"SQL: {what[:120]} is not allowed.", rule=RULE, hint=hint)
