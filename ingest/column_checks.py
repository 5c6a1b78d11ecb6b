"""The checks that a contract's columns and keys imply: required, unique, enum, pattern, bounds, references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from indexes.duck.columns import sql_type
from indexes.duck.connection import quoted
from ingest.check import Check, none_fail
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, Reference

FORMATS: Mapping[str, str] = {
    "email": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    "uuid": r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$",
    "ipv4": r"^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$",
    "hostname": r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$",
}
"""ODCS string formats that are checked, as RE2 patterns."""

_ORDERED = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DECIMAL)
_MOMENTS = (ColumnType.DATE, ColumnType.TIMESTAMP, ColumnType.TIME)


def dataset_checks(product: DataProduct, dataset: Dataset) -> Iterator[Check]:
    """Every check that the dataset's columns, key and references imply."""
    for column in dataset.columns:
        yield from _column_checks(dataset, column)
    if dataset.key:
        yield _distinct(dataset, dataset.key, "the primary key is never doubled", "primaryKey", dataset.line)
    for reference in dataset.references:
        yield from _reference(product, dataset, reference)


def _column_checks(dataset: Dataset, column: Column) -> Iterator[Check]:
    name = quoted(column.name)
    if column.required or column.name in dataset.key:
        yield _rows(dataset, column, "required", "is never empty", f"{name} IS NULL")
    if column.unique and dataset.key != (column.name,):
        yield _distinct(dataset, (column.name,), "is unique", "unique", column.line)
    if column.enum:
        yield _enum(dataset, column)
    if column.type is ColumnType.STRING:
        yield from _text_checks(dataset, column)
    yield from _bounds(dataset, column)


def _enum(dataset: Dataset, column: Column) -> Check:
    kind = sql_type(column).removesuffix("[]")
    parameters = {f"v{place}": str(value) for place, value in enumerate(column.enum)}
    listed = ", ".join(f"CAST(${name} AS {kind})" for name in parameters)
    name = quoted(column.name)
    failing = f"{name} NOT IN ({listed})"
    if column.type is ColumnType.ARRAY:
        failing = f"NOT list_has_all([{listed}], list_filter({name}, lambda item: item IS NOT NULL))"
    promise = "is one of " + ", ".join(map(repr, column.enum[:8])) + (" …" if len(column.enum) > 8 else "")
    return _rows(dataset, column, "enum", promise, failing, parameters)


def _text_checks(dataset: Dataset, column: Column) -> Iterator[Check]:
    name = quoted(column.name)
    if column.pattern:
        given = {"pattern": column.pattern}
        failing = f"NOT regexp_matches({name}, $pattern)"
        yield _rows(dataset, column, "pattern", f"matches {column.pattern!r}", failing, given)
    if column.format in FORMATS:
        given = {"pattern": FORMATS[column.format]}
        failing = f"NOT regexp_matches({name}, $pattern)"
        yield _rows(dataset, column, "format", f"has the format {column.format}", failing, given)
    if column.min_length is not None:
        failing = f"length({name}) < {int(column.min_length)}"
        yield _rows(dataset, column, "minLength", f"has at least {column.min_length} characters", failing)
    if column.max_length is not None:
        failing = f"length({name}) > {int(column.max_length)}"
        yield _rows(dataset, column, "maxLength", f"has at most {column.max_length} characters", failing)


def _bounds(dataset: Dataset, column: Column) -> Iterator[Check]:
    if column.type not in (*_ORDERED, *_MOMENTS):
        return
    name = quoted(column.name)
    kind = "DOUBLE" if column.type in _ORDERED else sql_type(column)
    if column.minimum is not None:
        below, word = ("<=", "more than") if column.minimum_excluded else ("<", "at least")
        failing = f"{name} {below} CAST($bound AS {kind})"
        given = {"bound": str(column.minimum)}
        yield _rows(dataset, column, "minimum", f"is {word} {column.minimum}", failing, given)
    if column.maximum is not None:
        above, word = (">=", "less than") if column.maximum_excluded else (">", "at most")
        failing = f"{name} {above} CAST($bound AS {kind})"
        given = {"bound": str(column.maximum)}
        yield _rows(dataset, column, "maximum", f"is {word} {column.maximum}", failing, given)
    if column.multiple_of and column.type in _ORDERED:
        step = f"CAST('{column.multiple_of!r}' AS DECIMAL(38, 9))"
        failing = f"CAST({name} AS DECIMAL(38, 9)) % {step} <> 0"
        yield _rows(dataset, column, "multipleOf", f"is a multiple of {column.multiple_of}", failing)


def _rows(
    dataset: Dataset,
    column: Column,
    rule: str,
    promise: str,
    failing: str,
    parameters: Mapping[str, Any] | None = None,
) -> Check:
    """A check that no row meets `failing`; NULL meets nothing."""
    return Check(
        name=f"{dataset.name}.{column.name} {rule}",
        dataset=dataset.name,
        column=column.name,
        promise=promise,
        measured=f"SELECT count(*) FROM main.{quoted(dataset.name)} WHERE {failing}",
        holds=none_fail,
        failing=failing,
        parameters=parameters or {},
        line=column.line,
    )


def _distinct(dataset: Dataset, columns: tuple[str, ...], promise: str, rule: str, line: int) -> Check:
    """A check that no two rows have equal values in all of these columns; rows with a NULL do not count."""
    return Check(
        name=f"{dataset.name}.{','.join(columns)} {rule}",
        dataset=dataset.name,
        column=", ".join(columns),
        promise=promise,
        measured=f"SELECT count(*) FROM main.{quoted(dataset.name)} WHERE {repeated(dataset, columns)}",
        holds=none_fail,
        failing=repeated(dataset, columns),
        line=line,
    )


def repeated(dataset: Dataset, columns: tuple[str, ...]) -> str:
    """The condition of rows whose values in these columns stood in an earlier row."""
    names = ", ".join(quoted(column) for column in columns)
    whole = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in columns)
    numbered = f"SELECT rowid AS place, row_number() OVER (PARTITION BY {names} ORDER BY rowid) AS turn"
    return (
        f"rowid IN (SELECT place FROM ({numbered} FROM main.{quoted(dataset.name)} WHERE {whole}) WHERE turn > 1)"
    )


def _reference(product: DataProduct, dataset: Dataset, reference: Reference) -> Iterator[Check]:
    """A warning where rows point at nothing: orphans are reported, they do not stop a build.

    References to other products are held against the whole workspace when it is loaded, not against rows.
    """
    target = product.dataset(reference.to_dataset.removeprefix(f"{product.name}."))
    if target is None:
        return
    own = [quoted(column) for column in reference.columns]
    theirs = [f"target.{quoted(column)}" for column in reference.to_columns]
    table = f"main.{quoted(dataset.name)}"
    pairs = " AND ".join(f"{there} = {table}.{here}" for here, there in zip(own, theirs, strict=True))
    present = " AND ".join(f"{column} IS NOT NULL" for column in own)
    failing = f"{present} AND NOT EXISTS (SELECT 1 FROM main.{quoted(target.name)} AS target WHERE {pairs})"
    yield Check(
        name=f"{dataset.name}.{','.join(reference.columns)} references {target.name}",
        dataset=dataset.name,
        column=", ".join(reference.columns),
        promise=f"is found in {target.name}.{', '.join(reference.to_columns)}",
        measured=f"SELECT count(*) FROM {table} WHERE {failing}",
        holds=none_fail,
        severity="warning",
        failing=failing,
        line=reference.line,
    )
