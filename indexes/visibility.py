"""Which chunks of a dataset a grant shows: a predicate over what chunks carry, and the columns of one hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semantic_layer.policy import DatasetGrant
from semantic_layer.predicate import Compare, Predicate, all_of, any_of, evaluate
from semantic_layer.product import Column, ColumnType, Dataset

TEXT_COLUMN = "wh.text_column"
"""The carried column that says which text column a chunk came from; empty for the text of a file."""


def carried_columns(dataset: Dataset) -> dict[str, Column]:
    """The columns every chunk of the dataset carries: all but texts and objects, and where its text came from.

    More than the filterable ones, so that a policy or an erasure published later finds its columns sealed.
    """
    carried = {column.name: column for column in dataset.columns if column.scalar and not column.is_text}
    return {**carried, TEXT_COLUMN: Column(TEXT_COLUMN, ColumnType.STRING)}


def visible_chunks(dataset: Dataset, grant: DatasetGrant, used: Iterable[str] = ()) -> Predicate:
    """Where a chunk may be shown to a caller who also filters by `used`.

    One rule must show, unmasked and for the chunk's own row, the column its text came from, the dataset's
    title column and every column in `used`. A file's text belongs to the dataset as a whole.
    """
    titles = [column.name for column in dataset.columns if column.is_title]
    always = {*titles, *used}
    if not dataset.text_columns or dataset.kind == "document":
        return grant.access(used={*always, *dataset.text_columns}).rows
    by_column = {name: grant.access(used={*always, name}).rows for name in dataset.text_columns}
    if len(set(by_column.values())) == 1:
        return next(iter(by_column.values()))
    return any_of(*(all_of(Compare(TEXT_COLUMN, "eq", name), rows) for name, rows in by_column.items()))


def shown_columns(
    dataset: Dataset, grant: DatasetGrant, text_column: str, row: Mapping[str, Any]
) -> dict[str, Any]:
    """The filterable columns of a hit's row as the caller may see them, masks applied.

    They come from one rule, the one that shows most of this row beside the hit's text: columns of two rules
    are never combined.
    """
    needed = {text_column} if text_column else set(dataset.text_columns)
    fitting = [
        allowance
        for allowance in grant.allowances
        if needed <= allowance.columns and evaluate(allowance.rows, row) is True
    ]
    names = [name for name in dataset.filterable_columns if name in row]
    if not fitting:
        return {}
    best = max(fitting, key=lambda one: sum(one.shows((name,)) for name in names))
    shown: dict[str, Any] = {}
    for name in names:
        if name in best.columns:
            shown[name] = row[name]
        elif name in best.masks:
            shown[name] = best.masks[name].apply(row[name])
    return shown
