"""Reads ODCS 3.1 relationships into foreign keys, and checks that both ends exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from open_data_contract_standard.model import Relationship, SchemaObject

from semantic_layer.contract_hints import RELATIONSHIP, read_hints
from semantic_layer.findings import Findings
from semantic_layer.product import Dataset, Reference
from semantic_layer.section import unknown_name
from semantic_layer.yaml_file import Node

Severity = Literal["error", "warning"]
_Ends = list[tuple[str, str]]


def read_references(
    schema: SchemaObject,
    place: Node,
    dataset: Dataset,
    datasets: Mapping[str, Dataset],
    contract: Node,
    findings: Findings,
) -> tuple[Reference, ...]:
    """The foreign keys of an object, of its properties first.

    An end is `dataset.column`, `product.dataset.column` for another product (held against the whole workspace
    later), or ODCS's path by ids, `schema/<id>/properties/<id>`. Composite keys are lists of equal length.
    """
    reader = _Reader(dataset, datasets, contract, findings)
    found: list[Reference | None] = []
    properties = place.get("properties")
    for declared, inner in zip(
        schema.properties or (), (properties.items if properties else None) or (), strict=True
    ):
        for relationship, node in zip(declared.relationships or (), _items(inner, "relationships"), strict=True):
            if relationship.from_ is not None:
                reader.wrong(node, "a relationship of a property has no `from`.", "The property itself is meant.")
            found.append(reader.reference(relationship, node, [declared.name or ""]))
    for relationship, node in zip(schema.relationships or (), _items(place, "relationships"), strict=True):
        sources = reader.ends(relationship.from_, node, "from")
        if sources is None:
            continue
        foreign = [end for end, _ in sources if end not in ("", dataset.name)]
        if foreign:
            reader.wrong(node, f"`from` names {foreign[0]!r}; it must name columns of {dataset.name!r}.")
            continue
        found.append(reader.reference(relationship, node, [column for _, column in sources]))
    return tuple(reference for reference in found if reference is not None)


def _items(owner: Node, key: str) -> tuple[Node, ...]:
    node = owner.get(key)
    return (node.items if node else None) or ()


@dataclass
class _Reader:
    dataset: Dataset
    datasets: Mapping[str, Dataset]
    contract: Node
    findings: Findings

    def reference(self, relationship: Relationship, node: Node, sources: list[str]) -> Reference | None:
        if relationship.type not in (None, "foreignKey"):
            self.wrong(node, f"no relationship type {relationship.type!r}.", "Write type: foreignKey.")
            return None
        targets = self.ends(relationship.to, node, "to")
        if targets is None:
            return None
        names = {end for end, _ in targets}
        if len(names) != 1 or len(targets) != len(sources):
            self.wrong(node, "`from` and `to` must name equally many columns of one dataset each.")
            return None
        target = names.pop() or self.dataset.name
        columns = tuple(column for _, column in targets)
        ends = [(self.dataset.name, column) for column in sources]
        if "." not in target:
            ends += [(target, column) for column in columns]
        absent = [end for end in ends if not self.known(*end, node)]
        hints = read_hints(node, RELATIONSHIP, "a relationship", self.findings.problems)
        severity = hints.choice("severity", get_args(Severity), "warning")
        return None if absent else Reference(tuple(sources), target, columns, severity, node.line)

    def ends(self, given: str | list[str] | None, node: Node, key: str) -> _Ends | None:
        """Each end as (dataset or product.dataset, column); an empty dataset means the own one."""
        if not given:
            self.wrong(node, f"a relationship needs `{key}`.", f"Write {key}: customers.customer_id.")
            return None
        ends: _Ends = []
        for text in [given] if isinstance(given, str) else given:
            if "/" in text:
                end = self.by_ids(text)
                if end is None:
                    self.wrong(node, f"`{key}` {text!r} leads to nothing in this contract.",
                               "Write dataset.column, or product.dataset.column.")  # fmt: skip
                    return None
                ends.append(end)
            else:
                owner, _, column = text.rpartition(".")
                ends.append((owner, column))
        return ends

    def by_ids(self, path: str) -> tuple[str, str] | None:
        steps = path.removeprefix("/").split("/")
        if len(steps) != 4 or steps[0] != "schema" or steps[2] != "properties":
            return None
        owner = _by_id(self.contract.get("schema"), steps[1])
        column = _by_id(owner.get("properties"), steps[3]) if owner else None
        return (str(owner.at("name").value), str(column.at("name").value)) if owner and column else None

    def known(self, name: str, column: str, node: Node) -> bool:
        dataset = self.datasets.get(name)
        if dataset is None:
            self.findings.problems.append(unknown_name(node, "dataset", name, self.datasets))
            return False
        if dataset.column(column) is None:
            columns = [f"{name}.{one.name}" for one in dataset.columns]
            self.findings.problems.append(unknown_name(node, "column", f"{name}.{column}", columns))
            return False
        return True

    def wrong(self, node: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(node.problem(message, suggestion))


def _by_id(node: Node | None, identifier: str) -> Node | None:
    items = (node.items if node else None) or ()
    return next((item for item in items if item.at("id").value == identifier), None)
