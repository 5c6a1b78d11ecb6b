"""A metric in full for `describe`: in words, its inputs, filters and times, its state, its dimensions, its SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from indexes.measure import compile_snapshot
from mcp_server.session import Session
from semantic_layer.errors import UnknownName, WellheadError
from semantic_layer.metric import Metric, SemanticModel
from semantic_layer.metric_words import fields_read, filter_words, input_forms, metric_times, metric_words
from semantic_layer.plan.names import BY, find, offered_names
from semantic_layer.plan.query import MetricQuery
from semantic_layer.plan.world import Place, World
from semantic_layer.policy import Action
from semantic_layer.predicate import TRUE
from semantic_layer.product import DataProduct

MOST_SQL_CHARACTERS = 4_000


def metric_definition(
    session: Session, world: World, product: DataProduct, model: SemanticModel, metric: Metric
) -> dict[str, Any]:
    """What the metric is. How it is computed is said where the caller may see every column that it reads."""
    measures = list(model.measures_of(metric))
    bases = [world.place(model.product, measure.dataset) for measure in measures]
    placed = [base for base in bases if base is not None]
    seen = (
        len(placed) == len(measures)
        and _sees_columns(world, model, metric)
        and _sees_fields(world, placed, model, metric)
    )
    return {
        "product": product.name,
        "type": metric.kind,
        "formula": metric.formula if seen else "",
        "in_words": metric_words(metric) if seen else "",
        "inputs": [{key: one for key, one in form.items() if one} for form in input_forms(metric)] if seen else [],
        "filter": filter_words(metric.filter) if seen and metric.filter != TRUE else "",
        "times": metric_times(model, metric) if seen else [],
        "owner": metric.owner or product.owner,
        **_state(metric),
        "synonyms": list(metric.synonyms),
        "unsupported": metric.unsupported,
        "time_zone": model.time_zone,
        "dimensions": _dimensions(world, placed),
        **(_sql(session, product.name, metric) if seen else {}),
    }


def _state(metric: Metric) -> dict[str, str]:
    """Who certified it, or who did before it changed."""
    state = metric.certification
    if state.state == "certified":
        return {"certified_by": state.by, "certified_at": state.at}
    return {"changed_since_certified_by": state.by, "changed_since_certified_at": state.at}


def _sees_columns(world: World, model: SemanticModel, metric: Metric) -> bool:
    """Whether each column below the metric is shown to the caller, whichever dataset it is of."""
    read = {pair for measure in model.measures_of(metric) for pair in measure.columns}
    places = {name: world.place(model.product, name) for name, _ in read}
    return all(
        (place := places[name]) is not None and world.allowed(place, frozenset({column})) for name, column in read
    )


def _sees_fields(world: World, bases: Sequence[Place], model: SemanticModel, metric: Metric) -> bool:
    """Whether each field that a filter below the metric names is shown to the caller."""
    for name in fields_read(model, metric):
        asked, by, _ = name.partition(BY)
        if by:
            if not _exists(world, asked):
                return False
            continue
        found = [one for base in bases for one in find(world, base, name, facts=True)]
        if not found or not all(world.allowed(one.place, one.dimension.columns) for one in found):
            return False
    return True


def _exists(world: World, metric: str) -> bool:
    try:
        world.metric(metric)
    except UnknownName:
        return False
    return True


def _dimensions(world: World, bases: Sequence[Place]) -> list[dict[str, Any]]:
    """What a query may group the metric by: the names that all its measures offer to this caller."""
    offered = [offered_names(world, base) for base in bases]
    common = [name for name in offered[0] if all(name in more for more in offered)] if offered else []
    return [_dimension(world, bases[0], name) for name in common]


def _dimension(world: World, base: Place, name: str) -> dict[str, Any]:
    found = find(world, base, name)[0].dimension
    form: dict[str, Any] = {
        "name": name,
        "type": found.type.value if found.type else "",
        "time": found.is_time,
        "description": found.description,
    }
    return {key: value for key, value in form.items() if value}


def _sql(session: Session, product: str, metric: Metric) -> dict[str, str]:
    """The statement that computes its total for this caller, or why it may not be asked."""
    query = MetricQuery(metrics=(f"{product}.{metric.name}",))
    try:
        compiled = compile_snapshot(
            session.snapshot,
            query,
            session.snapshot.grants(session.principal, Action.METRIC),
            as_of=session.now,
            discover=session.discoverable,
        )
    except WellheadError as error:
        return {"cannot_be_asked": error.message}
    text = " ".join(compiled.statement.sql.split())
    return {"sql": text if len(text) <= MOST_SQL_CHARACTERS else text[:MOST_SQL_CHARACTERS] + " …"}
