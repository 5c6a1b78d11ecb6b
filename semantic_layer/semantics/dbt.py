"""Reads dbt's semantic layer as it is: target/semantic_manifest.json, or the legacy `semantic_models:` YAML.

https://docs.getdbt.com/docs/build/semantic-models. An entity that two semantic models share is a relationship to the
one where it is primary or unique. What MetricFlow knows and is not computed here yet stays in the model and is
refused by its name: cumulative and conversion metrics, offsets, time spines, filters on metrics, validity ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from semantic_layer.errors import InvalidArgument
from semantic_layer.filter_form import filter_form
from semantic_layer.findings import Findings
from semantic_layer.metric import (
    Aggregation,
    Dimension,
    Grain,
    Measure,
    Metric,
    MetricInput,
    NonAdditive,
    Offset,
    Relationship,
    SavedQuery,
    SemanticDataset,
    SemanticModel,
)
from semantic_layer.predicate import TRUE, Predicate, all_of
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.section import unknown_name
from semantic_layer.semantics.fields import DatasetNames, Names, source_of
from semantic_layer.semantics.templates import field_of, names_metric
from semantic_layer.sql.expressions import Scalar, read_formula, read_scalar
from semantic_layer.sql.filters import read_filter
from semantic_layer.yaml_file import Node

_REF = re.compile(r"""ref\(\s*(?:['"][^'"]*['"]\s*,\s*)?['"]([^'"]+)['"]""")
_SUMMED = {
    "sum_boolean": "CASE WHEN ({}) THEN 1 ELSE 0 END",
    "count": "CASE WHEN ({}) IS NOT NULL THEN 1 ELSE 0 END",
}
"""Aggregations that MetricFlow computes as sums, so that they are NULL over no rows."""

_ONE = ("primary", "unique", "natural")


def is_dbt(node: Node) -> bool:
    """Whether this document holds dbt semantic models or metrics over them."""
    return node.get("semantic_models") is not None or node.get("project_configuration") is not None


def read_dbt(nodes: Sequence[Node], *, product: DataProduct, findings: Findings) -> SemanticModel:
    """The model in dbt's files taken together; every mistake is added to `findings`."""
    return _Reader(product, findings, list(nodes)).model()


@dataclass
class _Reader:
    product: DataProduct
    findings: Findings
    nodes: list[Node]
    names: Names = field(default_factory=Names)
    datasets: dict[str, SemanticDataset] = field(default_factory=dict[str, SemanticDataset])
    measures: dict[str, Measure] = field(default_factory=dict[str, Measure])
    metrics: dict[str, Metric] = field(default_factory=dict[str, Metric])
    partitions: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    created: list[tuple[Node, Measure]] = field(default_factory=list[tuple[Node, Measure]])

    def model(self) -> SemanticModel:
        for node in self.listed("semantic_models"):
            dataset = self.dataset(node)
            if dataset.name in self.datasets:
                self.wrong(node, f"the semantic model {dataset.name!r} stands twice.", "Rename one.")
            self.datasets[dataset.name] = dataset
        for node in self.listed("metrics"):
            metric = self.guarded(node, lambda node=node: self.metric(node))
            if metric is not None and metric.name in self.metrics:
                self.wrong(node, f"the metric {metric.name!r} stands twice.", "Rename one.")
            elif metric is not None:
                self.metrics[metric.name] = metric
        self.created_metrics()
        saved = [
            self.guarded(node, lambda node=node: self.saved_query(node)) for node in self.listed("saved_queries")
        ]
        return SemanticModel(
            product=self.product.name,
            datasets=tuple(self.datasets.values()),
            relationships=tuple(self.relationships()),
            metrics=tuple(self.metrics.values()),
            saved_queries=tuple(one for one in saved if one is not None),
            file=self.nodes[0].file,
        )

    def listed(self, key: str) -> Iterator[Node]:
        for node in self.nodes:
            found = node.get(key)
            yield from (found.items if found else None) or ()

    def guarded(self, node: Node, read: Callable[[], Any]) -> Any:
        """What is read, or None and a problem at the node."""
        try:
            return read()
        except InvalidArgument as error:
            self.wrong(node, f"{_text(node, 'name')!r}: {error.message}", error.hint)
            return None

    def wrong(self, node: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(node.problem(message, suggestion))

    # -- semantic models -----------------------------------------------------------------------------------

    def dataset(self, node: Node) -> SemanticDataset:
        name = _text(node, "name")
        product, table = self.source(node, name)
        contract = self.product.dataset(table) if product == self.product.name else None
        names = self.names.datasets[name] = DatasetNames(name, product, table, contract)
        dimensions: dict[str, Dimension] = {}
        entities = [one for one in (node.at("entities").items or ()) if one.mapping is not None]
        for one in entities:
            found = self.guarded(one, lambda one=one: self.entity(one, names))
            if found is not None:
                dimensions[found.name] = found
        for one in node.at("dimensions").items or ():
            found = self.guarded(one, lambda one=one: self.dimension(one, names))
            if found is not None:
                dimensions[found.name] = found
        default_time = _text(node.at("defaults"), "agg_time_dimension")
        self.partitions[name] = frozenset(
            _text(one, "name") for one in node.at("dimensions").items or () if one.at("is_partition").value is True
        )
        measures = [
            found
            for one in node.at("measures").items or ()
            if (found := self.guarded(one, lambda one=one: self.measure(one, names, default_time))) is not None
        ]
        primary = next((_text(one, "name") for one in entities if _text(one, "type") == "primary"), "")
        keys = [self.key(one, names) for one in entities if _text(one, "type") in _ONE]
        return SemanticDataset(
            name=name,
            product=product,
            table=table,
            dimensions=tuple(dimensions.values()),
            measures=tuple(measures),
            key=next((key for key in keys if key), contract.key if contract else ()),
            unique_keys=tuple(key for key in keys if key),
            default_time=default_time,
            primary_entity=primary or _text(node, "primary_entity"),
            validity=self.validity(node),
            description=_text(node, "description"),
            line=node.line,
        )

    def source(self, node: Node, name: str) -> tuple[str, str]:
        stated = node.at("node_relation", "alias").value
        if not isinstance(stated, str):
            reference = _REF.search(_text(node, "model"))
            stated = reference[1] if reference else _text(node, "model") or name
        product, table = source_of(stated, self.product)
        known = [one.name for one in self.product.datasets]
        if product == self.product.name and table not in known:
            self.findings.problems.append(unknown_name(node, "dataset of the contract", table, known))
        return product, table

    def scalar(self, node: Node, names: DatasetNames, form: str = "{}") -> Scalar:
        text = form.format(_text(node, "expr") or _text(node, "name"))
        return read_scalar(text, lambda parts: self.names.in_row(names.name, parts), dialect="duckdb")

    def entity(self, node: Node, names: DatasetNames) -> Dimension:
        """An entity can be grouped by like a dimension: it is the key's value."""
        scalar = self.scalar(node, names)
        return Dimension(
            name=_text(node, "name"),
            expression=scalar.sql,
            columns=frozenset(column for _, column in scalar.columns),
            type=scalar.type,
            entity=_text(node, "name"),
            description=_text(node, "description"),
            line=node.line,
        )

    def key(self, node: Node, names: DatasetNames) -> tuple[str, ...]:
        dataset = names.contract
        text = _text(node, "expr") or _text(node, "name")
        column = names.column(text)
        return (column.name,) if dataset is not None and column is not None else ()

    def dimension(self, node: Node, names: DatasetNames) -> Dimension:
        scalar = self.scalar(node, names)
        names.fields[_text(node, "name")] = scalar
        is_time = _text(node, "type").casefold() == "time"
        grain = _text(node.at("type_params"), "time_granularity").casefold()
        return Dimension(
            name=_text(node, "name"),
            expression=scalar.sql,
            columns=frozenset(column for _, column in scalar.columns),
            type=scalar.type or (ColumnType.TIMESTAMP if is_time else None),
            is_time=is_time,
            grain=Grain(grain) if grain in tuple(Grain) else None,
            label=_text(node, "label"),
            description=_text(node, "description"),
            line=node.line,
        )

    def validity(self, node: Node) -> tuple[str, str] | None:
        ends: dict[str, str] = {}
        for one in node.at("dimensions").items or ():
            given = one.at("type_params", "validity_params")
            for end in ("is_start", "is_end"):
                if given.get(end) is not None and given.at(end).value is True:
                    ends[end] = _text(one, "name")
        return (ends["is_start"], ends["is_end"]) if len(ends) == 2 else None

    def measure(self, node: Node, names: DatasetNames, default_time: str) -> Measure:
        measure = self.aggregate(node, names)
        time = _text(node, "agg_time_dimension") or default_time
        given = node.get("non_additive_dimension")
        non_additive = None
        if given is not None and given.value is not None:
            choice = _text(given, "window_choice").casefold()
            groupings = tuple(str(one.value) for one in given.at("window_groupings").items or ())
            non_additive = NonAdditive(_text(given, "name"), "min" if choice == "min" else "max", groupings)
        found = replace(
            measure,
            name=_text(node, "name"),
            default_time=f"{names.name}.{time}" if time else "",
            non_additive=non_additive,
            description=_text(node, "description"),
            line=node.line,
        )
        self.measures[found.name] = found
        if node.at("create_metric").value is True:
            self.created.append((node, found))
        return found

    def aggregate(self, node: Node, names: DatasetNames) -> Measure:
        word = _text(node, "agg").casefold()
        kinds = {one.value: one for one in Aggregation} | {"avg": Aggregation.AVERAGE}
        if word not in kinds and word not in _SUMMED:
            raise InvalidArgument(f"no aggregation {word!r}.", hint="Use one of " + ", ".join(kinds) + ".")
        scalar = self.scalar(node, names, _SUMMED.get(word, "{}"))
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
        )

    def relationships(self) -> Iterator[Relationship]:
        """Every shared entity, from each model that holds it to each other where it is a key."""
        held = [
            (dataset, one, _text(one, "type"))
            for node in self.listed("semantic_models")
            if (dataset := self.datasets.get(_text(node, "name"))) is not None
            for one in node.at("entities").items or ()
        ]
        for start, near, _ in held:
            for end, far, kind in held:
                name = _text(near, "name")
                if start.name == end.name or name != _text(far, "name") or kind not in _ONE:
                    continue
                parts = self.partitions[end.name]
                if not parts <= self.partitions[start.name]:
                    continue  # its key is unique only within a partition that these rows do not name
                shared = [name, *sorted(parts)]
                pairs = [[dataset.dimension(one) for one in shared] for dataset in (start, end)]
                keys = [tuple(one.expression for one in side if one is not None) for side in pairs]
                if len(keys[0]) == len(keys[1]) == len(shared):
                    yield Relationship(name, start.name, end.name, keys[0], keys[1], line=near.line)

    # -- metrics -------------------------------------------------------------------------------------------

    def metric(self, node: Node) -> Metric:
        params = node.at("type_params")
        kind = _text(node, "type").casefold() or "simple"
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
            name=_text(node, "name"),
            kind=kind,
            inputs=inputs,
            expression=expression,
            filter=filter_,
            label=_text(node, "label"),
            description=_text(node, "description"),
            formula=_text(params, "expr"),
            parameters={} if kind not in ("cumulative", "conversion") else {"type_params": params.plain()},
            unsupported=unsupported or said,
            line=node.line,
        )

    def simple(self, node: Node, params: Node) -> tuple[tuple[MetricInput, ...], str]:
        """The measure of a simple metric: named, or (dbt 1.12) stated by the metric itself."""
        given = params.get("measure")
        if given is not None and given.value is not None:
            name = given.value if isinstance(given.value, str) else _text(given, "name")
            measure = self.measures.get(str(name))
            if measure is None:
                near = ", ".join(sorted(self.measures)[:12])
                raise InvalidArgument(f"no measure {name!r}.", hint=f"There are: {near}.")
            filter_, said = self.filter(given.get("filter"))
            return (_filled(MetricInput("measure", measure=measure, filter=filter_), given, params),), said
        stated = params.at("metric_aggregation_params")
        names = self.names.datasets.get(_text(stated, "semantic_model"))
        if names is None:
            raise InvalidArgument("a simple metric needs a measure.", hint="Add type_params.measure.")
        merged = Node(node.file, node.line, {**(stated.mapping or {}), **_expr(params)})
        time = _text(stated, "agg_time_dimension") or self.datasets[names.name].default_time
        measure = replace(
            self.aggregate(merged, names),
            name=_text(node, "name"),
            default_time=f"{names.name}.{time}" if time else "",
        )
        return (_filled(MetricInput("measure", measure=measure), params),), ""

    def derived(self, params: Node) -> tuple[tuple[MetricInput, ...], str, str]:
        found = [self.input(one, "") for one in params.at("metrics").items or ()]
        formula = read_formula(_text(params, "expr"), self.names.in_metric, dialect="duckdb")
        aliases = [one.alias for one, _ in found]
        missing = [name for name in formula.metrics if name not in aliases]
        if missing or formula.aggregates:
            said = f"the expression names {missing[0]!r}" if missing else "the expression aggregates"
            raise InvalidArgument(f"{said}, which is none of its metrics.", hint="Add it to type_params.metrics.")
        return tuple(one for one, _ in found), next((why for _, why in found if why), ""), formula.expression

    def input(self, node: Node | None, alias: str) -> tuple[MetricInput, str]:
        if node is None or node.value is None:
            raise InvalidArgument(f"the metric has no {alias or 'input'}.")
        name = node.value if isinstance(node.value, str) else _text(node, "name")
        filter_, said = self.filter(node.get("filter"))
        offset, why = _offset(node)
        alias = alias or _text(node, "alias") or str(name)
        return MetricInput(alias, metric=str(name), filter=filter_, offset=offset), said or why

    def created_metrics(self) -> None:
        """`create_metric: true` makes a metric of a measure's name, unless one was written."""
        for node, measure in self.created:
            if measure.name not in self.metrics:
                given = (MetricInput("measure", measure=measure),)
                label, described = _text(node, "label"), measure.description
                self.metrics[measure.name] = Metric(
                    measure.name, "simple", given, '"measure"', label=label, description=described, line=node.line
                )

    def filter(self, node: Node | None) -> tuple[Predicate, str]:
        """A filter in any of its forms, and why it is not computed yet."""
        if node is None or node.value is None:
            return TRUE, ""
        listed = node.get("where_filters") or node
        items = listed.items if listed.items is not None else (listed,)
        found: list[Predicate] = []
        for item in items:
            text = item.value if isinstance(item.value, str) else _text(item, "where_sql_template")
            if names_metric(str(text)):
                return TRUE, "filters on a metric"
            found.append(read_filter(str(text), dialect="duckdb", template=field_of))
        return all_of(*found), ""

    # -- saved queries -------------------------------------------------------------------------------------

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
        return SavedQuery(_text(node, "name"), query, _text(node, "description"), said, node.line)


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
            grain, count = _text(window, "granularity"), _text(window, "count")
    else:
        return None, ""
    grain = grain.casefold().removesuffix("s")
    if grain not in tuple(Grain) or not count.isdigit():
        return None, f"shifts by the custom grain {grain!r}"
    return Offset(Grain(grain), int(count), to_grain=count == "0"), ""


def _expr(params: Node) -> dict[str, Node]:
    found = params.get("expr")
    return {"expr": found} if found is not None else {}


def _text(node: Node, key: str) -> str:
    child = node.get(key)
    return str(child.value) if child is not None and isinstance(child.value, (str, int, float)) else ""
