"""Reads an ODCS data contract (3.0 to 3.2) into a DataProduct; every mistake has file, line and suggestion."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from open_data_contract_standard.model import (
    OpenDataContractStandard,
    SchemaObject,
    Team,
    TeamMember,
)
from open_data_contract_standard.model import (
    Server as ContractServer,
)

from semantic_layer.contract_columns import read_columns
from semantic_layer.contract_form import conform
from semantic_layer.contract_hints import DATASET, PRODUCT, SERVER, read_hints
from semantic_layer.contract_quality import read_quality
from semantic_layer.contract_references import read_references
from semantic_layer.contract_sources import check_source
from semantic_layer.environment import holds_password
from semantic_layer.findings import Findings
from semantic_layer.product import DataProduct, Dataset, DatasetKind, Server, ServiceLevel
from semantic_layer.section import unknown_name
from semantic_layer.yaml_file import Node

SUPPORTED = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")
"""The ODCS versions that are read."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_TABLES = ("table", "view", "base table", "materialized view", "file")
_OnError = Literal["stop", "set_aside"]


def read_contract(node: Node, *, name: str, folder: Path | str, findings: Findings) -> DataProduct:
    """The product that a contract declares, under its folder's name.

    Every mistake is added to `findings`; what could be read is returned even so, to let the other files of the
    product be held against it. A contract of an unsupported version is read no further than its version, and one that
    is no mapping not at all.
    """
    unread = DataProduct(name, version="", contract_id="", status="", contract_version="", folder=str(folder))
    if node.mapping is None:
        said = node.problem("a contract must be a mapping.", "Start with apiVersion, kind and id.")
        findings.problems.append(said)
        return unread
    stated = node.at("apiVersion")
    if stated is not node and stated.value not in SUPPORTED:
        near = ", ".join(SUPPORTED)
        findings.problems.append(
            stated.problem(f"apiVersion {stated.value!r} is not supported.", f"Use one of {near}.")
        )
        return unread
    stated = frozenset(node.mapping or ())
    contract, node = conform(node, findings.problems)
    reader = _Reader(contract, node, findings, stated)
    return replace(reader.product(name), folder=str(folder))


@dataclass
class _Reader:
    contract: OpenDataContractStandard
    node: Node
    findings: Findings
    stated: frozenset[str]

    def product(self, name: str) -> DataProduct:
        contract = self.contract
        self.check_envelope()
        hints = read_hints(self.node, PRODUCT, "the contract", self.findings.problems)
        described = contract.description
        servers = self.servers()
        return DataProduct(
            name=name,
            version=contract.version or "",
            contract_id=contract.id or "",
            status=contract.status or "",
            contract_version=contract.version or "",
            title=contract.name or contract.dataProduct or "",
            purpose=_stripped(described and described.purpose),
            usage=_stripped(described and described.usage),
            limitations=_stripped(described and described.limitations),
            domain=contract.domain or "",
            owner=owner_of(contract.team),
            tags=frozenset(contract.tags or ()),
            synonyms=hints.texts("synonyms"),
            audit_arguments=hints.flag("audit_arguments", False),
            datasets=self.datasets(servers),
            servers=servers,
            service_levels=self.service_levels(),
        )

    def check_envelope(self) -> None:
        contract = self.contract
        required = {"apiVersion": contract.apiVersion, "kind": contract.kind, "id": contract.id}
        required["version"] = contract.version
        if contract.apiVersion != "v3.2.0":
            required["status"] = contract.status
        for key, value in required.items():
            if not value and key not in self.stated:
                self.wrong(self.node, f"a contract needs `{key}`.", f"Add {key}: {_EXAMPLES[key]}")
        if contract.kind and contract.kind != "DataContract":
            self.wrong(
                self.node.at("kind"), f"kind {contract.kind!r} is no contract.", "Write kind: DataContract."
            )
        if not contract.servers:
            message = "the contract names no `servers`: there is nothing to ingest from."
            self.wrong(self.node, message, "Add servers: [{server: files, type: local, path: data}].")
        if not contract.schema_:
            self.wrong(self.node, "the contract has no `schema`.", "List its tables, documents or records.")

    def servers(self) -> tuple[Server, ...]:
        found: dict[str, Server] = {}
        for declared, place in _paired(self.contract.servers, self.node.get("servers")):
            server = self.server(declared, place)
            if server.name in found:
                self.wrong(place, f"the server {server.name!r} stands twice.", "Rename one.")
            found[server.name] = server
        return tuple(found.values())

    def server(self, declared: ContractServer, place: Node) -> Server:
        for key, value in (("server", declared.server), ("type", declared.type)):
            if not value:
                self.wrong(place, f"a server needs `{key}`.", "Write {server: files, type: local, path: data}.")
        hints = read_hints(place, SERVER, f"server {declared.server!r}", self.findings.problems)
        dsn = hints.text("dsn")
        if holds_password(dsn):
            hints.wrong("`dsn` holds a password.", 'Keep it outside: dsn: "${WELLHEAD_POSTGRES_DSN}".', key="dsn")
        own = ("server", "type", "path", "format", "customProperties", "description", "roles", "id")
        options = {key: child.plain() for key, child in (place.mapping or {}).items() if key not in own}
        return Server(
            name=declared.server or "",
            type={"postgresql": "postgres"}.get(declared.type or "", declared.type or ""),
            path=declared.path or "",
            format=declared.format or "",
            options={
                **options,
                **_stated(dsn=dsn, role=hints.text("role"), timeout=hints.integer("timeout", low=1)),
            },
            line=place.line,
        )

    def datasets(self, servers: Sequence[Server]) -> tuple[Dataset, ...]:
        found: dict[str, Dataset] = {}
        declared = list(_paired(self.contract.schema_, self.node.get("schema")))
        for schema, place in declared:
            dataset = self.dataset(schema, place, servers)
            if dataset.name.casefold() in found:
                self.wrong(place, f"the dataset {dataset.name!r} stands twice.", "Names ignore case; rename one.")
            found[dataset.name.casefold()] = dataset
        read = tuple(found.values())
        referring = {dataset.name: dataset for dataset in read}
        for schema, place in declared:
            if schema.name in referring:
                own = referring[schema.name]
                references = read_references(schema, place, own, referring, self.node, self.findings)
                referring[schema.name] = replace(own, references=references)
        return tuple(referring.values())

    def dataset(self, schema: SchemaObject, place: Node, servers: Sequence[Server]) -> Dataset:
        name = schema.name or ""
        if not _NAME.fullmatch(name):
            self.wrong(
                place.at("name"), f"{name!r} cannot name a dataset.", "Use letters, digits and underscores."
            )
        kind = self.kind(schema, place)
        columns = read_columns(schema.properties, place.get("properties"), kind, self.findings)
        hints = read_hints(place, DATASET, f"dataset {name!r}", self.findings.problems)
        server = hints.text("server") or (servers[0].name if len(servers) == 1 else "")
        names = [one.name for one in servers]
        if server and server not in names:
            self.findings.problems.append(unknown_name(hints.node.at("server"), "server", server, names))
        if not server and len(servers) > 1:
            message = f"the dataset {name!r} does not say which server holds it."
            self.wrong(place, message, "Add the hint server: " + " or ".join(names) + ".")
        language = hints.text("search_language", "en")
        if not _LANGUAGE.fullmatch(language):
            hints.wrong(f"no language {language!r}.", "Use a code such as en or de.", key="search_language")
        dataset = Dataset(
            name=name,
            kind=kind,
            columns=columns,
            physical_name=schema.physicalName or name,
            title=schema.businessName or "",
            description=_stripped(schema.description),
            synonyms=(*(one.synonym for one in schema.synonyms or () if one.synonym), *hints.texts("synonyms")),
            tags=frozenset(schema.tags or ()),
            granularity=_stripped(schema.dataGranularityDescription),
            server=server,
            path=hints.text("path"),
            query=hints.text("query"),
            cursor=hints.text("cursor"),
            on_error=hints.choice("on_error", get_args(_OnError), "stop"),
            live=hints.flag("live"),
            deprecated=hints.text("deprecated") or ("deprecated" if schema.deprecated else ""),
            language=language,
            token_vectors=hints.flag("token_vectors"),
            line=place.line,
        )
        check_source(dataset, servers, hints)
        if not columns:
            self.wrong(place, f"the dataset {name!r} has no `properties`.", "List its columns.")
        if dataset.live and not dataset.key:
            self.wrong(place, f"the live dataset {name!r} has no key to look rows up by.", "Add primaryKey: true.")
        return replace(dataset, quality=self.quality(schema, place, columns_of(dataset)))

    def kind(self, schema: SchemaObject, place: Node) -> DatasetKind:
        stated = (schema.physicalType or "table").casefold()
        match stated:
            case "document" | "record":
                return stated
            case _ if stated in _TABLES:
                return "table"
            case _:
                message = f"physicalType {schema.physicalType!r} is not read here."
                self.wrong(place.at("physicalType"), message, "Use table, document or record.")
                return "table"

    def quality(self, schema: SchemaObject, place: Node, columns: tuple[str, ...]) -> tuple[Any, ...]:
        rules = read_quality(
            schema.quality, place.get("quality"), column="", columns=columns, findings=self.findings
        )
        for declared, inner in _paired(schema.properties, place.get("properties")):
            rules += read_quality(
                declared.quality,
                inner.get("quality"),
                column=declared.name or "",
                columns=columns,
                findings=self.findings,
            )
        return tuple(rules)

    def service_levels(self) -> tuple[ServiceLevel, ...]:
        found: list[ServiceLevel] = []
        names = {schema.name for schema in self.contract.schema_ or ()}
        for declared, place in _paired(self.contract.slaProperties, self.node.get("slaProperties")):
            if not declared.property or declared.value is None:
                self.wrong(
                    place,
                    "an SLA property needs `property` and `value`.",
                    "Write {property: latency, value: 1, unit: d}.",
                )
                continue
            element = declared.element or self.contract.slaDefaultElement or ""
            if element and element.partition(".")[0].strip() not in names:
                message = f"the SLA {declared.property!r} is on {element!r}, which is no dataset of this contract."
                self.findings.warnings.append(place.problem(message))
            found.append(ServiceLevel(declared.property, declared.value, declared.unit or "", element))
        return tuple(found)

    def wrong(self, place: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(place.problem(message, suggestion))


_EXAMPLES: Mapping[str, str] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "orders-contract",
    "version": '"1.0.0"',
    "status": "active",
}


def _stated(**hints: str | int) -> dict[str, str | int]:
    return {name: value for name, value in hints.items() if value}


def columns_of(dataset: Dataset) -> tuple[str, ...]:
    """The names of a dataset's columns."""
    return tuple(column.name for column in dataset.columns)


def owner_of(team: Team | list[TeamMember] | None) -> str:
    """Whom to ask, as `Name <contact>`: the member whose role is owner, else the team, else its first member."""
    members = (team.members or []) if isinstance(team, Team) else (team or [])
    present = [member for member in members if not member.dateOut]
    owner = next((member for member in present if "owner" in (member.role or "").casefold()), None)
    if owner is None and isinstance(team, Team) and team.name:
        return team.name
    owner = owner or next(iter(present), None)
    if owner is None:
        return ""
    name, contact = owner.name or owner.username or "", owner.username or ""
    return f"{name} <{contact}>" if contact and contact != name else name


def _stripped(text: str | None) -> str:
    return (text or "").strip()


def _paired(models: Sequence[Any] | None, node: Node | None) -> list[tuple[Any, Node]]:
    """Each model of a list with the node it was made of."""
    return list(zip(models or (), (node.items if node else None) or (), strict=True))
