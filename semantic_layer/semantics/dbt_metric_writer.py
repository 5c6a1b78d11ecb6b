"""Writes the measures, metrics and saved queries of a model as dbt has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from semantic_layer.errors import InvalidArgument
from semantic_layer.filter_form import parse_filter
from semantic_layer.metric import (
    Aggregation,
    Measure,
    Metric,
    MetricInput,
    Offset,
    SavedQuery,
    SemanticDataset,
    SemanticModel,
    Window,
)
from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.semantics.dbt_filters import filter_text, queried, template
from semantic_layer.semantics.fields import Names
from semantic_layer.semantics.forms import form_of
from semantic_layer.sql.expressions import read_formula
from semantic_layer.sql.portable import formula_text, row_text

Form = dict[str, Any]
_Written = TypeVar("_Written")
_QUERY = ("metrics", "dimensions", "filters", "order", "limit")


@dataclass
class DbtMetrics:
    """Collects what is written; what cannot be is left out, with its reason in `lost`.

    `reshaped` are the metrics that mean the same and are put together differently: through metrics of their own for
    each aggregate, or as a count that is NULL over no rows.
    """

    model: SemanticModel
    own: Sequence[SemanticDataset]
    lost: list[str]
    reshaped: set[str] = field(default_factory=set[str])
    measures: dict[str, dict[str, Form]] = field(default_factory=dict[str, dict[str, Form]])
    named: dict[str, str] = field(default_factory=dict[str, str])
    helpers: dict[str, Form] = field(default_factory=dict[str, Form])

    def written(self) -> tuple[list[Form], list[Form]]:
        """The metrics and the saved queries; afterwards `measures_of` has what they aggregate."""
        for measure in (one for dataset in self.own for one in dataset.measures):
            self.tried(f"measure {measure.name}", lambda measure=measure: self.measure(measure))
        metrics = {
            one.name: form
            for one in self.model.metrics
            if (form := self.tried(f"metric {one.name}", lambda one=one: self.metric(one))) is not None
        }
        metrics = self.whole(metrics)
        helpers = [form for name, form in self.helpers.items() if name.partition("\0")[0] in metrics]
        queries = [
            self.tried(f"saved query {one.name}", lambda one=one: self.query(one, metrics))
            for one in self.model.saved_queries
        ]
        return [*helpers, *metrics.values()], [one for one in queries if one is not None]

    def measures_of(self, dataset: str) -> list[Form]:
        """The measures of a dataset, those that metrics brought among them."""
        return list(self.measures.get(dataset, {}).values())

    def tried(self, what: str, write: Callable[[], _Written]) -> _Written | None:
        """What is written, or None with the reason among what is lost."""
        try:
            return write()
        except InvalidArgument as error:
            self.lost.append(f"{what}: {error.message}")
            return None

    def whole(self, metrics: Mapping[str, Form]) -> dict[str, Form]:
        """The metrics of which every part could be written."""
        kept = dict(metrics)
        left_out = {one.name for one in self.model.metrics} - kept.keys()
        while lame := {
            one.name
            for one in self.model.metrics
            if one.name in kept and any(given.metric in left_out for given in one.inputs if given.metric)
        }:
            self.lost += [f"metric {name}: it is computed from one that is left out." for name in sorted(lame)]
            left_out |= lame
            kept = {name: form for name, form in kept.items() if name not in lame}
        return kept

    # -- measures ------------------------------------------------------------------------------------------

    def measure(self, measure: Measure) -> str:
        """The name of the measure in its dataset, written there if it is not yet."""
        identity = json.dumps(form_of(measure), sort_keys=True)
        if identity in self.named:
            return self.named[identity]
        dataset = next((one for one in self.own if one.name == measure.dataset), None)
        if dataset is None:
            raise InvalidArgument(f"it aggregates {measure.dataset!r}, which is left out.")
        if measure.root or any(owner != measure.dataset for owner, _ in measure.columns):
            raise InvalidArgument("it aggregates values of several datasets, and a dbt measure reads one.")
        time = measure.default_time.removeprefix(f"{measure.dataset}.")
        if "." in time:
            raise InvalidArgument(f"its time {time!r} is of another dataset.")
        if measure.aggregation is Aggregation.COUNT:
            self.lost.append(f"metric {measure.name}: over no rows it is NULL in dbt, and 0 here.")
            self.reshaped.add(measure.name)
        called = measure.name
        while any(called in forms for forms in self.measures.values()):
            called += "_"
        percentile = {
            "percentile": measure.percentile,
            "use_discrete_percentile": measure.discrete or None,
            "use_approximate_percentile": measure.approximate or None,
        }
        level = measure.non_additive
        self.measures.setdefault(dataset.name, {})[called] = filled(
            {
                "name": called,
                "description": measure.description,
                "agg": measure.aggregation.value,
                "expr": row_text(measure.expression, measure.dataset, dialect="duckdb"),
                "agg_params": filled(percentile) if measure.aggregation is Aggregation.PERCENTILE else {},
                "agg_time_dimension": time if time != dataset.default_time else "",
                "non_additive_dimension": filled(
                    {
                        "name": level.time.removeprefix(f"{measure.dataset}."),
                        "window_choice": level.choice,
                        "window_groupings": list(level.groupings),
                    }
                )
                if level
                else {},
            }
        )
        self.named[identity] = called
        return called

    def measured(self, given: MetricInput) -> Form:
        """A use of a measure."""
        if given.measure is None:
            raise InvalidArgument("it is no aggregate of a measure.")
        return filled(
            {
                "name": self.measure(given.measure),
                "filter": self.filter(given.filter),
                "fill_nulls_with": given.fill_nulls_with,
                "join_to_timespine": given.join_to_timespine or None,
            }
        )

    # -- metrics -------------------------------------------------------------------------------------------

    def metric(self, metric: Metric) -> Form:
        if metric.unsupported:
            raise InvalidArgument(f"it {metric.unsupported}.")
        params = filled(self.params(metric))
        split = metric.kind == "ratio" and "numerator" not in params
        return filled(
            {
                "name": metric.name,
                "label": metric.label,
                "description": metric.description,
                "type": "derived" if split else metric.kind,
                "filter": self.filter(metric.filter),
                "time_granularity": metric.default_grain,
                "type_params": params,
            }
        )

    def params(self, metric: Metric) -> Form:
        match metric.kind:
            case "simple":
                own = metric.inputs[0].alias == "measure"  # as dbt wrote it, and its `expr` with it
                return {"measure": self.measured(metric.inputs[0]), "expr": metric.formula if own else ""}
            case "cumulative":
                return self.cumulative(metric)
            case "conversion":
                return {"conversion_type_params": self.conversion(metric)}
            case "ratio" if [one.alias for one in metric.inputs] == ["numerator", "denominator"]:
                return {one.alias: self.input(metric, one, named=False) for one in metric.inputs}
            case _:
                return self.derived(metric)

    def derived(self, metric: Metric) -> Form:
        """The formula over metrics; aggregates in it become metrics of their own, and plain names their aliases."""
        aliases = {
            one.alias: one.alias if one.alias.isidentifier() else f"part_{number}"
            for number, one in enumerate(metric.inputs)
        }
        if metric.kind == "ratio" or any(one.measure is not None for one in metric.inputs):
            self.reshaped.add(metric.name)
        inputs = [self.input(metric, replace(one, alias=aliases[one.alias])) for one in metric.inputs]
        written = formula_text(metric.expression, aliases, dialect="duckdb")
        kept = metric.formula if _reads_as(metric.formula, metric.expression) else ""
        return {"expr": kept or written, "metrics": inputs}

    def input(self, metric: Metric, given: MetricInput, *, named: bool = True) -> Form:
        name = given.metric or self.helper(metric, given)
        return filled(
            {
                "name": name,
                "alias": given.alias if named and given.alias != name else "",
                "filter": self.filter(given.filter) if given.metric else "",
                **_shifted(given.offset),
            }
        )

    def helper(self, metric: Metric, given: MetricInput) -> str:
        """A metric of its own for an aggregate inside a formula."""
        name = f"{metric.name}_{given.alias}"
        if given.measure is not None:
            given = replace(given, measure=replace(given.measure, name=name))
        form = {"name": name, "label": name, "type": "simple", "type_params": {"measure": self.measured(given)}}
        self.helpers[f"{metric.name}\0{name}"] = form
        return name

    def cumulative(self, metric: Metric) -> Form:
        own, given = metric.cumulative, metric.inputs[0]
        if own is None or own.leaves_out_current or own.needs_time:
            raise InvalidArgument("its window is one of Databricks, which dbt's windows differ from.")
        params = {
            "window": _length(own.window),
            "grain_to_date": own.grain_to_date.value if own.grain_to_date else "",
            "period_agg": own.period_aggregation,
            "metric": self.input(metric, given, named=False) if given.metric else None,
        }
        return {
            "measure": None if given.metric else self.measured(given),
            "cumulative_type_params": filled(params),
        }

    def conversion(self, metric: Metric) -> Form:
        own = metric.conversion
        if own is None:
            raise InvalidArgument("it says no entity.")
        ends: Form = {}
        for one in metric.inputs:
            kind = "metric" if one.metric else "measure"
            ends[f"{one.alias}_{kind}"] = (
                self.input(metric, one, named=False) if one.metric else self.measured(one)
            )
        pairs = [{"base_property": base, "conversion_property": other} for base, other in own.constant_properties]
        rest = {"entity": own.entity, "calculation": own.calculation, "window": _length(own.window)}
        return filled({**ends, **rest, "constant_properties": pairs})

    def filter(self, predicate: Predicate) -> str:
        return "" if predicate == TRUE else filter_text(predicate, self.model)

    # -- saved queries -------------------------------------------------------------------------------------

    def query(self, query: SavedQuery, metrics: Collection[str]) -> Form:
        asked = dict(query.query)
        if not set(asked.get("metrics", ())) <= set(metrics):
            raise InvalidArgument("it asks for a metric that is left out.")
        more = sorted(asked.keys() - set(_QUERY))
        if more:
            raise InvalidArgument(f"it sets {', '.join(more)}, which a saved query of dbt has no place for.")
        params = {
            "metrics": list(asked.get("metrics", ())),
            "group_by": [template(queried(one, self.model)) for one in asked.get("dimensions", ())],
            "where": self.filter(parse_filter(asked.get("filters"))),
            "order_by": [self.ordered(one, asked) for one in asked.get("order", ())],
            "limit": asked.get("limit"),
        }
        return filled({"name": query.name, "description": query.description, "query_params": filled(params)})

    def ordered(self, name: str, asked: Mapping[str, Any]) -> str:
        plain = name.removeprefix("-")
        text = f"Metric({plain!r})" if plain in asked.get("metrics", ()) else template(queried(plain, self.model))
        return text + ".descending(True)" if name.startswith("-") else text


def filled(form: Form) -> Form:
    """The form without what is empty."""
    return {key: value for key, value in form.items() if value not in ("", None, {}, [])}


def _length(window: Window | None) -> str:
    return f"{window.count} {window.grain.value}" if window else ""


def _shifted(offset: Offset | None) -> Form:
    if offset is None:
        return {}
    if offset.to_grain:
        return {"offset_to_grain": offset.grain.value}
    return {"offset_window": f"{offset.count} {offset.custom or offset.grain.value}"}


def _reads_as(formula: str, expression: str) -> bool:
    """Whether the author's formula is this expression, so that it can stand as it was written."""
    try:
        found = read_formula(formula, Names().canonical, dialect="duckdb")
    except InvalidArgument:
        return False
    return not found.aggregates and found.expression == expression
