"""Writes a first policy and evaluations: analysts see all but personal data, and nobody else sees anything."""

from __future__ import annotations

from typing import Any

from ingest.infer.dataset import InferredDataset
from ingest.infer.product import InferredProduct
from ingest.infer.yaml_text import comment, one_line
from ingest.parse.document import parse_document
from semantic_layer.errors import SourceFailed

ROLE = "analyst"
_LIGHT = (".md", ".markdown", ".txt", ".html", ".htm", ".docx")
_TRIES = 5


def policy_text(product: InferredProduct) -> str:
    """The text of policy.yaml."""
    personal = {dataset.name: dataset.personal for dataset in product.datasets if dataset.personal}
    lines = [
        comment("Who may see what. What no rule allows is denied. Nothing here is public: no rule names the role"),
        comment("`public`, which is all that a caller without a token has."),
        "version: 1",
        "rules:",
        f"  - name: {ROLE}s-see-what-is-not-personal",
        f"    roles: [{ROLE}]",
        "    actions: [discover, search, metric, lookup]",
        "    columns: {classification: [public, internal]}",
    ]
    if personal:
        listed = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in personal.items())
        lines.append(comment(f"Classified personal in the contract, and so not shown: {listed}."))
    lines += [
        comment("To limit rows by who asks, add a rule with, say,"),
        comment("rows: {field: region, op: in, value: {principal: regions}}"),
    ]
    return "\n".join(lines) + "\n"


def evals_text(product: InferredProduct) -> str:
    """The text of evals.yaml: what must never be answered, and for documents one question to begin with."""
    lines = [
        comment("The questions that gate every publish. Add what people really ask, and what nobody may be told."),
        "version: 1",
    ]
    retrieval = [case for dataset in product.datasets if (case := _question(dataset)) is not None]
    if retrieval:
        lines.append("retrieval:")
        lines.append(comment("A document's own title, as a placeholder.", 2))
        lines.extend(f"  - {one_line(case)}" for case in retrieval)
    lines.append("forbidden:")
    lines.extend(f"  - {one_line(case)}" for case in _forbidden(product))
    return "\n".join(lines) + "\n"


def _forbidden(product: InferredProduct) -> list[dict[str, Any]]:
    public, analyst = {"roles": ["public"]}, {"roles": [ROLE]}
    first = product.datasets[0]
    whole = {"lookup": {"product": product.name, "dataset": first.name, "limit": 1}}
    cases: list[dict[str, Any]] = [{"id": "nothing-is-public", "as": public, "ask": whole, "refused": True}]
    for dataset in product.datasets:
        for column in dataset.personal[:1]:
            asked = {"product": product.name, "dataset": dataset.name, "columns": [column], "limit": 1}
            name = f"no-{column}-of-{dataset.name}".replace("_", "-")
            cases.append({"id": name, "as": analyst, "ask": {"lookup": asked}, "refused": True})
    return cases


def _question(dataset: InferredDataset) -> dict[str, Any] | None:
    """The title of one document that can be read quickly, which a search for it must find."""
    if dataset.kind != "document":
        return None
    light = [file for file in dataset.group.files if file.suffix.lower() in _LIGHT]
    for file in light[:_TRIES]:
        name = file.relative_to(dataset.group.root).as_posix()
        try:
            title = parse_document(file, dataset.name, name).title
        except SourceFailed:
            continue
        return {"id": f"finds-{dataset.name}", "as": {"roles": [ROLE]}, "question": title, "relevant": [name]}
    return None
