"""Reads a product's semantic files, as their authors wrote them, into the one metric model."""

from __future__ import annotations

from collections.abc import Sequence

from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.product import DataProduct
from semantic_layer.semantics.checks import check_model
from semantic_layer.semantics.dbt import is_dbt, read_dbt
from semantic_layer.semantics.ossie import is_ossie, read_ossie
from semantic_layer.yaml_file import Node


def read_semantics(nodes: Sequence[Node], *, product: DataProduct, findings: Findings) -> SemanticModel | None:
    """The model in a product's semantic files: one Ossie file, one dbt manifest, or dbt's YAML files together.

    Every mistake is added to `findings`; None where there is nothing to read or its kind is not known.
    """
    if not nodes:
        return None
    if is_ossie(nodes[0]):
        model = read_ossie(nodes[0], product=product, findings=findings)
    elif all(is_dbt(node) or node.get("metrics") is not None for node in nodes):
        model = read_dbt(nodes, product=product, findings=findings)
    else:
        findings.problems.append(
            nodes[0].problem(
                "this is no semantic file that is read.",
                "Write Apache Ossie (version, semantic_model) or give dbt's semantic_manifest.json.",
            )
        )
        return None
    findings.problems.extend(check_model(model))
    return model
