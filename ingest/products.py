"""The products of a workspace, ingested one after the other: those that others build on come first."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence

from ingest.embedding import SharedEmbedder
from ingest.progress import Progress
from ingest.report import RunReport
from ingest.run import ingest_product
from ingest.settings import IngestSettings
from semantic_layer.errors import UnknownName, WellheadError
from semantic_layer.product_folder import ProductFolder
from semantic_layer.workspace import Workspace

Outcome = RunReport | WellheadError


def ingest_all(
    workspace: Workspace, products: Sequence[str], settings: IngestSettings, *, by: str, progress: Progress
) -> Generator[tuple[str, Outcome]]:
    """Each product with its report or failure; all products where none is named. One failure stops no other.

    Raises UnknownName before anything is built where a name is not in the workspace.
    """
    for name in products:
        if name not in workspace.products:
            raise UnknownName("product", name, workspace.products)
    embedding = SharedEmbedder(workspace.home, workspace.settings.embedding, settings.device)
    try:
        for name in in_order(workspace.products):
            if products and name not in products:
                continue
            progress.product = name
            try:
                report = ingest_product(
                    workspace, name, settings=settings, by=by, embedding=embedding, progress=progress
                )
            except WellheadError as failure:
                yield name, failure
            else:
                yield name, report
    finally:
        embedding.close()


def in_order(products: Mapping[str, ProductFolder]) -> list[str]:
    """The names, each after those it refers to, else alphabetical; products that need each other stay in it."""
    ordered: dict[str, None] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in products and name not in ordered and name not in trail:
            for needed in sorted(_needed(products[name])):
                visit(needed, (*trail, name))
            ordered.setdefault(name)

    for name in sorted(products):
        visit(name, ())
    return list(ordered)


def _needed(folder: ProductFolder) -> set[str]:
    """The other products that this one's foreign keys and semantics name."""
    references = (reference for dataset in folder.product.datasets for reference in dataset.references)
    names = set(_owners(reference.to_dataset for reference in references))
    if folder.semantics is not None:
        names |= {dataset.product for dataset in folder.semantics.datasets}
        names |= set(_owners(one.to_dataset for one in folder.semantics.relationships))
    return names - {folder.product.name}


def _owners(datasets: Iterable[str]) -> Iterable[str]:
    return (dataset.split(".", 1)[0] for dataset in datasets if "." in dataset)
