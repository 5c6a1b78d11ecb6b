"""Reads a product's semantic files, as their authors wrote them, into the one metric model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.product import DataProduct
from semantic_layer.semantics.checks import check_model
from semantic_layer.semantics.databricks import is_metric_view, read_metric_view
from semantic_layer.semantics.dbt import is_dbt, read_dbt
from semantic_layer.semantics.dbt_models import has_models, without_models
from semantic_layer.semantics.ossie import is_ossie, read_ossie
from semantic_layer.semantics.snowflake import is_semantic_view, read_semantic_view
from semantic_layer.yaml_file import Node

_FORMS: tuple[tuple[str, Callable[[Node], bool], Callable[..., SemanticModel]], ...] = (
    ("Apache Ossie", is_ossie, read_ossie),
    ("a Snowflake semantic view", is_semantic_view, read_semantic_view),
    ("a Databricks metric view", is_metric_view, read_metric_view),
)
"""The forms that one file holds whole: what it is called, how it is told, how it is read."""


def form_of_files(nodes: Sequence[Node]) -> str:
    """What the files are called, such as `dbt`; empty where nothing of them is known."""
    for name, is_form, _ in _FORMS:
        if nodes and is_form(nodes[0]):
            return name
    return "dbt" if _dbt_nodes(nodes) else ""


def read_semantics(nodes: Sequence[Node], *, product: DataProduct, findings: Findings) -> SemanticModel | None:
    """The model in a product's semantic files: one file of a form that stands alone, or dbt's files together.

    Every mistake is added to `findings`; None where there is nothing to read or its kind is not known. A product
    without datasets promises no columns, so that none is checked.
    """
    if not nodes:
        return None
    read = next((read for _, is_form, read in _FORMS if is_form(nodes[0])), None)
    model = None
    if read is not None:
        model = read(nodes[0], product=product, findings=findings)
    elif dbt := _dbt_nodes(nodes):
        model = read_dbt([without_models(node, findings) for node in dbt], product=product, findings=findings)
    if model is None:
        findings.problems.append(
            nodes[0].problem(
                "this is no semantic file that is read.",
                "Give Apache Ossie (version, semantic_model), dbt, a Snowflake semantic view or a metric view.",
            )
        )
        return None
    findings.problems.extend(check_model(model))
    return model


def _dbt_nodes(nodes: Sequence[Node]) -> list[Node]:
    """The files that say something of dbt's semantics; a project's other YAML files say nothing of it."""
    own = [node for node in nodes if is_dbt(node) or has_models(node)]
    words = ("metrics", "saved_queries")
    return own and [node for node in nodes if node in own or any(node.get(word) is not None for word in words)]
