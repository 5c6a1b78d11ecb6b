"""Reads dbt's metrics and saved queries over the measures that its semantic models declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from semantic_layer.errors import InvalidArgument
from semantic_layer.filter_form import filter_form
from semantic_layer.metric import (
    Conversion,
    Cumulative,
    Grain,
    Measure,
    Metric,
    MetricInput,
    Offset,
    SavedQuery,
    SemanticDataset,
    Window,
)
from semantic_layer.predicate import TRUE, Predicate, all_of
from semantic_layer.semantics.dbt_measures import read_aggregate, read_non_additive, text_of
from semantic_layer.semantics.fields import Names
from semantic_layer.semantics.templates import cut_field, field_of
from semantic_layer.sql.expressions import read_formula
from semantic_layer.sql.filters import read_filter
from semantic_layer.yaml_file import Node


@dataclass(frozen=True)
class MetricReader:
    """Reads one metric or saved query at a time; each raises InvalidArgument for a mistake in it.

    `calendars` are the custom grains of the time spines, each with the grain of its spine.
    """

    names: Names
    datasets: Mapping[str, SemanticDataset]
    measures: Mapping[str, Measure]
    calendars: Mapping[str, Grain]

    def metric(self, node: Node) -> Metric:
        params = node.at("type_params")
        kind = text_of(node, "type").casefold() or "simple"
        found = Metric(
            name=text_of(node, "name"),
            kind="simple",
            inputs=(),
            expression='"measure"',
            filter=self.filter(node.get("filter")),
            label=text_of(node, "label"),
            description=text_of(node, "description"),
            formula=text_of(params, "expr"),
            default_grain=text_of(node, "time_granularity").casefold(),
            line=node.line,
        )
        match kind:
            case "simple":
                return replace(found, inputs=self.simple(node, params))
            case "ratio":
                ends = tuple(self.input(params.get(key), key) for key in ("numerator", "denominator"))
                return replace(
                    found, kind="ratio", inputs=ends, expression='"numerator" / NULLIF("denominator", 0)'
                )
            case "derived":
                inputs, expression = self.derived(params)
                return replace(found, kind="derived", inputs=inputs, expression=expression)
            case "cumulative":
                return self.cumulative(found, params)
            case "conversion":
                return self.conversion(found, params.at("conversion_type_params"))
            case _:
                raise InvalidArgument(f"no metric type {kind!r}.")

    def simple(self, node: Node, params: Node) -> tuple[MetricInput, ...]:
        """The measure of a simple metric: named, or (dbt 1.12) stated by the metric itself."""
        given = params.get("measure")
        if given is not None and given.value is not None:
            return (_filled(self.measured(given, "measure"), given, params),)
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
            non_additive=read_non_additive(stated),
        )
        return (_filled(MetricInput("measure", measure=measure), params),)

    def measured(self, node: Node, alias: str) -> MetricInput:
        """A measure by its name, with the filter and filling of this use of it."""
        name = str(node.value if isinstance(node.value, str) else text_of(node, "name"))
        measure = self.measures.get(name)
        if measure is None:
            near = ", ".join(sorted(self.measures)[:12])
            raise InvalidArgument(f"no measure {name!r}.", hint=f"There are: {near}.")
        return _filled(MetricInput(alias, measure=measure, filter=self.filter(node.get("filter"))), node)

    def derived(self, params: Node) -> tuple[tuple[MetricInput, ...], str]:
        found = tuple(self.input(one, "") for one in params.at("metrics").items or ())
        formula = read_formula(text_of(params, "expr"), self.names.in_metric, dialect="duckdb")
        aliases = [one.alias for one in found]
        missing = [name for name in formula.metrics if name not in aliases]
        if missing or formula.aggregates:
            said = f"the expression names {missing[0]!r}" if missing else "the expression aggregates"
            raise InvalidArgument(f"{said}, which is none of its metrics.", hint="Add it to type_params.metrics.")
        return found, formula.expression

    def cumulative(self, found: Metric, params: Node) -> Metric:
        """A cumulative metric over a simple one, or (before dbt 1.9) over a measure, with its window beside it."""
        own = params.at("cumulative_type_params")
        window = _set(own, "window") or _set(params, "window")
        to_date = text_of(own, "grain_to_date") or text_of(params, "grain_to_date")
        period = text_of(own, "period_agg").casefold() or "first"
        if period not in ("first", "last", "average"):
            raise InvalidArgument(f"no period_agg {period!r}.", hint="Use first, last or average.")
        metric = _set(own, "metric")
        given = params.get("measure")
        if metric is not None:
            source = self.input(metric, "measure")
        elif given is not None and given.value is not None:
            source = self.measured(given, "measure")
        else:
            raise InvalidArgument("a cumulative metric needs a measure.", hint="Add type_params.measure.")
        spread = Cumulative(
            window=_window(window) if window else None,
            grain_to_date=_grain(to_date) if to_date else None,
            period_aggregation=cast("Any", period),
        )
        return replace(found, kind="cumulative", inputs=(source,), cumulative=spread)

    def conversion(self, found: Metric, own: Node) -> Metric:
        """A conversion metric: `base` are the opportunities, `conversion` the events they lead to."""
        inputs: list[MetricInput] = []
        for alias in ("base", "conversion"):
            metric, measure = _set(own, f"{alias}_metric"), _set(own, f"{alias}_measure")
            if metric is None and measure is None:
                raise InvalidArgument(f"a conversion metric needs a {alias}_measure.")
            inputs.append(self.input(metric, alias) if metric else self.measured(cast("Node", measure), alias))
        entity, window = text_of(own, "entity"), _set(own, "window")
        if not entity:
            raise InvalidArgument(
                "a conversion metric needs an entity.", hint="Add conversion_type_params.entity."
            )
        counts = text_of(own, "calculation").casefold() == "conversions"
        pairs = tuple(
            (text_of(one, "base_property"), text_of(one, "conversion_property"))
            for one in own.at("constant_properties").items or ()
        )
        return replace(
            found,
            kind="conversion",
            inputs=tuple(inputs),
            expression='"conversion"' if counts else '"conversion" / NULLIF("base", 0)',
            conversion=Conversion(
                entity=entity,
                calculation="conversions" if counts else "conversion_rate",
                window=_window(window) if window else None,
                constant_properties=pairs,
            ),
        )

    def input(self, node: Node | None, alias: str) -> MetricInput:
        if node is None or node.value is None:
            raise InvalidArgument(f"the metric has no {alias or 'input'}.")
        name = node.value if isinstance(node.value, str) else text_of(node, "name")
        alias = alias or text_of(node, "alias") or str(name)
        return MetricInput(
            alias, metric=str(name), filter=self.filter(node.get("filter")), offset=self.offset(node)
        )

    def offset(self, node: Node) -> Offset | None:
        """The shift of an input, in standard or custom periods."""
        to_grain, window = _set(node, "offset_to_grain"), _set(node, "offset_window")
        if to_grain is not None:
            return Offset(_grain(str(to_grain.value)), to_grain=True)
        if window is None:
            return None
        count, grain = _length(window)
        if grain in self.calendars:
            return Offset(self.calendars[grain], count, custom=grain)
        return Offset(_grain(grain), count)

    def filter(self, node: Node | None) -> Predicate:
        """A filter in any of its forms."""
        if node is None or node.value is None:
            return TRUE
        listed = node.get("where_filters") or node
        items = listed.items if listed.items is not None else (listed,)
        texts = [
            item.value if isinstance(item.value, str) else text_of(item, "where_sql_template") for item in items
        ]
        return all_of(
            *(read_filter(str(text), dialect="duckdb", template=field_of, cut=cut_field) for text in texts)
        )

    def saved_query(self, node: Node) -> SavedQuery:
        params = node.at("query_params")
        names = {key: [str(one.value) for one in params.at(key).items or ()] for key in ("metrics", "group_by")}
        filter_ = self.filter(params.get("where"))
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
        return SavedQuery(text_of(node, "name"), query, text_of(node, "description"), line=node.line)


def _filled(given: MetricInput, *nodes: Node) -> MetricInput:
    """The input with what fills its empty periods, which dbt has written in either of these places."""
    values = [node.at("fill_nulls_with").value for node in nodes]
    return replace(
        given,
        fill_nulls_with=next((value for value in values if isinstance(value, int)), None),
        join_to_timespine=any(node.at("join_to_timespine").value is True for node in nodes),
    )


def _set(node: Node, key: str) -> Node | None:
    """What stands under a key, unless it is null."""
    found = node.get(key)
    return found if found is not None and found.value is not None else None


def _length(node: Node) -> tuple[int, str]:
    """A count and the name of a grain, as `14 days` or as a mapping."""
    count, _, grain = str(node.value).partition(" ")
    if node.mapping is not None:
        grain, count = text_of(node, "granularity"), text_of(node, "count")
    if not count.isdigit() or not grain:
        raise InvalidArgument(f"{node.plain()!r} is no length of time.", hint="Write 7 days.")
    grain = grain.strip().casefold()
    return int(count), grain.removesuffix("s") if grain.removesuffix("s") in tuple(Grain) else grain


def _window(node: Node) -> Window:
    count, grain = _length(node)
    return Window(count, _grain(grain))


def _grain(text: str) -> Grain:
    if text.casefold() not in tuple(Grain):
        raise InvalidArgument(f"no grain {text!r}.", hint="Use one of " + ", ".join(Grain) + ".")
    return Grain(text.casefold())


def _expr(params: Node) -> dict[str, Node]:
    found = params.get("expr")
    return {"expr": found} if found is not None else {}
