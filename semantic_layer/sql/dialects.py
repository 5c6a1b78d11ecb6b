"""What an engine must be told in its own words, where the words that DuckDB and Postgres share mean another number.

Every rule is local: it looks at one node, its children already rewritten. Nothing here knows a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.generators.postgres import PostgresGenerator

from semantic_layer.sql.build import Dialect, cast

Rule = Callable[[exp.Expr], exp.Expr]

_TRUNC = "DATE_TRUNC"
_CLICKHOUSE_SETTINGS = {
    "join_use_nulls": 1,
    "aggregate_functions_null_for_empty": 1,
    "prefer_column_name_to_alias": 1,
    "enable_extended_results_for_datetime_functions": 1,
}
"""A row that nothing joins is NULL; a sum of nothing too; a name means the column; dates before 1970 are dates."""

_CLICKHOUSE_PARTS = {"ISODOW": "toDayOfWeek", "DOY": "toDayOfYear", "QUARTER": "toQuarter"}
_PARTS: Mapping[Dialect, Mapping[str, str]] = {
    "trino": {"ISODOW": "DAY_OF_WEEK", "DOY": "DAY_OF_YEAR"},
    "snowflake": {"ISODOW": "DAYOFWEEKISO", "DOY": "DAYOFYEAR"},
    "bigquery": {"DOY": "DAYOFYEAR"},
}


class DataFusion(Postgres):
    """Apache DataFusion reads Postgres's SQL; its named values are written `$name`."""

    class Generator(PostgresGenerator):
        """Writes a named value."""

        def placeholder_sql(self, expression: exp.Placeholder) -> str:
            return f"${expression.name}"


def adapted(tree: exp.Expr, dialect: Dialect) -> exp.Expr:
    """The tree as this engine is to read it; `tree` itself for DuckDB and Postgres, else a copy."""
    rules = _RULES.get(dialect)
    if rules is None:
        return tree
    tree = tree.copy()
    for node in reversed(list(tree.walk(bfs=True))):
        parent, place, index = node.parent, node.arg_key, node.index
        found = node
        for rule in rules:
            found = rule(found)
        if found is node:
            continue
        if parent is None or place is None:
            tree = found
        else:
            parent.set(place, found, index)
    if dialect == "clickhouse" and isinstance(tree, exp.Select):
        tree.set("settings", [_setting(name, value) for name, value in _CLICKHOUSE_SETTINGS.items()])
    return tree


def _setting(name: str, value: int) -> exp.Expr:
    return exp.EQ(this=exp.var(name), expression=exp.Literal.number(value))


# -- numbers -----------------------------------------------------------------------------------------------


def _divided_as_doubles(node: exp.Expr) -> exp.Expr:
    """A quotient of whole numbers or decimals would be cut to their scale."""
    if isinstance(node, exp.Div) and not node.this.is_type("double"):
        return exp.Div(this=cast(node.this, "DOUBLE"), expression=node.expression)
    return node


def _averaged_as_doubles(node: exp.Expr) -> exp.Expr:
    """An average of decimals would be cut to their scale; their sum is exact. A cast changes no count."""
    if not isinstance(node, exp.Avg):
        return node
    value = node.this.this if isinstance(node.this, exp.Cast) else node.this
    counted = exp.Nullif(this=exp.Count(this=value.copy()), expression=exp.Literal.number(0))
    return exp.Div(this=cast(exp.Sum(this=node.this), "DOUBLE"), expression=counted)


def _nan_is_null(node: exp.Expr) -> exp.Expr:
    """NULLIF(x, NaN), for engines in which NaN equals nothing."""
    nan = node.expression if isinstance(node, exp.Nullif) else None
    if not (isinstance(nan, exp.Cast) and nan.this.name == "NaN"):
        return node
    return exp.Case(ifs=[exp.If(this=exp.IsNan(this=node.this.copy()), true=exp.Null())], default=node.this)


def _placed(node: exp.Expr) -> exp.Expr:
    """STRPOS under the engine's own name."""
    if isinstance(node, exp.Anonymous) and node.name == "STRPOS":
        text, part = node.expressions
        return exp.StrPosition(this=text, substr=part)
    return node


# -- time --------------------------------------------------------------------------------------------------


def _zoned(write: Callable[[exp.Expr, str], exp.Expr]) -> Rule:
    """A UTC column on a zone's wall clock, in one step: `x AT TIME ZONE 'UTC' AT TIME ZONE zone`."""

    def rule(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.AtTimeZone):
            return node
        inner = node.this
        return write(inner.this, node.args["zone"].name) if isinstance(inner, exp.AtTimeZone) else node

    return rule


def _cut_instants(write: Callable[[exp.Expr, exp.Expr, exp.Expr], exp.Expr]) -> Rule:
    """`value - (local - cut)`, as `semantic_layer.sql.grain` writes an hour or less of a zone."""

    def rule(node: exp.Expr) -> exp.Expr:
        back = node.expression.unnest() if isinstance(node, exp.Sub) else None
        if not isinstance(back, exp.Sub) or not _is_trunc(back.expression):
            return node
        return write(node.this, back.this, back.expression)

    return rule


def _is_trunc(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name == _TRUNC


def _function(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def _parts(dialect: Dialect) -> Rule:
    names = _PARTS[dialect]

    def rule(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Extract):
            return node
        part = node.name.upper()
        if part == "ISODOW" and dialect == "bigquery":  # its own first day is Sunday
            from_sunday = exp.Extract(this=exp.var("DAYOFWEEK"), expression=node.expression)
            shifted = exp.Add(this=from_sunday, expression=exp.Literal.number(5))
            week = _function("MOD", shifted, exp.Literal.number(7))
            return exp.paren(exp.Add(this=week, expression=exp.Literal.number(1)), copy=False)
        if part not in names:
            return node
        return exp.Extract(this=exp.var(names[part]), expression=node.expression)

    return rule


# -- ClickHouse --------------------------------------------------------------------------------------------


def _clickhouse(node: exp.Expr) -> exp.Expr:
    """Dates from 1900, moments to the microsecond in UTC, and the type of each value beside its name."""
    match node:
        case exp.DataType() if node.is_type("date"):
            return exp.DataType(this=exp.DataType.Type.DATE32)
        case exp.DataType() if node.is_type("timestamp"):
            return exp.DataType(
                this=exp.DataType.Type.DATETIME64,
                expressions=[exp.DataTypeParam(this=exp.Literal.number(6)), exp.DataTypeParam(this=_text("UTC"))],
            )
        case exp.Anonymous() if _is_trunc(node) and node.meta.get("moment"):
            unit, value = node.expressions
            return node if unit.name in ("millisecond", "microsecond") else _function(_TRUNC, unit, _second(value))
        case exp.Cast() if isinstance(node.this, exp.Placeholder):
            node.this.set("kind", node.to.copy())
            return node
        case exp.Extract() if node.name.upper() in _CLICKHOUSE_PARTS:
            return _function(_CLICKHOUSE_PARTS[node.name.upper()], node.expression)
        case _:
            return node


def _second(value: exp.Expr) -> exp.Expr:
    """The moment without its fraction of a second, which ClickHouse rounds up before 1970."""
    fraction = _function(
        "positiveModulo", _function("toUnixTimestamp64Micro", value), exp.Literal.number(1_000_000)
    )
    return _function("subtractMicroseconds", value, fraction)


# -- BigQuery ----------------------------------------------------------------------------------------------


def _bigquery(node: exp.Expr) -> exp.Expr:
    """Units last, weeks from Monday, whole numbers in intervals, moments as instants, no dot in a column's name."""
    match node:
        case exp.Anonymous() if node.name == _TRUNC:
            unit, value = node.expressions
            word = {"WEEK": "ISOWEEK"}.get(unit.name.upper(), unit.name.upper())
            return exp.Anonymous(this=_TRUNC, expressions=[value, exp.var(word)])
        case exp.Interval() if isinstance(node.this, exp.Literal) and node.this.is_string:
            return exp.Interval(this=exp.Literal.number(node.this.name), unit=node.args["unit"])
        case exp.DataType() if node.is_type("timestamp"):
            return exp.DataType(this=exp.DataType.Type.TIMESTAMPTZ)
        case exp.Identifier() if node.name.startswith("wh."):
            return exp.Identifier(this=node.name.replace(".", "_"), quoted=True)
        case _:
            return node


def _bigquery_cut(value: exp.Expr, local: exp.Expr, cut: exp.Expr) -> exp.Expr:
    zone = local.find(exp.Literal)
    assert zone is not None, "a wall clock names its zone"
    return _function("TIMESTAMP_TRUNC", value, exp.var(cut.expressions[-1].name), zone)


# -- Trino and Snowflake -----------------------------------------------------------------------------------


def _trino_local(value: exp.Expr, zone: str) -> exp.Expr:
    return exp.AtTimeZone(this=_function("WITH_TIMEZONE", value, _text("UTC")), zone=_text(zone))


def _trino_cut(value: exp.Expr, local: exp.Expr, cut: exp.Expr) -> exp.Expr:
    return cast(exp.AtTimeZone(this=cut, zone=_text("UTC")), "TIMESTAMP")


def _trino_moment(node: exp.Expr) -> exp.Expr:
    """Its TIMESTAMP holds milliseconds."""
    if isinstance(node, exp.DataType) and node.is_type("timestamp") and not node.expressions:
        node.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(6))])
    return node


def _snowflake_local(value: exp.Expr, zone: str) -> exp.Expr:
    return _function("CONVERT_TIMEZONE", _text("UTC"), _text(zone), value)


def _snowflake_cut(value: exp.Expr, local: exp.Expr, cut: exp.Expr) -> exp.Expr:
    beyond = _function("TIMESTAMPDIFF", exp.var("MICROSECOND"), local, cut)
    return _function("TIMESTAMPADD", exp.var("MICROSECOND"), beyond, value)


def _numbered_in_an_order(node: exp.Expr) -> exp.Expr:
    """It numbers rows in a stated order only; NULL states any."""
    if isinstance(node, exp.Window) and isinstance(node.this, exp.RowNumber) and node.args.get("order") is None:
        node.set("order", exp.Order(expressions=[exp.Ordered(this=exp.null(), nulls_first=False)]))
    return node


# -- DataFusion --------------------------------------------------------------------------------------------


def _datafusion(node: exp.Expr) -> exp.Expr:
    """Where it goes wrong without: it reads `a IS NOT DISTINCT FROM b AND c` as `a IS NOT DISTINCT FROM (b AND c)`, and
    compares a sum of decimals with 0 in another precision than it has beside a distinct count."""
    match node:
        case exp.NullSafeEQ():
            return exp.Paren(this=node)
        case exp.Div() if isinstance(node.expression, exp.Nullif):
            node.expression.set("this", cast(node.expression.this, "DOUBLE"))
            return node
        case _:
            return node


_SHARED: tuple[Rule, ...] = (_averaged_as_doubles, _divided_as_doubles)
_RULES: Mapping[Dialect, tuple[Rule, ...]] = {
    "datafusion": (*_SHARED, _datafusion),
    "clickhouse": (
        *_SHARED,
        _nan_is_null,
        _placed,
        _zoned(lambda value, zone: _function("toTimeZone", value, _text(zone))),
        _cut_instants(lambda value, local, cut: _function("toTimeZone", cut, _text("UTC"))),
        _clickhouse,
    ),
    "trino": (
        *_SHARED,
        _nan_is_null,
        _placed,
        _zoned(_trino_local),
        _cut_instants(_trino_cut),
        _parts("trino"),
        _trino_moment,
    ),
    "snowflake": (
        *_SHARED,
        _placed,
        _zoned(_snowflake_local),
        _cut_instants(_snowflake_cut),
        _parts("snowflake"),
        _numbered_in_an_order,
    ),
    "bigquery": (
        *_SHARED,
        _nan_is_null,
        _placed,
        _zoned(lambda value, zone: _function("DATETIME", value, _text(zone))),
        _cut_instants(_bigquery_cut),
        _parts("bigquery"),
        _bigquery,
    ),
}
