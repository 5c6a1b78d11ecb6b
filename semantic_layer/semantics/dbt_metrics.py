"""Reads dbt's metrics and saved queries over the measures that its semantic models declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from semantic_layer.errors import InvalidArgument
from semantic_layer.filter_form import filter_form
from semantic_layer.metric import (
    Grain,
    Measure,
    Metric,
    MetricInput,
    Offset,
    SavedQuery,
    SemanticDataset,
)
from semantic_layer.predicate import TRUE, Predicate, all_of
from semantic_layer.semantics.dbt_measures import read_aggregate, text_of
from semantic_layer.semantics.fields import Names
from semantic_layer.semantics.templates import field_of, names_metric
from semantic_layer.sql.expressions import read_formula
from semantic_layer.sql.filters import read_filter
from semantic_layer.yaml_file import Node


@dataclass(frozen=True)
class MetricReader:
    """Reads one metric or saved query at a time; each raises InvalidArgument for a mistake in it."""

    names: Names
    datasets: Mapping[str, SemanticDataset]
    measures: Mapping[str, Measure]

    def metric(self, node: Node) -> Metric:
        params = node.at("type_params")
        kind = text_of(node, "type").casefold() or "simple"
        unsupported = ""
        filter_, said = self.filter(node.get("filter"))
        unsupported = said or unsupported
        inputs: tuple[MetricInput, ...] = ()
        expression = '"measure"'
        match kind:
            case "simple":
                inputs, said = self.simple(node, params)
            case "ratio":
                ends = [self.input(params.get(key), key) for key in ("numerator", "denominator")]
                inputs = tuple(one for one, _ in ends)
                said = next((why for _, why in ends if why), "")
                expression = '"numerator" / NULLIF("denominator", 0)'
            case "derived":
                inputs, said, expression = self.derived(params)
            case "cumulative" | "conversion":
                said = f"is a {kind} metric"
            case _:
                raise InvalidArgument(f"no metric type {kind!r}.")
        return Metric(
            name=text_of(node, "name"),
            kind=kind,
            inputs=inputs,
            expression=expression,
            filter=filter_,
            label=text_of(node, "label"),
            description=text_of(node, "description"),
            formula=text_of(params, "expr"),
            parameters={} if kind not in ("cumulative", "conversion") else {"type_params": params.plain()},
            unsupported=unsupported or said,
            line=node.line,
        )

    def simple(self, node: Node, params: Node) -> tuple[tuple[MetricInput, ...], str]:
        """The measure of a simple metric: named, or (dbt 1.12) stated by the metric itself."""
        given = params.get("measure")
        if given is not None and given.value is not None:
            name = given.value if isinstance(given.value, str) else text_of(given, "name")
            measure = self.measures.get(str(name))
            if measure is None:
                near = ", ".join(sorted(self.measures)[:12])
                raise InvalidArgument(f"no measure {name!r}.", hint=f"There are: {near}.")
            filter_, said = self.filter(given.get("filter"))
            return (_filled(MetricInput("measure", measure=measure, filter=filter_), given, params),), said
        stated = params.at("metric_aggregation_params")
        names = self.names.datasets.get(text_of(stated, "semantic_model"))
        if names is None:
            raise InvalidArgument("a simple metric needs a measure.", hint="Add type_params.measure.")
        merged = Node(node.file, node.line, {**(stated.mapping or {}), **_expr(params)})
        time = text_of(stated, "agg_time_dimension") or self.datasets[names.name].default_time
        measure = replace(
            read_aggregate(merged, names, self.names),
            name=text_of(node, "name"),
            default_time=f"{names.name}.{time}" if time else "",
        )
        return (_filled(MetricInput("measure", measure=measure), params),), ""

    def derived(self, params: Node) -> tuple[tuple[MetricInput, ...], str, str]:
        found = [self.input(one, "") for one in params.at("metrics").items or ()]
        formula = read_formula(text_of(params, "expr"), self.names.in_metric, dialect="duckdb")
        aliases = [one.alias for one, _ in found]
        missing = [name for name in formula.metrics if name not in aliases]
        if missing or formula.aggregates:
            said = f"the expression names {missing[0]!r}" if missing else "the expression aggregates"
            raise InvalidArgument(f"{said}, which is none of its metrics.", hint="Add it to type_params.metrics.")
        return tuple(one for one, _ in found), next((why for _, why in found if why), ""), formula.expression

    def input(self, node: Node | None, alias: str) -> tuple[MetricInput, str]:
        if node is None or node.value is None:
            raise InvalidArgument(f"the metric has no {alias or 'input'}.")
        name = node.value if isinstance(node.value, str) else text_of(node, "name")
        filter_, said = self.filter(node.get("filter"))
        offset, why = _offset(node)
        alias = alias or text_of(node, "alias") or str(name)
        return MetricInput(alias, metric=str(name), filter=filter_, offset=offset), said or why

    def filter(self, node: Node | None) -> tuple[Predicate, str]:
        """A filter in any of its forms, and why it is not computed yet."""
        if node is None or node.value is None:
            return TRUE, ""
        listed = node.get("where_filters") or node
        items = listed.items if listed.items is not None else (listed,)
        found: list[Predicate] = []
        for item in items:
            text = item.value if isinstance(item.value, str) else text_of(item, "where_sql_template")
            if names_metric(str(text)):
                return TRUE, "filters on a metric"
            found.append(read_filter(str(text), dialect="duckdb", template=field_of))
        return all_of(*found), ""

    def saved_query(self, node: Node) -> SavedQuery:
        params = node.at("query_params")
        names = {key: [str(one.value) for one in params.at(key).items or ()] for key in ("metrics", "group_by")}
        filter_, said = self.filter(params.get("where"))
        limit = params.at("limit").value
        order: list[str] = []
        for one in params.at("order_by").items or ():
            text = str(one.value)
            minus = "-" if re.search(r"descending\(\s*True", text) else ""
            metric = re.match(r"""Metric\(\s*['"]([^'"]+)""", text)
            order.append(minus + (metric[1] if metric else field_of(text) if "(" in text else text))
        query: dict[str, Any] = {
            "metrics": names["metrics"],
            "dimensions": [field_of(text) if "(" in text else text for text in names["group_by"]],
            "order": order,
        }
        if filter_ != TRUE:
            query["filters"] = filter_form(filter_)
        if isinstance(limit, int) and not isinstance(limit, bool):
            query["limit"] = limit
        said = said or ("" if query["metrics"] else "asks for no metric")
        return SavedQuery(text_of(node, "name"), query, text_of(node, "description"), said, node.line)


def _filled(given: MetricInput, *nodes: Node) -> MetricInput:
    """The input with what fills its empty periods, which dbt has written in either of these places."""
    values = [node.at("fill_nulls_with").value for node in nodes]
    return replace(
        given,
        fill_nulls_with=next((value for value in values if isinstance(value, int)), None),
        join_to_timespine=any(node.at("join_to_timespine").value is True for node in nodes),
    )


def _offset(node: Node) -> tuple[Offset | None, str]:
    """The shift of an input, and why it is not one that the model holds."""
    window, to_grain = node.get("offset_window"), node.get("offset_to_grain")
    if to_grain is not None and to_grain.value is not None:
        grain, count = str(to_grain.value), "0"
    elif window is not None and window.value is not None:
        count, _, grain = str(window.value).partition(" ")
        if window.mapping is not None:
            grain, count = text_of(window, "granularity"), text_of(window, "count")
    else:
        return None, ""
    grain = grain.casefold().removesuffix("s")
    if grain not in tuple(Grain) or not count.isdigit():
        return None, f"shifts by the custom grain {grain!r}"
    return Offset(Grain(grain), int(count), to_grain=count == "0"), ""


def _expr(params: Node) -> dict[str, Node]:
    found = params.get("expr")
    return {"expr": found} if found is not None else {}
