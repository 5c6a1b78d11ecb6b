"""What may stand in SQL that callers write: node by node and function by function; anything else is refused by name.

Two lists say the same twice, on purpose: sqlglot's classes for the statement as we read it, and DuckDB's own function
names for the statement as DuckDB reads it, so that no difference between the two parsers opens a door.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

LEAVES = (exp.Literal, exp.Boolean, exp.Null, exp.Identifier, exp.Var, exp.Star, exp.Column)
OPERATORS = (
    exp.Paren, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe, exp.Is, exp.In, exp.EQ,
    exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.And, exp.Or, exp.Not,
    exp.Like, exp.ILike, exp.Escape, exp.Case, exp.If, exp.Interval, exp.Cast, exp.TryCast, exp.DataType,
    exp.DataTypeParam, exp.Exists, exp.Tuple, exp.JSONExtract, exp.JSONExtractScalar, exp.JSONPath, exp.JSONPathRoot,
    exp.JSONPathKey, exp.JSONPathSubscript,
)  # fmt: skip
CLAUSES = (
    exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.TableAlias, exp.Alias,
    exp.From, exp.Join, exp.Table, exp.Values, exp.Where, exp.Group, exp.Cube, exp.Rollup, exp.GroupingSets,
    exp.Having, exp.Qualify, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Distinct, exp.Window, exp.WindowSpec,
    exp.Filter, exp.WithinGroup,
)  # fmt: skip
AGGREGATES = (
    exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Median, exp.Mode, exp.Quantile, exp.PercentileCont,
    exp.PercentileDisc, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop, exp.Corr,
    exp.CovarPop, exp.CovarSamp, exp.LogicalAnd, exp.LogicalOr, exp.GroupConcat, exp.ArgMax, exp.ArgMin,
)  # fmt: skip
WINDOWS = (
    exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile, exp.Lag, exp.Lead,
    exp.FirstValue, exp.LastValue, exp.NthValue,
)  # fmt: skip
SCALARS = (
    exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least,
    exp.Concat, exp.ConcatWs, exp.Lower, exp.Upper, exp.Trim, exp.Substring, exp.Length, exp.Left, exp.Right,
    exp.Replace, exp.StrPosition, exp.StartsWith, exp.Contains, exp.Reverse, exp.SplitPart,
    exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace,
    exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Trunc, exp.Sign, exp.Sqrt, exp.Pow, exp.Ln, exp.Log, exp.Exp,
    exp.IsNan,
    exp.Extract, exp.DateTrunc, exp.TimestampTrunc, exp.Date, exp.TsOrDsToDate, exp.Year, exp.Quarter, exp.Month,
    exp.Week, exp.Day, exp.DayOfWeek, exp.DayOfYear, exp.Hour, exp.Minute, exp.Second, exp.DateAdd, exp.DateSub,
    exp.DateDiff, exp.TimestampDiff, exp.LastDay, exp.Dayname, exp.Monthname, exp.DateFromParts, exp.TimeToStr,
    exp.CurrentDate, exp.CurrentTimestamp,
)  # fmt: skip
NODES = frozenset(LEAVES + OPERATORS + CLAUSES + AGGREGATES + WINDOWS + SCALARS)

CLOCKS = frozenset({"now", "today", "get_current_timestamp", "transaction_timestamp"})
"""Names of the call's own moment, which stands in for them as a literal, so that a replay reads the same clock."""

PATTERNS = (exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace)
MAX_PATTERN = 200

PLAIN = frozenset({"this", "expression", "expressions"})
PARTS: Mapping[type[exp.Expr], frozenset[str]] = {
    exp.Select: PLAIN
    | {"with_", "from_", "joins", "where", "group", "having", "qualify", "order", "limit", "offset", "distinct"},
    exp.Union: PLAIN | {"with_", "distinct", "order", "limit", "offset"},
    exp.Intersect: PLAIN | {"with_", "distinct", "order", "limit", "offset"},
    exp.Except: PLAIN | {"with_", "distinct", "order", "limit", "offset"},
    exp.Subquery: PLAIN | {"alias"},
    exp.With: PLAIN,
    exp.CTE: PLAIN | {"alias"},
    exp.TableAlias: PLAIN | {"columns"},
    exp.Alias: PLAIN | {"alias"},
    exp.From: PLAIN,
    exp.Join: PLAIN | {"on", "using", "side", "kind"},
    exp.Table: PLAIN | {"db", "alias"},
    exp.Values: PLAIN | {"alias"},
    exp.Star: PLAIN | {"except_"},
    exp.Column: PLAIN | {"table", "db"},
    exp.Identifier: PLAIN | {"quoted"},
    exp.Group: PLAIN | {"all", "cube", "rollup", "grouping_sets"},
    exp.Distinct: PLAIN | {"on"},
    exp.In: PLAIN | {"query"},
    exp.DataType: PLAIN | {"nested"},
    exp.Limit: PLAIN | {"offset"},
}
"""Which parts of a clause may be filled; a part that is not here (a sample, a lock, a pivot) is refused by name."""

JOINS = frozenset({"", "INNER", "OUTER", "CROSS", "SEMI", "ANTI"})

TYPES = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "INT128", "UTINYINT", "USMALLINT", "UINT", "UBIGINT", "FLOAT",
    "DOUBLE", "DECIMAL", "VARCHAR", "TEXT", "CHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPNTZ", "DATETIME",
})  # fmt: skip
"""Types that a value may be cast to."""

DUCKDB_FUNCTIONS = frozenset({
    # operators
    "+", "-", "*", "/", "//", "%", "**", "^", "||", "~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape",
    "ilike_escape", "not_ilike_escape", "->", "->>",
    # aggregates and windows
    "count", "count_star", "count_if", "sum", "avg", "min", "max", "median", "mode", "quantile_cont", "quantile_disc",
    "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp", "corr", "covar_pop", "covar_samp",
    "bool_and", "bool_or", "string_agg", "listagg", "group_concat", "arg_max", "arg_min",
    "row_number", "rank", "dense_rank", "rank_dense", "percent_rank", "cume_dist", "ntile", "lag", "lead",
    "first_value", "last_value", "nth_value", "first", "last",
    # values
    "nullif", "greatest", "least", "concat", "concat_ws", "lower", "upper", "trim", "ltrim", "rtrim", "substring",
    "length", "left", "right", "replace", "strpos", "position", "starts_with", "contains", "reverse", "split_part",
    "regexp_matches", "regexp_extract", "regexp_replace", "json_extract", "json_extract_string",
    "abs", "round", "floor", "ceil", "trunc", "sign", "sqrt", "power", "pow", "ln", "log", "exp", "isnan",
    # dates
    "date_part", "date_trunc", "date_diff", "datediff", "strftime", "year", "quarter", "month", "week", "day",
    "dayofweek", "dayofyear", "hour", "minute", "second", "last_day", "dayname", "monthname", "make_date",
    "to_years", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds", "to_quarters",
})  # fmt: skip
"""The functions that DuckDB may find in a rewritten statement, by its own names."""
