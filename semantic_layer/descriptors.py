"""The product's files as a generation seals them, and the product read back from there by the same readers."""

from __future__ import annotations

from pathlib import Path

from semantic_layer.errors import CorruptGeneration
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.product import DataProduct
from semantic_layer.product_folder import ProductFolder, read_product_folder


def write_descriptors(product: ProductFolder, folder: Path) -> None:
    """Copy the product's contract, envelope, semantics and evaluations into a generation's folder."""
    for name, source in product.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def read_descriptors(folder: Path, name: str) -> tuple[DataProduct, SemanticModel | None]:
    """The product and its semantics from a sealed generation's descriptors.

    Raises CorruptGeneration naming the first mistake: they were valid when they were sealed.
    """
    findings = Findings()
    read = read_product_folder(folder, name=name, shown_as=str(folder), findings=findings, with_policy=False)
    if read is None or findings.problems:
        first = min(findings.problems)
        raise CorruptGeneration(f"the sealed files of {name!r} do not read ({first}).", hint="Ingest it again.")
    return read.product, read.semantics
