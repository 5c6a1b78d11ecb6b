"""Reads dbt's measures: an aggregation named in words over an expression of one semantic model's rows."""

from __future__ import annotations

from dataclasses import replace

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Aggregation, Measure, NonAdditive
from semantic_layer.semantics.fields import DatasetNames, Names
from semantic_layer.sql.expressions import Scalar, read_scalar
from semantic_layer.yaml_file import Node

_SUMMED = {
    "sum_boolean": "CASE WHEN ({}) THEN 1 ELSE 0 END",
    "count": "CASE WHEN ({}) IS NOT NULL THEN 1 ELSE 0 END",
}
"""Aggregations that MetricFlow computes as sums, so that they are NULL over no rows."""


def text_of(node: Node, key: str) -> str:
    """The text under a key, numbers too; empty where there is none."""
    child = node.get(key)
    return str(child.value) if child is not None and isinstance(child.value, (str, int, float)) else ""


def read_expression(node: Node, names: DatasetNames, all_names: Names, form: str = "{}") -> Scalar:
    """The `expr` of an entity, dimension or measure, or the column of its name. Raises InvalidArgument."""
    text = form.format(text_of(node, "expr") or text_of(node, "name"))
    return read_scalar(text, lambda parts: all_names.in_row(names.name, parts), dialect="duckdb")


def read_aggregate(node: Node, names: DatasetNames, all_names: Names) -> Measure:
    """The aggregation of a measure, or of a simple metric that states its own. Raises InvalidArgument."""
    word = text_of(node, "agg").casefold()
    kinds = {one.value: one for one in Aggregation} | {"avg": Aggregation.AVERAGE}
    if word not in kinds and word not in _SUMMED:
        raise InvalidArgument(f"no aggregation {word!r}.", hint="Use one of " + ", ".join(kinds) + ".")
    scalar = read_expression(node, names, all_names, _SUMMED.get(word, "{}"))
    params = node.at("agg_params")
    share = params.at("percentile").value
    return Measure(
        name="",
        dataset=names.name,
        aggregation=Aggregation.SUM if word in _SUMMED else kinds[word],
        expression=scalar.sql,
        columns=scalar.columns,
        percentile=float(share) if isinstance(share, (int, float)) else 0.5,
        discrete=params.at("use_discrete_percentile").value is True,
        approximate=params.at("use_approximate_percentile").value is True,
    )


def read_non_additive(node: Node) -> NonAdditive | None:
    """The time that a measure must not be summed over, or None."""
    given = node.get("non_additive_dimension")
    if given is None or given.value is None:
        return None
    groupings = tuple(str(one.value) for one in given.at("window_groupings").items or ())
    least = text_of(given, "window_choice").casefold() == "min"
    return NonAdditive(text_of(given, "name"), "min" if least else "max", groupings)


def read_measure(node: Node, names: DatasetNames, all_names: Names, default_time: str) -> Measure:
    """One measure with its time and what it must not be summed over. Raises InvalidArgument."""
    time = text_of(node, "agg_time_dimension") or default_time
    return replace(
        read_aggregate(node, names, all_names),
        name=text_of(node, "name"),
        default_time=f"{names.name}.{time}" if time else "",
        non_additive=read_non_additive(node),
        description=text_of(node, "description"),
        line=node.line,
    )
