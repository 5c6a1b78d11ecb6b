"""Holds foreign keys into other products against those products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semantic_layer.errors import Problem
from semantic_layer.product import DataProduct
from semantic_layer.section import unknown_name
from semantic_layer.yaml_file import Node


def check_references(products: Mapping[str, DataProduct], files: Mapping[str, str]) -> Iterator[Problem]:
    """Every reference `product.dataset` that leads to no product, dataset or column among these.

    `files` names each product's contract for the problems.
    """
    for name, product in products.items():
        for dataset in product.datasets:
            for reference in dataset.references:
                owner, dot, target = reference.to_dataset.rpartition(".")
                if not dot:
                    continue
                place = Node(files.get(name, name), reference.line, None)
                if owner not in products:
                    yield unknown_name(place, "product", owner, products)
                    continue
                datasets = {one.name: one for one in products[owner].datasets}
                if target not in datasets:
                    known = [f"{owner}.{one}" for one in datasets]
                    yield unknown_name(place, "dataset", reference.to_dataset, known)
                    continue
                known = [f"{reference.to_dataset}.{column.name}" for column in datasets[target].columns]
                for column in (f"{reference.to_dataset}.{name}" for name in reference.to_columns):
                    if column not in known:
                        yield unknown_name(place, "column", column, known)
