"""Reads an ODCS property's type: `logicalType` with its options, and the decimal that `physicalType` names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from open_data_contract_standard.model import SchemaProperty

from semantic_layer.errors import InvalidFilter, Problem, close_names
from semantic_layer.findings import Findings
from semantic_layer.predicate import coerce
from semantic_layer.product import Column, ColumnType
from semantic_layer.section import Section
from semantic_layer.settings import known_time_zone
from semantic_layer.yaml_file import Node

LOGICAL: Mapping[str, ColumnType] = {
    **{kind.value: kind for kind in ColumnType if kind is not ColumnType.DECIMAL},
    "map": ColumnType.OBJECT,
    "vector": ColumnType.ARRAY,
}
"""ODCS's logical types. A map is kept as one object, a vector as an array of numbers."""

PHYSICAL: Mapping[str, ColumnType] = {
    **dict.fromkeys(
        ("varchar", "char", "character", "text", "string", "uuid", "bpchar", "nvarchar"), ColumnType.STRING
    ),
    **dict.fromkeys(
        (
            "int",
            "integer",
            "bigint",
            "smallint",
            "tinyint",
            "int2",
            "int4",
            "int8",
            "serial",
            "bigserial",
            "hugeint",
        ),
        ColumnType.INTEGER,
    ),
    **dict.fromkeys(("double", "float", "real", "float4", "float8"), ColumnType.NUMBER),
    **dict.fromkeys(("decimal", "numeric", "number"), ColumnType.DECIMAL),
    **dict.fromkeys(("boolean", "bool"), ColumnType.BOOLEAN),
    "date": ColumnType.DATE,
    **dict.fromkeys(("timestamp", "timestamptz", "datetime"), ColumnType.TIMESTAMP),
    "time": ColumnType.TIME,
    **dict.fromkeys(("json", "jsonb", "struct", "object"), ColumnType.OBJECT),
}
"""Physical type names, parameters left off, that settle the type where no logical one is given."""

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": (*_BOUNDS, "multipleOf", "format"),
    "number": (*_BOUNDS, "multipleOf", "format"),
    "date": (*_BOUNDS, "format"),
    "timestamp": (*_BOUNDS, "format", "timezone", "defaultTimezone"),
    "time": (*_BOUNDS, "format", "timezone", "defaultTimezone"),
    "object": ("minProperties", "maxProperties", "required"),
    "array": ("minItems", "maxItems", "uniqueItems"),
    "vector": (
        "dimensions",
        "elementType",
        "distanceMetric",
        "embeddingModel",
        "embeddingModelVersion",
        "normalized",
    ),
    "boolean": (),
    "map": (),
}
_PHYSICAL_NAME = re.compile(r"\s*([a-z0-9]+)", re.IGNORECASE)
_PARAMETERS = re.compile(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
MAX_PRECISION = 38


@dataclass(frozen=True)
class TypeOf:
    """A column's type, its element type where it is an array, and a decimal's digits."""

    type: ColumnType
    items: ColumnType | None = None
    precision: int = 18
    scale: int = 2


def column_type(declared: SchemaProperty, place: Node, findings: Findings) -> TypeOf:
    """The type of a property, from `logicalType` and `physicalType`; a missing or unknown one is a problem."""
    logical = declared.logicalType
    physical = PHYSICAL.get(_physical_name(declared.physicalType))
    if logical is not None and logical not in LOGICAL:
        near = close_names(logical, LOGICAL)
        suggestion = f"Did you mean {near[0]!r}?" if near else "Use one of " + ", ".join(LOGICAL) + "."
        findings.problems.append(place.at("logicalType").problem(f"no logicalType {logical!r}.", suggestion))
        return TypeOf(ColumnType.STRING)
    kind = LOGICAL[logical] if logical else physical
    if kind is None:
        message = f"the property {declared.name!r} needs a `logicalType`."
        findings.problems.append(place.problem(message, "Use one of " + ", ".join(LOGICAL) + "."))
        return TypeOf(ColumnType.STRING)
    if kind is ColumnType.DECIMAL or (kind is ColumnType.NUMBER and physical is ColumnType.DECIMAL):
        return _decimal(declared, place, findings)
    if logical == "vector":
        return TypeOf(ColumnType.ARRAY, ColumnType.NUMBER)
    if kind is ColumnType.ARRAY:
        return TypeOf(kind, _element(declared, place, findings))
    return TypeOf(kind)


def _element(declared: SchemaProperty, place: Node, findings: Findings) -> ColumnType:
    if declared.items is None:
        findings.problems.append(
            place.problem(f"the array {declared.name!r} needs `items`.", "Add items: {logicalType: string}.")
        )
        return ColumnType.STRING
    inner = place.at("items")
    element = column_type(
        declared.items.model_copy(update={"name": f"{declared.name} items"}), inner, findings
    ).type
    if element is ColumnType.ARRAY:
        message = f"{declared.name!r} is an array of arrays, which no engine here reads."
        findings.problems.append(inner.problem(message, "Declare it as an object."))
    return element


def _physical_name(physical: str | None) -> str:
    found = _PHYSICAL_NAME.match(physical or "")
    return found[1].casefold() if found else ""


def _decimal(declared: SchemaProperty, place: Node, findings: Findings) -> TypeOf:
    found = _PARAMETERS.search(declared.physicalType or "")
    at = place.at("physicalType")
    if found is None:
        message = f"{declared.physicalType!r} names no digits; it is read as decimal({MAX_PRECISION}, 9)."
        findings.warnings.append(at.problem(message, "Write decimal(18, 2), say."))
        return TypeOf(ColumnType.DECIMAL, precision=MAX_PRECISION, scale=9)
    precision, scale = int(found[1]), int(found[2] or 0)
    if not 1 <= precision <= MAX_PRECISION or scale > precision:
        message = f"{declared.physicalType!r} is no decimal that can be held exactly."
        suggestion = f"Precision is 1 to {MAX_PRECISION}, and scale at most the precision."
        findings.problems.append(at.problem(message, suggestion))
        return TypeOf(ColumnType.DECIMAL)
    return TypeOf(ColumnType.DECIMAL, precision=precision, scale=scale)


def read_options(column: Column, place: Node, findings: Findings) -> Column:
    """The column with its `logicalTypeOptions`: lengths, pattern, bounds, format and time zone."""
    node = place.get("logicalTypeOptions")
    if node is None or node.value is None:
        return column
    logical = str(place.at("logicalType").value) if place.get("logicalType") else column.type.value
    known = _OPTIONS.get("number" if logical == "decimal" else logical, ())
    options = Section(node, known, f"logicalTypeOptions of type {logical}", findings.problems)
    problems = findings.problems
    return replace(
        column,
        min_length=_length(options, "minLength"),
        max_length=_length(options, "maxLength"),
        pattern=_pattern(options),
        format=options.text("format"),
        minimum=_bound(column, options, ("minimum", "exclusiveMinimum"), problems),
        maximum=_bound(column, options, ("maximum", "exclusiveMaximum"), problems),
        minimum_excluded=options.node_of("exclusiveMinimum") is not None,
        maximum_excluded=options.node_of("exclusiveMaximum") is not None,
        multiple_of=options.number("multipleOf"),
        time_zone=_time_zone(options),
    )


def _length(options: Section, key: str) -> int | None:
    return options.integer(key, low=0) if options.node_of(key) is not None else None


def _pattern(options: Section) -> str:
    pattern = options.text("pattern")
    try:
        re.compile(pattern)
    except re.error as error:
        options.wrong(f"`pattern` is no regular expression ({error}).", "Check its brackets.", key="pattern")
        return ""
    return pattern


def _bound(column: Column, options: Section, keys: tuple[str, str], problems: list[Problem]) -> float | str | None:
    given = [key for key in keys if options.node_of(key) is not None]
    if not given:
        return None
    if len(given) > 1:
        options.wrong(f"`{keys[0]}` and `{keys[1]}` both stand here.", "Keep one.", key=keys[1])
    if column.type in (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DECIMAL):
        return options.number(given[-1])
    text = options.text(given[-1])
    try:
        coerce(text, column.type, column.name)
    except InvalidFilter as error:
        problems.append(options.node.at(given[-1]).problem(f"in `{given[-1]}`, {error.message}", error.hint))
        return None
    return text


def _time_zone(options: Section) -> str:
    """The zone of timestamps without an offset. ODCS's `timezone` is a flag; a name there is taken as meant."""
    stated = options.node_of("timezone")
    key = "timezone" if stated is not None and isinstance(stated.value, str) else "defaultTimezone"
    name = options.text(key)
    if name and not known_time_zone(name):
        options.wrong(f"no time zone {name!r}.", "Use an IANA name such as Europe/Berlin.", key=key)
        return ""
    return name
