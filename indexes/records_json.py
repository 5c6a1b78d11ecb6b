"""Records by key out of a sealed generation: JSON documents and tables that are not read live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from indexes.ports import TableReader
from semantic_layer.policy import Masking
from semantic_layer.predicate import Predicate, evaluate, fields_of
from semantic_layer.product import Column, Dataset


class SealedRecords:
    """A `RecordReader` over one dataset of a generation, with the same promises as a live one."""

    def __init__(self, tables: TableReader, dataset: Dataset) -> None:
        self._tables = tables
        self._dataset = dataset

    def fetch(
        self,
        columns: Sequence[Column],
        where: Predicate,
        order: Sequence[str],
        limit: int,
        deadline_seconds: float,
        masks: Mapping[str, Masking] | None = None,
    ) -> list[dict[str, Any]]:
        """At most `limit` rows where the predicate is TRUE, by `order` (`-name` descends), then by key.

        A masked column shows its value only in rows where the masking's `unless` is TRUE. Reads by key take
        a millisecond, so the deadline is only checked by the caller.
        """
        maskings = masks or {}
        shown = [column.name for column in columns]
        deciding = {name for masking in maskings.values() for name in fields_of(masking.unless)}
        read = [*shown, *sorted(deciding - set(shown))]
        ordered = list(dict.fromkeys([*order, *self._dataset.key]))
        rows = self._tables.rows(self._dataset.name, read, where, ordered, limit)
        return [{name: shown_value(row, name, maskings) for name in shown} for row in rows]


def shown_value(row: Mapping[str, Any], name: str, masks: Mapping[str, Masking]) -> Any:
    """A cell under its column's mask, if any. The row holds every column that the masking's `unless` names."""
    masking = masks.get(name)
    if masking is None or evaluate(masking.unless, row) is True:
        return row[name]
    return masking.mask.apply(row[name])
