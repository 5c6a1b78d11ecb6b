"""The keys of dbt's files that nothing here reads, each with its line: what an import does not carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from semantic_layer.errors import Problem
from semantic_layer.semantics.nodes import listed
from semantic_layer.yaml_file import Node

_NAMED = frozenset({"name", "description", "label"})
_READ: Mapping[str, frozenset[str]] = {
    "semantic_models": _NAMED
    | {"model", "node_relation", "defaults", "primary_entity", "entities", "dimensions", "measures"},
    "entities": _NAMED | {"type", "expr"},
    "dimensions": _NAMED | {"type", "expr", "type_params", "is_partition", "granularity", "validity_params"},
    "measures": _NAMED
    | {"agg", "expr", "agg_params", "agg_time_dimension", "non_additive_dimension", "create_metric"},
    "metrics": _NAMED | {"type", "type_params", "filter", "time_granularity"},
    "saved_queries": _NAMED | {"query_params"},
    "type_params": frozenset(
        {
            *("measure", "numerator", "denominator", "expr", "metrics", "window", "grain_to_date"),
            *("cumulative_type_params", "conversion_type_params", "metric_aggregation_params"),
            *("join_to_timespine", "fill_nulls_with"),
        }
    ),
}
_EMBEDDED = frozenset(
    {
        *(
            "agg",
            "expr",
            "percentile",
            "percentile_type",
            "agg_time_dimension",
            "non_additive_dimension",
            "numerator",
        ),
        *("denominator", "input_metrics", "input_metric", "window", "grain_to_date", "period_agg", "entity"),
        *("calculation", "base_metric", "conversion_metric", "constant_properties"),
        *("join_to_timespine", "fill_nulls_with"),
    }
)
_UNSPOKEN = frozenset(
    {
        *("metadata", "unique_id", "fqn", "path", "package_name", "original_file_path", "resource_type"),
        "input_measures",
    }
)
"""Keys by which dbt finds its own way; they say nothing of meaning."""


def unread_keys(nodes: Sequence[Node]) -> list[Problem]:
    """Every key of these dbt files that says something and is not read, in order."""
    return [problem for node in nodes for problem in _of_document(node)]


def _of_document(node: Node) -> Iterator[Problem]:
    for key in ("semantic_models", "metrics", "saved_queries"):
        for one in listed(node, key):
            yield from _of_part(key, one)
            if key == "metrics" and one.get("type_params") is not None:
                yield from _of_part("type_params", one.at("type_params"), str(one.at("name").value))
            for inner in ("entities", "dimensions", "measures") if key == "semantic_models" else ():
                for part in listed(one, inner):
                    yield from _of_part(inner, part)
    for model in listed(node, "models"):
        for metric in listed(model, "metrics"):
            yield from _of_part("metrics", metric)


def _of_part(kind: str, node: Node, name: str = "") -> Iterator[Problem]:
    read = _READ[kind] | (_EMBEDDED if kind == "metrics" else frozenset())
    for key, child in (node.mapping or {}).items():
        if key not in read | _UNSPOKEN and child.plain() not in (None, "", [], {}, False):
            named = name or node.at("name").value
            yield child.problem(f"`{key}` of {named!r} ({kind}) is not carried.")
