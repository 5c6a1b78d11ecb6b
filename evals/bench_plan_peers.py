"""Other semantic layers on the tables of `bench_plan`, each in a process of its own, under a Python that has it.

Imports nothing of ours: `PYTHON -P evals/bench_plan_peers.py bsl|metricflow TABLES.duckdb THREADS` reads one JSON
request a line, `{"ask": NAME, "do": "compile"|"run"}`, and answers each with one line: milliseconds, and a run's rows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Compile = Callable[[str], str]
"""A question's SQL by its name; raises what the peer raises where it does not answer it."""

Peer = tuple[Compile, Any]
"""How it compiles, and its connection to the tables."""

# -- Boring Semantic Layer ---------------------------------------------------------------------------------

_SEGMENT = {"field": "customers.segment", "operator": "=", "value": "s1"}
_PRIORITY = {"field": "orders.priority", "operator": "!=", "value": "p3"}
_MONTH = {"time_grains": {"lines.shipped": "TIME_GRAIN_MONTH"}}
BSL: Mapping[str, Mapping[str, Any]] = {
    "flat": {"dimensions": ["mode"], "measures": ["revenue"]},
    "ratio": {"dimensions": ["mode"], "measures": ["price_per_unit"]},
    "by month": {
        "dimensions": ["shipped"],
        "measures": ["revenue", "units"],
        "time_grains": {"shipped": "TIME_GRAIN_MONTH"},
    },
    "three joins": {
        "dimensions": ["lines.shipped", "parts.brand"],
        "measures": ["lines.price_per_unit", "lines.revenue"],
        "filters": [_SEGMENT, _PRIORITY],
        **_MONTH,
    },
    "three in a row": {
        "dimensions": ["lines.shipped", "nations.country"],
        "measures": ["lines.price_per_unit", "lines.revenue"],
        "filters": [_SEGMENT, _PRIORITY],
        **_MONTH,
    },
}


def bsl(database: str) -> Peer:
    """Boring Semantic Layer on Ibis; a question over joins is asked of the joined model, as its guide says."""
    layer, ibis = import_module("boring_semantic_layer"), import_module("ibis")
    backend = ibis.duckdb.connect(database, read_only=True)

    def model(name: str, **dimensions: Any) -> Any:
        return layer.to_semantic_table(backend.table(name), name=name).with_dimensions(**dimensions)

    lines = (
        model(
            "lines",
            mode=lambda t: t.mode,
            shipped=layer.time_dimension(lambda t: t.shipped, smallest_time_grain="TIME_GRAIN_DAY"),
        )
        .with_measures(revenue=lambda t: t.price.sum(), units=lambda t: t.quantity.sum())
        .with_measures(price_per_unit=lambda t: t.revenue / t.units)
    )
    orders = model("orders", priority=lambda t: t.priority)
    customers = model("customers", segment=lambda t: t.segment)
    nations = model("nations", country=lambda t: t.country)
    parts = model("parts", brand=lambda t: t.brand)
    ordered = lines.join_one(orders, on="order_id").join_one(customers, on="customer_id")
    asked_of = {
        "three joins": ordered.join_one(parts, on="part_id"),
        "three in a row": ordered.join_one(nations, on="nation_id"),
    }

    def compiled(name: str) -> str:
        return str(asked_of.get(name, lines).query(**BSL[name]).sql())

    return compiled, backend.con


# -- MetricFlow --------------------------------------------------------------------------------------------

_WHERE = (
    "{{ Dimension('customer__segment', entity_path=['order']) }} = 's1'",
    "{{ Dimension('order__priority') }} <> 'p3'",
)
METRICFLOW: Mapping[str, Mapping[str, Any]] = {
    "flat": {"metric_names": ["revenue"], "group_by_names": ["line__mode"]},
    "ratio": {"metric_names": ["price_per_unit"], "group_by_names": ["line__mode"]},
    "by month": {"metric_names": ["revenue", "quantity"], "group_by_names": ["metric_time__month"]},
    "three joins": {
        "metric_names": ["price_per_unit", "revenue"],
        "group_by_names": ["metric_time__month", "part__brand"],
        "where_constraints": _WHERE,
    },
    "three in a row": {
        "metric_names": ["price_per_unit", "revenue"],
        "group_by_names": ["metric_time__month", "order__customer__nation__country"],
        "where_constraints": _WHERE,
    },
    "month to date": {"metric_names": ["month_to_date"], "group_by_names": ["metric_time__day"]},
}


def _entity(name: str, kind: str) -> dict[str, str]:
    return {"name": name, "type": kind, "expr": f"{name}_id"}


def _table(name: str) -> dict[str, str]:
    return {"alias": name, "schema_name": "main", "relation_name": f"main.{name}"}


def _model(name: str, entities: list[Any], dimensions: list[str], **more: Any) -> dict[str, Any]:
    named = [{"name": one, "type": "categorical"} for one in dimensions]
    return {"name": name, "node_relation": _table(name), "entities": entities, "dimensions": named, **more}


def _simple(name: str) -> dict[str, Any]:
    return {"name": name, "type": "simple", "type_params": {"measure": {"name": name}}}


def manifest() -> dict[str, Any]:
    """The model of `bench_plan` as dbt's semantic manifest has it."""
    shipped = {"name": "shipped", "type": "time", "type_params": {"time_granularity": "day"}}
    lines = _model(
        "lines",
        [_entity("line", "primary"), _entity("order", "foreign"), _entity("part", "foreign")],
        ["mode"],
        defaults={"agg_time_dimension": "shipped"},
        measures=[
            {"name": "revenue", "agg": "sum", "expr": "price"},
            {"name": "quantity", "agg": "sum", "expr": "quantity"},
        ],
    )
    lines["dimensions"].append(shipped)
    ratio = {"numerator": {"name": "revenue"}, "denominator": {"name": "quantity"}}
    to_date = {"measure": {"name": "revenue"}, "cumulative_type_params": {"grain_to_date": "month"}}
    day = {"name": "day", "time_granularity": "day"}
    return {
        "semantic_models": [
            lines,
            _model("orders", [_entity("order", "primary"), _entity("customer", "foreign")], ["priority"]),
            _model("customers", [_entity("customer", "primary"), _entity("nation", "foreign")], ["segment"]),
            _model("nations", [_entity("nation", "primary")], ["country"]),
            _model("parts", [_entity("part", "primary")], ["brand"]),
        ],
        "metrics": [
            _simple("revenue"),
            _simple("quantity"),
            {"name": "price_per_unit", "type": "ratio", "type_params": ratio},
            {"name": "month_to_date", "type": "cumulative", "type_params": to_date},
        ],
        "project_configuration": {
            "time_spine_table_configurations": [],
            "time_spines": [{"node_relation": _table("days"), "primary_column": day}],
        },
        "saved_queries": [],
    }


class _Client:
    """What MetricFlow's engine asks of a client to write DuckDB's SQL; it never runs any."""

    def __init__(self) -> None:
        self.sql_engine_type = import_module("metricflow.protocols.sql_client").SqlEngine.DUCKDB
        self.sql_plan_renderer = import_module("metricflow.sql.render.duckdb_renderer").DuckDbSqlPlanRenderer()

    def render_bind_parameter_key(self, bind_parameter_key: str) -> str:
        """As DuckDB names a value."""
        return f"${bind_parameter_key}"


def metricflow(database: str) -> Peer:
    """MetricFlow's Python engine on a manifest made ready by its own rules."""
    engines = import_module("metricflow.engine.metricflow_engine")
    interfaces = "metricflow_semantic_interfaces"
    kind = import_module(f"{interfaces}.implementations.semantic_manifest").PydanticSemanticManifest
    rules = import_module(f"{interfaces}.transformations.semantic_manifest_transformer")
    lookups = import_module("metricflow_semantics.model.semantic_manifest_lookup")
    ready = rules.PydanticSemanticManifestTransformer.transform(kind.parse_raw(json.dumps(manifest())))
    engine = engines.MetricFlowEngine(lookups.SemanticManifestLookup(ready), _Client())

    def compiled(name: str) -> str:
        request = engines.MetricFlowQueryRequest.create(**METRICFLOW[name])
        return str(engine.explain(request).sql_statement.sql)

    return compiled, import_module("duckdb").connect(database, read_only=True)


# -- requests ----------------------------------------------------------------------------------------------

PEERS = {"bsl": bsl, "metricflow": metricflow}


def main() -> None:
    """Answer one request a line until there are no more."""
    name, database, threads = sys.argv[1:]
    compiled, connection = PEERS[name](database)
    connection.execute(f"SET threads = {int(threads)}")
    known: dict[str, str] = {}
    for line in sys.stdin:
        request = json.loads(line)
        ask = request["ask"]
        try:
            started = time.perf_counter()
            if request["do"] == "compile":
                known[ask] = compiled(ask)
                answer: dict[str, Any] = {"ms": (time.perf_counter() - started) * 1_000, "sql": known[ask]}
            else:
                rows = connection.execute(known[ask]).fetchall()
                answer = {"ms": (time.perf_counter() - started) * 1_000, "rows": rows}
        except Exception as refused:  # a peer's own refusal is an answer too
            answer = {"refused": f"{type(refused).__name__}: {refused}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
