"""The second look at SQL that a caller wrote: what DuckDB itself reads in it, before DuckDB runs it.

The first reader and rewriter is sqlglot, in the parent. Where the two parsers differ, this one decides: a table, a
function or a kind of node that was not announced is refused here, inside the process that can be killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from indexes.duck.connection import Connection

TABLES = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST"})
QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE"})
CLASSES = frozenset({
    "BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA", "OPERATOR",
    "STAR", "SUBQUERY", "WINDOW",
})  # fmt: skip
"""Kinds of expression. A LAMBDA is how DuckDB reads `json -> path` before it knows the types."""


class NotAnnounced(Exception):
    """DuckDB reads something in the statement that the parent did not allow; the text names it."""


@dataclass(frozen=True)
class Untrusted:
    """A caller's statement: what to run before it, what it may name, and how much it may bring back.

    `setup` are (SQL, values) that make temporary relations; they vanish with the statement. `relations` are tables of
    `temp.main`, `common_tables` unqualified names. `rows` and `bytes` bound the answer.
    """

    setup: Sequence[tuple[str, Mapping[str, Any]]]
    relations: Sequence[str]
    common_tables: Sequence[str]
    functions: Sequence[str]
    rows: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """The form that goes to the reading process."""
        return asdict(self)


def prepare(connection: Connection, statement: str, allowed: Mapping[str, Any]) -> None:
    """Look at the statement, then make its relations. Raises NotAnnounced; the connection must be its own."""
    found = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    read: dict[str, Any] = json.loads(found[0]) if found else {}
    look(read, allowed)
    for sql, parameters in allowed["setup"]:
        connection.execute(sql, parameters)


def look(read: Mapping[str, Any], allowed: Mapping[str, Any]) -> None:
    """Raises NotAnnounced for the first thing in a serialized statement that was not announced."""
    if read.get("error"):
        raise NotAnnounced(str(read.get("error_message", "the statement"))[:120])
    statements = read.get("statements", [])
    if len(statements) != 1:
        raise NotAnnounced(f"{len(statements)} statements")
    relations, commons = frozenset(allowed["relations"]), frozenset(allowed["common_tables"])
    functions = frozenset(allowed["functions"])
    for node in _nodes(statements[0]):
        _check_table(node, relations, commons)
        _check_expression(node, functions)


def _check_table(node: Mapping[str, Any], relations: frozenset[str], commons: frozenset[str]) -> None:
    if "table_name" in node and "catalog_name" in node:
        place = (node["catalog_name"], node["schema_name"])
        name = node["table_name"]
        if not ((place == ("temp", "main") and name in relations) or (place == ("", "") and name in commons)):
            raise NotAnnounced(f"the table {'.'.join(part for part in (*place, name) if part)[:100]}")
    if "query_location" in node and "class" not in node and node.get("type") not in TABLES:
        raise NotAnnounced(f"{node.get('type')}")
    if "cte_map" in node and node.get("type") not in QUERIES:
        raise NotAnnounced(f"{node.get('type')}")


def _check_expression(node: Mapping[str, Any], functions: frozenset[str]) -> None:
    if "class" in node and node["class"] not in CLASSES:
        raise NotAnnounced(f"{node['class']}")
    name = node.get("function_name")
    if name is not None and (
        name not in functions or node.get("catalog") or node.get("schema") not in ("", "main")
    ):
        raise NotAnnounced(f"the function {str(name)[:100]}")


def _nodes(root: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in the tree, without recursion."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            held = cast("dict[str, Any]", node)
            yield held
            waiting.extend(held.values())
        elif isinstance(node, list):
            waiting.extend(cast("list[Any]", node))
