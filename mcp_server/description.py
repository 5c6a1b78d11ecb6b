"""What a product, dataset or metric is, as far as it exists for a caller: the body of `describe`."""

from __future__ import annotations

from typing import Any

from indexes.library import LiveGeneration
from mcp_server.identity import SQL
from mcp_server.metric_description import metric_definition
from mcp_server.references import dataset_reference, metric_reference, product_reference
from mcp_server.session import Session
from semantic_layer.catalog import CatalogItem
from semantic_layer.metric import Metric, SemanticModel
from semantic_layer.plan.world import World
from semantic_layer.policy import Action, DatasetGrant, Grant
from semantic_layer.product import Column, DataProduct, Dataset

ASKABLE = (Action.SEARCH, Action.METRIC, Action.LOOKUP, Action.SQL)
MAX_VALUES = 30


def described(session: Session, item: CatalogItem) -> dict[str, Any]:
    """An item of the catalogue that exists for the caller, in full; parts that do not are not named."""
    entry, grant = session.snapshot.generations[item.product], session.discoverable[item.product]
    dataset = entry.product.dataset(item.name)
    metric = entry.semantics.metric(item.name) if entry.semantics else None
    if item.kind == "product":
        return _filled(_product(session, entry, grant))
    if item.kind == "dataset" and dataset is not None:
        return _filled(_dataset(session, item.product, dataset, grant.dataset(dataset.name)))
    if item.kind == "metric" and metric is not None and entry.semantics is not None:
        return _filled(_metric(session, entry.product, entry.semantics, metric))
    return _filled(_other(entry.semantics, item))


def _product(session: Session, entry: LiveGeneration, grant: Grant) -> dict[str, Any]:
    """Purpose, owner, promises, datasets and metrics."""
    product, metrics = entry.product, entry.semantics.metrics if entry.semantics else ()
    datasets = [dataset for dataset in product.datasets if grant.dataset(dataset.name).allowances]
    return {
        "ref": product_reference(product.name),
        "kind": "product",
        "name": product.name,
        "title": product.title,
        "version": product.version,
        "status": product.status,
        "domain": product.domain,
        "owner": product.owner,
        "purpose": product.purpose,
        "usage": product.usage,
        "limitations": product.limitations,
        "tags": sorted(product.tags),
        "promises": [f"{one.property} {one.value} {one.unit}".strip() for one in product.service_levels],
        "you_may": _actions(session, product.name),
        "datasets": [_filled(_dataset_head(product.name, dataset)) for dataset in datasets],
        "metrics": [
            _filled(_metric_head(product.name, metric)) for metric in metrics if grant.allows_metric(metric.name)
        ],
    }


def _dataset(session: Session, product: str, dataset: Dataset, held: DatasetGrant) -> dict[str, Any]:
    """Kind, key and columns."""
    columns = [column for column in dataset.columns if column.name in held.columns | held.masked]
    return {
        **_dataset_head(product, dataset),
        "product": product,
        "granularity": dataset.granularity,
        "language": dataset.language if dataset.text_columns or dataset.kind == "document" else "",
        "deprecated": dataset.deprecated,
        "live": dataset.live,
        "you_may": _actions(session, product),
        "key": [column for column in dataset.key if column in held.columns],
        "columns": [_filled(_column(column, held)) for column in columns],
    }


def _metric(session: Session, product: DataProduct, model: SemanticModel, metric: Metric) -> dict[str, Any]:
    """Definition, owner, certification, dimensions."""
    world = discoverable_world(session)
    return {**_metric_head(product.name, metric), **metric_definition(session, world, product, model, metric)}


def _other(model: SemanticModel | None, item: CatalogItem) -> dict[str, Any]:
    """A column, dimension or saved query: what the catalogue says, and a saved query's form."""
    query = model.saved_query(item.name) if model is not None and item.kind == "query" else None
    return {
        "ref": item.ref,
        "kind": item.kind,
        "name": item.name,
        "product": item.product,
        "title": item.title,
        "description": item.description,
        "synonyms": [one for one in item.synonyms if one],
        "query": dict(query.query) if query else None,
    }


def _actions(session: Session, product: str) -> list[str]:
    """What the caller may ask of a product; SQL only where its token has the scope for it."""
    return [
        action.value
        for action in ASKABLE
        if (action is not Action.SQL or SQL in session.principal.scopes)
        and session.snapshot.grant(session.principal, product, action).allowed
    ]


def _dataset_head(product: str, dataset: Dataset) -> dict[str, Any]:
    return {
        "ref": dataset_reference(product, dataset.name),
        "kind": dataset.kind,
        "name": dataset.name,
        "title": dataset.title,
        "description": dataset.description,
    }


def _metric_head(product: str, metric: Metric) -> dict[str, Any]:
    return {
        "ref": metric_reference(product, metric.name),
        "kind": "metric",
        "name": metric.name,
        "label": metric.label,
        "description": metric.description,
        "unit": metric.unit,
        "certification": metric.certification.state,
    }


def _column(column: Column, held: DatasetGrant) -> dict[str, Any]:
    masked = column.name not in held.columns
    return {
        "name": column.name,
        "type": column.type.value,
        "title": column.title,
        "description": column.description,
        "unit": column.unit,
        "classification": column.classification,
        "masked": masked,
        "searched": column.is_text,
        "filterable": column.filterable and not masked,
        "values": [] if masked or column.sensitive else list(column.enum[:MAX_VALUES]),
    }


def discoverable_world(session: Session) -> World:
    """The models and products that exist for the caller, under its `discover` grants."""
    grants = session.discoverable
    live = {name: session.snapshot.generations[name] for name in grants}
    return World(
        models={name: one.semantics for name, one in live.items() if one.semantics is not None},
        products={name: one.product for name, one in live.items()},
        grants=grants,
    )


def _filled(form: dict[str, Any]) -> dict[str, Any]:
    """The form without what is empty."""
    return {name: value for name, value in form.items() if value not in ("", None, [], False)}
