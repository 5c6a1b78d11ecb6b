"""Which dataset or common table a name in a caller's SQL stands for, and which columns the statement may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.policy import DatasetGrant, Grants
from semantic_layer.product import DataProduct, Dataset
from semantic_layer.sql.guard import RULE


@dataclass
class Source:
    """A dataset that the statement reads, and what of it."""

    product: str
    dataset: Dataset
    granted: DatasetGrant
    aliases: set[str] = field(default_factory=set[str])
    mentioned: set[str] = field(default_factory=set[str])
    starred: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Product and dataset."""
        return self.product, self.dataset.name

    @property
    def visible(self) -> dict[str, str]:
        """The columns that exist for the caller, by their name in small letters, as DuckDB compares names."""
        shown = self.granted.columns | self.granted.masked
        return {column.name.lower(): column.name for column in self.dataset.columns if column.name in shown}

    def mention(self, name: str) -> None:
        """Note that the statement names a column; one that does not exist for the caller is not noted."""
        if name.lower() in self.visible:
            self.mentioned.add(self.visible[name.lower()])

    def columns(self) -> tuple[str, ...]:
        """What the statement may read: the columns it names, and for a star the most that one rule shows with them.

        Columns of two rules are never combined by a star; naming them leaves the rows where one rule shows all.
        """
        wanted = set(self.mentioned)
        if self.starred:
            fitting = [one for one in self.granted.allowances if one.shows(wanted)] or list(
                self.granted.allowances
            )
            most = max(fitting, key=lambda allowance: len(allowance.columns | frozenset(allowance.masks)))
            wanted |= {name for name in self.visible.values() if most.shows((name,))}
        return tuple(column.name for column in self.dataset.columns if column.name in wanted)


class Names:
    """The names of one statement, resolved for one caller.

    `sources` are the datasets that it reads, in the order met. Raises UnknownName for a table or column that does not
    exist for the caller, InvalidArgument for an ambiguous one, Refused where a product grants no SQL.
    """

    def __init__(self, tree: exp.Query, products: Mapping[str, DataProduct], grants: Grants) -> None:
        self._tree = tree
        self._products = products
        self._grants = grants
        self.sources: dict[tuple[str, str], Source] = {}
        self._tables = list(tree.find_all(exp.Table))
        self._source_of: dict[int, Source] = {}
        self._common_of: dict[int, exp.CTE] = {}
        for table in self._tables:
            self._resolve(table)
        self._collect_columns()

    def common(self, table: exp.Table) -> exp.CTE | None:
        """The common table that a table's name stands for; None where it is a dataset."""
        return self._common_of.get(id(table))

    def source(self, table: exp.Table) -> Source:
        """The dataset that a table's name stands for."""
        return self._source_of[id(table)]

    # -- tables --------------------------------------------------------------------------------------------

    def _resolve(self, table: exp.Table) -> None:
        node = None if table.db else _common_table(table)
        if node is not None:
            self._common_of[id(table)] = node
            return
        source = self._dataset(table)
        if table.alias_column_names:
            raise Refused(
                "SQL: renaming the columns of a dataset by place is not allowed.",
                rule=RULE,
                hint="Write `column AS name` where you select it.",
            )
        source.aliases.add((table.alias or table.name).lower())
        self._source_of[id(table)] = source

    def _dataset(self, table: exp.Table) -> Source:
        asked = f"{table.db}.{table.name}" if table.db else table.name
        known = self._known_tables()
        fitting = [key for key in known if (f"{key[0]}.{key[1]}" if table.db else key[1]).lower() == asked.lower()]
        if table.db and not fitting:
            self._refuse_ungranted(table.db)
        if len(fitting) > 1:
            names = " and ".join(f"{product}.{dataset}" for product, dataset in fitting)
            raise InvalidArgument(f"the table {asked!r} is ambiguous: {names}.", hint="Write product.dataset.")
        if not fitting:
            names = [f"{product}.{dataset}" for product, dataset in known]
            raise UnknownName(
                "table", asked[:100], names, hint="`discover` lists datasets; write product.dataset."
            )
        return self.sources.setdefault(fitting[0], known[fitting[0]])

    def _known_tables(self) -> dict[tuple[str, str], Source]:
        return {
            (name, dataset.name): self.sources.get((name, dataset.name))
            or Source(name, dataset, grant.dataset(dataset.name))
            for name, grant in self._grants.items()
            for dataset in self._products[name].datasets
            if grant.dataset(dataset.name).allowances
        }

    def _refuse_ungranted(self, product: str) -> None:
        """A product that exists for the caller but grants it no SQL says so."""
        grant = next((grant for name, grant in self._grants.items() if name.lower() == product.lower()), None)
        if grant is not None:
            grant.require()

    # -- columns -------------------------------------------------------------------------------------------

    def _collect_columns(self) -> None:
        known = self._known_columns()
        for column in self._tree.find_all(exp.Column):
            if isinstance(column.this, exp.Star):
                for source in self._qualified(column):
                    source.starred = True
                continue
            self._drop_product(column)
            sources = self._qualified(column) if column.table else self._in_reach(column)
            if column.name.lower() not in known:
                raise UnknownName("column", column.name[:100], self._shown_columns(sources))
            for source in sources:
                source.mention(column.name)
        for join in self._tree.find_all(exp.Join):
            for using in join.args.get("using") or ():
                for source in self.sources.values():
                    source.mention(using.name)
        for query in self._tree.find_all(exp.Select):
            if any(isinstance(item, exp.Star) for item in query.expressions):
                for source in self._direct(query):
                    source.starred = True

    def _known_columns(self) -> set[str]:
        """Every name that a column may have: those that exist for the caller, and those the statement makes."""
        names = {name for source in self.sources.values() for name in source.visible}
        names |= {alias.alias.lower() for alias in self._tree.find_all(exp.Alias)}
        for alias in self._tree.find_all(exp.TableAlias):
            names |= {column.name.lower() for column in alias.columns}
        return names

    def _shown_columns(self, sources: Iterable[Source]) -> list[str]:
        return sorted({name for source in sources for name in source.visible.values()})

    def _drop_product(self, column: exp.Column) -> None:
        """`product.dataset.column` reads as `dataset.column` where the statement reads that dataset by its name."""
        product = column.text("db")
        if not product:
            return
        known = {(name.lower(), dataset.lower()) for name, dataset in self.sources}
        if (product.lower(), column.table.lower()) not in known:
            raise UnknownName("table", f"{product}.{column.table}"[:100], (f"{p}.{d}" for p, d in self.sources))
        column.set("db", None)

    def _qualified(self, column: exp.Column) -> list[Source]:
        """The datasets that the column's qualifier may stand for; none where it is a table of the statement's own."""
        return [source for source in self.sources.values() if column.table.lower() in source.aliases]

    def _in_reach(self, column: exp.Column) -> list[Source]:
        """The datasets that an unqualified column may belong to: of its own query and of those around it."""
        queries = [query for query in _ancestors(column) if isinstance(query, exp.Select)]
        if not queries:
            return list(self.sources.values())
        within = {id(query) for query in queries}
        return [
            source
            for source in self.sources.values()
            if any(
                self._source_of.get(id(table)) is source and id(table.find_ancestor(exp.Select)) in within
                for table in self._tables
            )
        ]

    def _direct(self, query: exp.Select) -> list[Source]:
        return [
            self._source_of[id(table)]
            for table in self._tables
            if id(table) in self._source_of and table.find_ancestor(exp.Select) is query
        ]


def _ancestors(node: exp.Expr) -> Iterable[exp.Expr]:
    above = node.parent
    while above is not None:
        yield above
        above = above.parent


def _common_table(table: exp.Table) -> exp.CTE | None:
    """The common table that this name stands for: of the nearest query around it, and defined before its use."""
    below: exp.Expr = table
    for above in _ancestors(table):
        if isinstance(above, exp.With):
            earlier = above.expressions[: _place(above, below)]
            found = _named(earlier, table.name)
        else:
            held = above.args.get("with_") if isinstance(above, exp.Query) else None
            found = _named(held.expressions, table.name) if held is not None and below is not held else None
        if found is not None:
            return found
        below = above
    return None


def _place(holder: exp.With, below: exp.Expr) -> int:
    return next(number for number, node in enumerate(holder.expressions) if node is below)


def _named(nodes: Iterable[exp.CTE], name: str) -> exp.CTE | None:
    return next((node for node in nodes if node.alias.lower() == name.lower()), None)
