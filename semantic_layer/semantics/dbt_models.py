"""Reads dbt ≥ 1.12 semantics, embedded in `models:`, by writing them as dbt's own manifest does.

https://docs.getdbt.com/docs/build/latest-metrics-spec: entities and dimensions stand at their columns, simple metrics
take the place of measures, and what was under `type_params` stands at the metric itself. Every node that is made
keeps the line of the one it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from semantic_layer.findings import Findings
from semantic_layer.semantics.nodes import given, listed, made, several, text_of
from semantic_layer.yaml_file import Node

_SAME = ("name", "label", "description", "filter", "time_granularity", "config")
_PLAIN = ("expr", "join_to_timespine", "fill_nulls_with", "numerator", "denominator")
_CUMULATIVE = (("window", "window"), ("grain_to_date", "grain_to_date"), ("period_agg", "period_agg"))
_OWN = "\0model"
"""The key under which a metric is handed what its model says; no YAML file can hold it."""
_CONVERSION = ("base_metric", "conversion_metric", "entity", "calculation", "window", "constant_properties")


def has_models(node: Node) -> bool:
    """Whether a document embeds semantics in its models, or says which of them is a time spine."""
    return any(
        one.get("semantic_model") is not None or one.get("time_spine") is not None
        for one in listed(node, "models")
    )


def without_models(node: Node, findings: Findings) -> Node:
    """The document with its models' semantics in the manifest's form; mistakes are added to `findings`."""
    embedded = [one for one in listed(node, "models") if _enabled(one)]
    metrics = [*listed(node, "metrics"), *(metric for one in embedded for metric in _metrics(one))]
    form = dict(node.mapping or {})
    form["semantic_models"] = several(node, [*listed(node, "semantic_models"), *map(_semantic_model, embedded)])
    lowered = [_metric(one, findings) if one.get("type_params") is None else one for one in metrics]
    form["metrics"] = several(node, lowered)
    spines = [_spine(one) for one in listed(node, "models") if one.get("time_spine") is not None]
    if spines:
        project = node.get("project_configuration") or made(node, {})
        known = listed(project, "time_spines")
        form["project_configuration"] = made(
            project, {**(project.mapping or {}), "time_spines": several(node, [*known, *spines])}
        )
    return Node(node.file, node.line, form)


def _enabled(model: Node) -> bool:
    stated = model.get("semantic_model")
    if stated is None or stated.value is False or stated.at("enabled").value is False:
        return False
    return stated.at("config", "enabled").value is not False


def _semantic_model(model: Node) -> Node:
    """One entry of `semantic_models:`."""
    columns = listed(model, "columns")
    derived = model.get("derived_semantics") or made(model, {})
    entities = [
        *(_of_column(one, "entity") for one in columns if given(one, "entity")),
        *listed(derived, "entities"),
    ]
    dimensions = [
        *(_timed(_of_column(one, "dimension"), one) for one in columns if given(one, "dimension")),
        *(_timed(one, one) for one in listed(derived, "dimensions")),
    ]
    form: dict[str, Any] = {
        "name": _name_of(model),
        "model": f"ref('{text_of(model, 'name')}')",
        "description": model.get("description"),
        "primary_entity": model.get("primary_entity"),
        "defaults": {"agg_time_dimension": _time_of(model)},
        "entities": several(model, entities),
        "dimensions": several(model, dimensions),
    }
    return made(model, form)


def _of_column(column: Node, key: str) -> Node:
    """An entity or dimension at a column: the word of its type alone, or a mapping that may name it anew."""
    stated = column.at(key)
    inside = dict(stated.mapping or {"type": stated})
    name = inside.setdefault("name", column.at("name"))
    if name.value != column.at("name").value:
        inside.setdefault("expr", column.at("name"))
    for text in ("description",):
        if text not in inside and column.get(text) is not None:
            inside[text] = column.at(text)
    return Node(stated.file, stated.line, inside)


def _timed(dimension: Node, place: Node) -> Node:
    """A dimension with its grain and validity where the manifest has them."""
    inside = dict(dimension.mapping or {})
    params = {
        "time_granularity": place.get("granularity") or dimension.get("granularity"),
        "validity_params": inside.pop("validity_params", None),
    }
    inside.pop("granularity", None)
    inside["type_params"] = made(place, params)
    return Node(dimension.file, dimension.line, inside)


def _metrics(model: Node) -> Iterator[Node]:
    """The metrics at a model; a simple one says which model it aggregates."""
    for metric in listed(model, "metrics"):
        own = {"semantic_model": _name_of(model), "agg_time_dimension": _time_of(model)}
        yield Node(metric.file, metric.line, {**(metric.mapping or {}), _OWN: made(metric, own)})


def _metric(metric: Node, findings: Findings) -> Node:
    """A metric with its parameters under `type_params`."""
    own = metric.get(_OWN)
    kind = text_of(metric, "type").casefold() or "simple"
    params: dict[str, Any] = {key: metric.get(key) for key in _PLAIN}
    match kind:
        case "simple" if own is None:
            name = text_of(metric, "name")
            findings.problems.append(
                metric.problem(
                    f"the simple metric {name!r} belongs to no model.", "Write it under its model's metrics."
                )
            )
        case "simple":
            params["expr"] = metric.get("expr") or metric.get("name")
            params["metric_aggregation_params"] = _aggregation(metric, own)
        case "derived":
            params["metrics"] = metric.get("input_metrics") or metric.get("metrics")
        case "cumulative":
            inside: dict[str, Any] = {there: metric.get(here) for here, there in _CUMULATIVE}
            params["cumulative_type_params"] = {**inside, "metric": metric.get("input_metric")}
        case "conversion":
            params["conversion_type_params"] = {key: metric.get(key) for key in _CONVERSION}
        case _:
            pass
    form: dict[str, Any] = {key: metric.get(key) for key in _SAME}
    return made(metric, {**form, "type": kind, "type_params": params})


def _aggregation(metric: Node, own: Node | None) -> dict[str, Any]:
    """How a simple metric aggregates its model's rows."""
    share = metric.at("percentile").value if metric.get("percentile") else None
    if isinstance(share, (int, float)) and share > 1:
        share = share / 100
    stated = metric.get("non_additive_dimension")
    level = None
    if stated is not None and stated.mapping is not None:
        level = {
            "name": stated.get("name"),
            "window_choice": stated.get("window_agg") or stated.get("window_choice"),
            "window_groupings": stated.get("group_by") or stated.get("window_groupings"),
        }
    discrete = text_of(metric, "percentile_type").casefold() == "discrete"
    return {
        "semantic_model": own.get("semantic_model") if own else None,
        "agg": metric.get("agg"),
        "agg_params": {"percentile": share, "use_discrete_percentile": discrete},
        "agg_time_dimension": metric.get("agg_time_dimension") or (own.get("agg_time_dimension") if own else None),
        "non_additive_dimension": level,
    }


def _spine(model: Node) -> Node:
    """A model that is a time spine, as the manifest's project configuration lists it."""
    stated = model.at("time_spine")
    name = text_of(stated, "standard_granularity_column")
    grain = next(
        (one.get("granularity") for one in listed(model, "columns") if text_of(one, "name") == name), None
    )
    return made(
        model,
        {
            "node_relation": {"alias": text_of(model, "name")},
            "primary_column": {"name": name, "time_granularity": grain},
            "custom_granularities": several(stated, listed(stated, "custom_granularities")),
        },
    )


def _name_of(model: Node) -> str:
    stated = model.at("semantic_model").get("name")
    return str(stated.value) if stated is not None and stated.value else text_of(model, "name")


def _time_of(model: Node) -> str:
    return text_of(model, "agg_time_dimension") or text_of(model.at("semantic_model"), "agg_time_dimension")
