"""What a dataset is read from at its server: a table or view, or the query that its contract states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString, cast

from psycopg import sql

from indexes.postgres.json_columns import extracting, is_inside
from semantic_layer.product import Dataset

ALIAS = "source"


@dataclass(frozen=True)
class Relation:
    """A table or view of a schema; with a `query`, that SELECT instead. `name` is then only what it is known as."""

    schema: str
    name: str
    query: str = ""

    @property
    def shown(self) -> str:
        """What errors call it."""
        return f"query of {self.name!r}" if self.query else f"table {self.schema}.{self.name}"

    @property
    def sql(self) -> sql.Composable:
        """What stands after FROM, under ALIAS, in a statement with parameters.

        A query stands in brackets of its own: it is one SELECT or the statement does not parse.
        """
        if self.query:
            inner = self.query.strip().removesuffix(";").replace("%", "%%")
            return sql.SQL("(\n{}\n) AS {}").format(sql.SQL(cast("LiteralString", inner)), identifier(ALIAS))
        return sql.SQL("{} AS {}").format(identifier(self.schema, self.name), identifier(ALIAS))


def relation_of(schema: str, dataset: Dataset) -> Relation:
    """Where the dataset's rows are at a server whose tables lie in this schema.

    Columns that lie inside a JSON column are extracted by a query around the table.
    """
    inside = [column for column in dataset.columns if is_inside(column)]
    table = dataset.physical_name or dataset.name
    if inside:
        query = dataset.query.strip().removesuffix(";")
        inner = f"(\n{query}\n)" if query else sql.Identifier(schema, table).as_string()
        return Relation(schema, dataset.name, extracting(inside, inner))
    return Relation(schema, dataset.name, dataset.query) if dataset.query else Relation(schema, table)


def identifier(*names: str) -> sql.Composable:
    """A name as SQL in a statement with parameters: psycopg reads a per cent sign there unless it is doubled."""
    return sql.SQL(cast("LiteralString", sql.Identifier(*names).as_string().replace("%", "%%")))
