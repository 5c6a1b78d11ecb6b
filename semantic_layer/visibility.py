"""What exists for one caller: the names that `discover` grants, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semantic_layer.metric import Dimension, SemanticDataset, SemanticModel
from semantic_layer.policy import Grant
from semantic_layer.product import DataProduct


@dataclass(frozen=True)
class Visibility:
    """The names a caller may discover. Datasets are (product, dataset), columns (product, dataset, column),
    metrics, dimensions and saved queries (product, name); a dimension's name is `dataset.dimension`."""

    products: frozenset[str] = frozenset()
    datasets: frozenset[tuple[str, str]] = frozenset()
    columns: frozenset[tuple[str, str, str]] = frozenset()
    metrics: frozenset[tuple[str, str]] = frozenset()
    dimensions: frozenset[tuple[str, str]] = frozenset()
    saved_queries: frozenset[tuple[str, str]] = frozenset()


def visibility(
    products: Mapping[str, DataProduct], models: Mapping[str, SemanticModel], grants: Mapping[str, Grant]
) -> Visibility:
    """What these `discover` grants show. A masked column is seen as a column, but never as a dimension.

    A saved query is seen where all its metrics are.
    """
    seen = [name for name in products if name in grants and grants[name].allowed]
    columns = frozenset(
        (name, dataset, column)
        for name in seen
        for dataset, grant in grants[name].datasets.items()
        for column in grant.columns | grant.masked
    )
    own = {name: models[name] for name in seen if name in models}
    metrics = frozenset(
        (name, metric.name)
        for name, model in own.items()
        for metric in model.metrics
        if grants[name].allows_metric(metric.name)
    )
    return Visibility(
        products=frozenset(seen),
        datasets=frozenset((name, dataset) for name in seen for dataset in grants[name].datasets),
        columns=columns,
        metrics=metrics,
        dimensions=frozenset(
            (name, f"{dataset.name}.{dimension.name}")
            for name, model in own.items()
            for dataset in model.datasets
            for dimension in dataset.dimensions
            if _groupable(dataset, dimension, grants)
        ),
        saved_queries=frozenset(
            (name, query.name)
            for name, model in own.items()
            for query in model.saved_queries
            if all((name, str(metric)) in metrics for metric in query.query.get("metrics", ()))
        ),
    )


def _groupable(dataset: SemanticDataset, dimension: Dimension, grants: Mapping[str, Grant]) -> bool:
    """Whether some rule shows all the columns that the dimension reads, unmasked."""
    grant = grants.get(dataset.product)
    if grant is None:
        return False
    return any(dimension.columns <= one.columns for one in grant.dataset(dataset.table).allowances)
