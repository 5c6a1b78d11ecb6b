"""Reads the properties of an ODCS object into columns: types, bounds, keys, classification and search hints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from open_data_contract_standard.model import SchemaProperty

from semantic_layer.contract_hints import COLUMN, read_hints
from semantic_layer.contract_types import column_type, read_options
from semantic_layer.errors import InvalidFilter
from semantic_layer.findings import Findings
from semantic_layer.predicate import coerce
from semantic_layer.product import SENSITIVE, Column, ColumnType, DatasetKind
from semantic_layer.yaml_file import Node

OPEN = frozenset({"", "public", "internal"})
"""Classifications whose columns are filterable without being named so."""

DOCUMENT_COLUMNS = tuple(
    Column(
        name, kind, description=text, classification="internal", required=name == "path", is_title=name == "title"
    )
    for name, kind, text in (
        ("path", ColumnType.STRING, "The file's path below its server's folder."),
        ("media_type", ColumnType.STRING, "The file's media type."),
        ("title", ColumnType.STRING, "The document's title."),
        ("modified_at", ColumnType.TIMESTAMP, "When the file was last changed."),
    )
)
"""What every document has without being declared."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_columns(
    properties: Sequence[SchemaProperty] | None, node: Node | None, kind: DatasetKind, findings: Findings
) -> tuple[Column, ...]:
    """The columns in the order declared, nested objects flattened to `outer_inner`; documents get their own four.

    `node` is the list the properties stand in.
    """
    reader = _Reader(kind, findings)
    columns = reader.columns(properties or (), node, "", "$")
    if kind == "document":
        columns = _with_document_columns(columns)
    seen: dict[str, Column] = {}
    for column in columns:
        first = seen.setdefault(column.name.casefold(), column)
        if first is not column and node is not None:
            message = f"the column {column.name!r} stands twice (first at line {first.line})."
            findings.problems.append(
                replace(node, line=column.line).problem(message, "Names ignore case; rename one.")
            )
    return tuple(seen.values())


def _with_document_columns(columns: list[Column]) -> list[Column]:
    declared = {column.name for column in columns}
    keyed = any(column.key_position for column in columns)
    titled = any(column.is_title for column in columns)
    own = [column for column in DOCUMENT_COLUMNS if column.name not in declared]
    return [
        *(
            replace(
                column,
                key_position=1 if column.name == "path" and not keyed else 0,
                is_title=column.is_title and not titled,
            )
            for column in own
        ),
        *columns,
    ]


@dataclass
class _Reader:
    kind: DatasetKind
    findings: Findings
    keys: int = 0

    def columns(
        self, properties: Sequence[SchemaProperty], node: Node | None, prefix: str, path: str
    ) -> list[Column]:
        places = (node.items if node else None) or ()
        found: list[Column] = []
        for declared, place in zip(properties, places, strict=True):
            if declared.semanticType == "measure":
                message = f"the measure {declared.name!r} is no column and is not read here."
                self.findings.warnings.append(place.problem(message, "Define it as a metric in semantics.yaml."))
            elif not declared.name:
                self.wrong(place, "a property needs a `name`.")
            elif declared.logicalType == "object" and declared.properties:
                inner_path = f"{path}{_step(declared.physicalName or declared.name)}"
                inner = self.columns(
                    declared.properties, place.get("properties"), f"{prefix}{declared.name}_", inner_path
                )
                found.extend(_inheriting(column, declared.classification) for column in inner)
            else:
                found.append(self.column(declared, declared.name, place, prefix, path))
        return found

    def column(self, declared: SchemaProperty, name: str, place: Node, prefix: str, path: str) -> Column:
        kind = column_type(declared, place, self.findings)
        hints = read_hints(place, COLUMN, f"column {name!r}", self.findings.problems)
        own_path = hints.text("path")
        if own_path and not own_path.startswith("$"):
            hints.wrong("`path` must be a JSON path.", f'Write "$.{own_path}".', key="path")
        if (prefix + name).casefold() == "rowid":
            message = "the name 'rowid' is the table engine's own."
            self.wrong(place, message, "Name it otherwise, with physicalName: rowid.")
        if not own_path and (self.kind == "record" or prefix):
            own_path = f"{path}{_step(declared.physicalName or name)}"
        column = Column(
            name=prefix + name,
            type=kind.type,
            items=kind.items,
            physical_name=declared.physicalName or "",
            physical_type=declared.physicalType or "",
            precision=kind.precision,
            scale=kind.scale,
            title=declared.businessName or "",
            description=(declared.description or "").strip(),
            synonyms=(*(one.synonym for one in declared.synonyms or () if one.synonym), *hints.texts("synonyms")),
            classification=_classification(declared),
            tags=frozenset(declared.tags or ()),
            unit=hints.text("unit"),
            required=bool(declared.required),
            unique=bool(declared.unique),
            key_position=self.key_position(declared, hints.flag("key")),
            examples=tuple(declared.examples or ()),
            path=own_path,
            is_title=hints.flag("title"),
            line=place.line,
        )
        column = read_options(column, place, self.findings)
        column = replace(column, enum=self.enum(declared, column, place))
        is_text = hints.flag("text")
        if is_text:
            self.check_text(column, place, hints.flag("search_personal"))
        filterable = hints.flag("filterable", column.scalar and column.classification.casefold() in OPEN)
        if filterable and not column.scalar:
            hints.wrong(f"column {column.name!r} holds objects and cannot be filtered.", key="filterable")
        return replace(column, is_text=is_text, filterable=filterable and column.scalar)

    def key_position(self, declared: SchemaProperty, hinted: bool) -> int:
        if not (declared.primaryKey or hinted):
            return 0
        self.keys += 1
        position = declared.primaryKeyPosition or 0
        return position if position > 0 else self.keys

    def enum(self, declared: SchemaProperty, column: Column, place: Node) -> tuple[Any, ...]:
        values: list[Any] = []
        element = (column.items or ColumnType.STRING) if column.type is ColumnType.ARRAY else column.type
        for number, entry in enumerate(declared.enum or ()):
            try:
                values.append(coerce(entry.value, element, column.name))
            except InvalidFilter as error:
                self.wrong(place.at("enum", number), f"in `enum`, {error.message}", error.hint)
            except KeyError:
                self.wrong(place.at("enum", number), f"a column of type {element.value} has no `enum`.")
        return tuple(values)

    def check_text(self, column: Column, place: Node, asked_by_name: bool) -> None:
        kind = column.items if column.type is ColumnType.ARRAY else column.type
        if kind is not ColumnType.STRING:
            self.wrong(place, f"column {column.name!r} is {column.type.value} and has no text to search.")
        if column.sensitive and not asked_by_name:
            self.wrong(
                place,
                f"column {column.name!r} is {column.classification} and its text would be searched.",
                "Drop `text`, or add `search_personal: true` to ask for it by name.",
            )

    def wrong(self, place: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(place.problem(message, suggestion))


def _classification(declared: SchemaProperty) -> str:
    """The column's own, or that of a sensitive part inside it: the whole is as personal as its parts."""
    own = (declared.classification or "").strip()
    if own.casefold() in SENSITIVE:
        return own
    inside = [*(declared.properties or ()), *([declared.items] if declared.items else ())]
    return next((found for part in inside if (found := _classification(part)).casefold() in SENSITIVE), own)


def _inheriting(column: Column, classification: str | None) -> Column:
    """An inner column is at least as classified as the object around it."""
    if column.sensitive or not classification or (column.classification and classification.casefold() in OPEN):
        return column
    filterable = column.filterable and classification.casefold() in OPEN
    return replace(column, classification=classification, filterable=filterable)


def _step(name: str) -> str:
    """One step of a JSON path (RFC 9535): `.name` for a plain name, else `['any name']`."""
    return f".{name}" if _PLAIN_NAME.fullmatch(name) else f"['{name}']"
