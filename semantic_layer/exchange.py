"""Semantic files of other tools into ours and back, no loss unsaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.product import DataProduct
from semantic_layer.product_folder import MANIFEST
from semantic_layer.semantics import form_of_files, read_semantics
from semantic_layer.semantics.dbt_writer import write_dbt
from semantic_layer.semantics.kept import kept_keys
from semantic_layer.semantics.ossie_writer import write_ossie
from semantic_layer.semantics.unread import unread_keys
from semantic_layer.yaml_file import read_yaml
from semantic_layer.yaml_text import yaml_text

SemanticForm = Literal["ossie", "dbt"]


@dataclass(frozen=True)
class Imported:
    """A file in our form: what it was, its text, and in a line each what it does not carry and what is refused."""

    form: str
    model: SemanticModel
    text: str
    lost: tuple[Problem, ...]

    @property
    def kept(self) -> Mapping[str, int]:
        """Keys that are kept for others and not used here, with how often they occur."""
        return kept_keys(self.model)

    @property
    def refused(self) -> tuple[str, ...]:
        """The metrics that are carried and cannot be computed here, with the reason."""
        return tuple(f"{one.name} {one.unsupported}" for one in self.model.metrics if one.unsupported)


@dataclass(frozen=True)
class Exported:
    """A product's semantics as text in another form and, each in a sentence, what it does not carry."""

    text: str
    lost: tuple[str, ...]


def import_files(paths: Sequence[Path], product: DataProduct) -> Imported:
    """The semantic files at these paths (files, or a folder of dbt's) in our form, read for this product.

    Raises InvalidWorkspace with every mistake in them.
    """
    nodes = [read_yaml(path, shown_as=str(path)) for path in _files(paths)]
    form = form_of_files(nodes)
    findings = Findings()
    model = read_semantics(nodes, product=product, findings=findings)
    if model is None or findings.problems:
        raise InvalidWorkspace(findings.problems)
    written = write_ossie(model, product)
    lost = [*findings.warnings, *(unread_keys(nodes) if form == "dbt" else ())]
    lost += [Problem(nodes[0].file, 1, f"not carried: {one}") for one in written.lost]
    heading = f"Imported from {', '.join(path.name for path in paths)} ({form})."
    return Imported(form, model, yaml_text(written.document, heading=heading), tuple(sorted(set(lost))))


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        manifest = path / MANIFEST
        if path.is_dir() and not manifest.is_file():
            found.extend(sorted(one for suffix in ("yml", "yaml") for one in path.rglob(f"*.{suffix}")))
        else:
            found.append(manifest if path.is_dir() else path)
    if not found:
        raise InvalidArgument(f"no semantic files in {', '.join(map(str, paths))}.", hint="Name a file.")
    return found


def export_model(model: SemanticModel, product: DataProduct, form: SemanticForm) -> Exported:
    """The product's semantics in another form."""
    written = write_ossie(model, product) if form == "ossie" else write_dbt(model, product)
    return Exported(
        yaml_text(written.document, heading=f"Exported from the product {product.name}."), written.lost
    )
