"""Puts a caller's grants into the SQL it wrote: each table becomes the rows and columns that its policy shows.

The statement never names a sealed table. Each dataset it reads is first brought into a temporary relation that holds
only what the grant shows, and the statement reads those: no plan of the engine can look behind them, so that neither
an error nor a count tells of a hidden row. Columns that are not granted do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.policy import Access, Grants
from semantic_layer.predicate import TRUE, Predicate, all_of, bind
from semantic_layer.product import DataProduct
from semantic_layer.sql.build import identifier, labelled, named, one, select
from semantic_layer.sql.guard import read_statement
from semantic_layer.sql.guard_functions import CLOCKS, DUCKDB_FUNCTIONS
from semantic_layer.sql.guard_names import Names, Source
from semantic_layer.sql.masks import masked
from semantic_layer.sql.predicate import Parameters, predicate_sql, render

RELATION = "wh_governed_"
COMMON_TABLE = "wh_common_"
SCHEMA = ("temp", "main")
Keep = Callable[[str, str], Predicate]
"""The rows of (product, dataset) that no tombstone erased."""


@dataclass(frozen=True)
class Setup:
    """One statement to run before the caller's: it makes the relation `name` of what a grant shows."""

    name: str
    sql: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class GovernedStatement:
    """What to run for a caller's SQL. `tables` are (product, dataset) read, `columns` those of each that it reads.

    `relations` and `common_tables` are the only tables that the statement may name, `functions` the only functions.
    """

    sql: str
    setup: tuple[Setup, ...]
    tables: tuple[tuple[str, str], ...]
    columns: Mapping[tuple[str, str], tuple[str, ...]]
    masked: tuple[str, ...]
    limited: bool
    relations: tuple[str, ...]
    common_tables: tuple[str, ...]
    functions: frozenset[str] = DUCKDB_FUNCTIONS


def govern(
    text: str, products: Mapping[str, DataProduct], grants: Grants, *, keep: Keep, now: datetime
) -> GovernedStatement:
    """The caller's statement over what its grants (action sql) show. `grants` hold every product that exists for it.

    A dataset is named `product.dataset`, or by its own name where only one product has it. Raises what
    `read_statement` raises, UnknownName for a table or column that does not exist for the caller, and Refused where
    the product does not grant SQL or its policy sets a minimum group size.
    """
    tree = read_statement(text)
    try:
        return _Governor(tree, Names(tree, products, grants), grants, keep, now).statement()
    except RecursionError:
        raise InvalidArgument(
            "the statement is nested too deeply.", hint="Use common table expressions."
        ) from None


class _Governor:
    def __init__(self, tree: exp.Query, names: Names, grants: Grants, keep: Keep, now: datetime) -> None:
        self._tree = tree
        self._names = names
        self._grants = grants
        self._keep = keep
        self._now = now

    def statement(self) -> GovernedStatement:
        """Every table is pointed at its relation or its common table's new name, and the clock is filled in."""
        sources = self._names.sources
        relations = {key: f"{RELATION}{number}" for number, key in enumerate(sources)}
        commons = list(self._tree.find_all(exp.CTE))
        renamed = {id(node): f"{COMMON_TABLE}{number}" for number, node in enumerate(commons)}
        for table in list(self._tree.find_all(exp.Table)):
            node = self._names.common(table)
            _rename(table, renamed[id(node)] if node is not None else relations[self._names.source(table).key])
        for node in commons:
            node.args["alias"].set("this", identifier(renamed[id(node)]))
        _name_outputs(self._tree)
        tree = self._tree.transform(self._clocked, copy=False)
        setups = [self._setup(relations[key], source) for key, source in sources.items()]
        return GovernedStatement(
            sql=tree.sql("duckdb", identify=True, comments=False),
            setup=tuple(setup for setup, _ in setups),
            tables=tuple(sources),
            columns={key: source.columns() for key, source in sources.items()},
            masked=tuple(sorted({name for _, access in setups for name in access.masks})),
            limited=any(access.limited for _, access in setups),
            relations=tuple(relations.values()),
            common_tables=tuple(renamed.values()),
        )

    def _setup(self, name: str, source: Source) -> tuple[Setup, Access]:
        grant = self._grants[source.product]
        if grant.minimum_group_size > 1:
            raise Refused(
                f"{source.product!r} shows no group of fewer than {grant.minimum_group_size} rows, and SQL reads rows.",
                rule="minimum_group_size",
                hint="Use `query_metrics`, which keeps to it.",
            )
        columns = {column.name: column for column in source.dataset.columns}
        shown = source.columns()
        access = source.granted.access(shown=shown)
        rows = all_of(access.rows, bind(self._keep(source.product, source.dataset.name), columns))
        parameters = Parameters()
        listed = [
            labelled(
                masked(columns[column], access.masks[column], columns, parameters)
                if column in access.masks
                else named(column),
                column,
            )
            for column in shown
        ]
        table = exp.Table(
            this=identifier(source.dataset.name), db=identifier("main"), catalog=identifier(source.product)
        )
        where = [] if rows == TRUE else [predicate_sql(rows, columns, parameters)]
        query = select(listed or [labelled(one(), "wh.row")], table, where)
        # Where nothing is withheld the engine may read the sealed table itself, and skip what it does not need.
        kind = "VIEW" if rows == TRUE and not access.masks else "TABLE"
        return Setup(name, f"CREATE TEMP {kind} {name} AS {render(query, 'duckdb')}", parameters.values), access

    def _clocked(self, node: exp.Expr) -> exp.Expr:
        """The call's own moment in place of the engine's clock."""
        called = node.name.casefold() if isinstance(node, exp.Anonymous) else ""
        if isinstance(node, exp.CurrentDate) or called == "today":
            return exp.cast(exp.Literal.string(self._now.date().isoformat()), "DATE")
        if isinstance(node, exp.CurrentTimestamp) or called in CLOCKS:
            moment = self._now.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
            return exp.cast(exp.Literal.string(moment), "TIMESTAMP")
        return node


def _name_outputs(tree: exp.Query) -> None:
    """Columns of the answer that have no name get their own text as one, as the caller wrote it."""
    outermost = tree
    while isinstance(outermost, (exp.SetOperation, exp.Subquery)):
        outermost = outermost.this
    listed = [
        item if isinstance(item, (exp.Alias, exp.Column, exp.Star)) else labelled(item, item.sql("duckdb")[:60])
        for item in outermost.expressions
    ]
    outermost.set("expressions", listed)


def _rename(table: exp.Table, name: str) -> None:
    """Point the table elsewhere; columns go on being qualified by the name that the caller used."""
    if not table.alias:
        table.set("alias", exp.TableAlias(this=identifier(table.name)))
    table.set("this", identifier(name))
    governed = name.startswith(RELATION)
    table.set("catalog", identifier(SCHEMA[0]) if governed else None)
    table.set("db", identifier(SCHEMA[1]) if governed else None)
