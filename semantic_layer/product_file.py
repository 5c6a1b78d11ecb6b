"""Reads `product.yaml`, the optional ODPS (Bitol) envelope, and checks that it is around this contract."""

from __future__ import annotations

from dataclasses import replace

from semantic_layer.findings import Findings
from semantic_layer.product import DataProduct
from semantic_layer.section import Section
from semantic_layer.yaml_file import Node

SUPPORTED = ("v1.0.0", "v1.1.0")
_KEYS = (
    "apiVersion",
    "kind",
    "id",
    "name",
    "version",
    "status",
    "domain",
    "tenant",
    "type",
    "description",
    "tags",
    "synonyms",
    "deprecated",
    "inputPorts",
    "outputPorts",
    "managementPorts",
    "support",
    "team",
    "context",
    "customProperties",
    "authoritativeDefinitions",
    "productCreatedTs",
)
_DESCRIPTION = ("purpose", "usage", "limitations", "authoritativeDefinitions", "customProperties")
_SYNONYM = ("synonym", "id", "description", "locale", "source", "status", "customProperties")


def read_envelope(node: Node, *, product: DataProduct, findings: Findings) -> DataProduct:
    """The product with what its envelope says of it; the contract stays the word on data.

    One output port must carry this product's contract. Every mistake is added to `findings`.
    """
    top = Section(node, _KEYS, "product.yaml", findings.problems)
    top.required("apiVersion", "kind", "id")
    if top.node_of("apiVersion") is not None and top.text("apiVersion") not in SUPPORTED:
        suggestion = "Use one of " + ", ".join(SUPPORTED) + "."
        top.wrong(f"apiVersion {top.text('apiVersion')!r} is not supported.", suggestion, key="apiVersion")
    if top.text("kind", "DataProduct") != "DataProduct":
        top.wrong(f"kind {top.text('kind')!r} is no data product.", "Write kind: DataProduct.", key="kind")
    _check_ports(top, product)
    described = top.section("description", _DESCRIPTION)
    synonyms = [one.text("synonym") for one in top.sections("synonyms", _SYNONYM, "a synonym")]
    return replace(
        product,
        title=top.text("name") or product.title,
        version=top.text("version") or product.version,
        status=top.text("status") or product.status,
        domain=top.text("domain") or product.domain,
        purpose=described.text("purpose").strip() or product.purpose,
        usage=described.text("usage").strip() or product.usage,
        limitations=described.text("limitations").strip() or product.limitations,
        tags=product.tags | frozenset(top.texts("tags")),
        synonyms=(*product.synonyms, *(word for word in synonyms if word)),
    )


def _check_ports(top: Section, product: DataProduct) -> None:
    ports = top.nodes("outputPorts")
    contracts = [port.at("contractId").value for port in ports if port.get("contractId") is not None]
    if product.contract_id and product.contract_id not in contracts:
        said = ", ".join(repr(one) for one in contracts) or "none"
        top.wrong(
            f"no output port carries the contract {product.contract_id!r} (there: {said}).",
            f"Write outputPorts: [{{name: {product.name}, contractId: {product.contract_id}}}].",
            key="outputPorts",
        )
