"""Records by key or filter, one dataset at a time: live where the contract says so, else as sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from indexes.library import LiveGeneration, Snapshot
from indexes.records_json import SealedRecords
from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.filter_form import parse_filter
from semantic_layer.policy import Access, DatasetGrant, Grants, Masking
from semantic_layer.predicate import FALSE, TRUE, Predicate, all_of, bind, fields_of
from semantic_layer.product import Column, Dataset

MAX_ROWS = 200
KEYS = ("product", "dataset", "key", "filters", "columns", "order", "limit")


class MaskingReader(Protocol):
    """Reads rows under a predicate and masks values before they leave."""

    def fetch(
        self,
        columns: Sequence[Column],
        where: Predicate,
        order: Sequence[str],
        limit: int,
        deadline_seconds: float,
        masks: Mapping[str, Masking] | None = None,
    ) -> list[dict[str, Any]]: ...


OpenLive = Callable[[LiveGeneration, Dataset], MaskingReader]
"""Opens the live reader of a dataset whose contract says `live: true`."""


@dataclass(frozen=True)
class RecordQuestion:
    """Which rows of which dataset. `columns` empty means all that one rule shows; `where` is in column names.

    `key` is a value of the primary key, or a mapping from key columns to values. `order` names columns, `-name`
    descends; ties by key. `limit` is 1..MAX_ROWS, `offset` skips rows.
    """

    product: str
    dataset: str
    key: Any = None
    where: Predicate = TRUE
    columns: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    limit: int = 20
    offset: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RecordQuestion:
        """A question from its JSON form {product, dataset, key, filters, columns, order, limit}.

        Raises UnknownName for another key, InvalidArgument or InvalidFilter for a value that is wrong.
        """
        for name in data:
            if name not in KEYS:
                raise UnknownName("key of a lookup", name, KEYS)
        for name in ("product", "dataset"):
            if not data.get(name) or not isinstance(data[name], str):
                raise InvalidArgument(f"a lookup needs `{name}`.", hint="`discover` lists what there is.")
        return cls(
            product=data["product"],
            dataset=data["dataset"],
            key=data.get("key"),
            where=parse_filter(data.get("filters")),
            columns=tuple(data.get("columns") or ()),
            order=tuple(data.get("order") or ()),
            limit=data.get("limit") or cls.limit,
        )


@dataclass(frozen=True)
class Records:
    """Rows in the order asked, of these columns. `more` says that rows after them exist."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    masked: tuple[str, ...]
    live: bool
    more: bool


def lookup(
    snapshot: Snapshot,
    question: RecordQuestion,
    grants: Grants,
    *,
    deadline_seconds: float,
    open_live: OpenLive,
) -> Records:
    """The rows a caller may see among those asked for.

    A column the grant does not show raises UnknownName, one it only shows masked cannot be filtered or
    sorted by. Rows of erased subjects are gone, also from live sources. Raises InvalidFilter for values that
    do not fit, Refused where the grant allows nothing of the dataset, EngineUnavailable by name.
    """
    generation = snapshot.generations[question.product]
    granted = grants[question.product].dataset(question.dataset)
    dataset = generation.product.dataset(question.dataset)
    if dataset is None or not granted.allowances:
        raise _nothing_granted(question, generation, grants)
    visible = {column.name: column for column in dataset.columns if _shown(granted, column.name)}
    asked = all_of(_by_key(dataset, question.key), question.where)
    used = fields_of(asked) | {name.removeprefix("-") for name in question.order}
    where = bind(asked, _usable(visible, granted, used))
    shown = question.columns or _widest(granted, dataset, used)
    _require(shown, visible)
    access = granted.access(shown, used)
    allowed = all_of(access.rows, where, snapshot.tombstones.excluding(generation.product, dataset.name))
    reader = open_live(generation, dataset) if dataset.live else SealedRecords(generation.tables, dataset)
    rows = _page(reader, question, [visible[name] for name in shown], allowed, access, deadline_seconds)
    return Records(
        columns=tuple(shown),
        rows=tuple(rows[: question.limit]),
        masked=tuple(sorted(access.masks)),
        live=dataset.live,
        more=len(rows) > question.limit,
    )


def _page(
    reader: MaskingReader,
    question: RecordQuestion,
    columns: Sequence[Column],
    allowed: Predicate,
    access: Access,
    deadline_seconds: float,
) -> list[dict[str, Any]]:
    """One row more than asked for, so that the caller knows whether any follow."""
    if not 1 <= question.limit <= MAX_ROWS:
        raise InvalidArgument(f"limit must lie between 1 and {MAX_ROWS}.", hint="Page with `cursor`.")
    if allowed == FALSE:
        return []
    wanted = question.offset + question.limit + 1
    rows = reader.fetch(columns, allowed, question.order, wanted, deadline_seconds, access.masks)
    return rows[question.offset :]


def _by_key(dataset: Dataset, key: Any) -> Predicate:
    if key is None:
        return TRUE
    if not isinstance(key, Mapping):
        if len(dataset.key) != 1:
            columns = ", ".join(dataset.key) or "none"
            raise InvalidArgument(
                f"{dataset.name!r} has no primary key of one column.",
                hint=f"Its key columns: {columns}. Give `key` as an object, or use `filters`.",
            )
        key = {dataset.key[0]: key}
    parts: list[Any] = [
        {"field": name, "op": "eq", "value": value} for name, value in cast("Mapping[str, Any]", key).items()
    ]
    return parse_filter(parts)


def _shown(granted: DatasetGrant, column: str) -> bool:
    return column in granted.columns or column in granted.masked


def _usable(visible: Mapping[str, Column], granted: DatasetGrant, used: frozenset[str]) -> dict[str, Column]:
    """The columns a filter or order may name. A column that is only ever masked is refused by name."""
    for name in sorted(used):
        if name not in visible:
            raise UnknownName("column", name, visible, hint="`describe` lists the dataset's columns.")
        if name not in granted.columns:
            raise Refused(
                f"column {name!r} is masked for you and cannot be filtered or sorted by.",
                rule="masked column",
                hint="Use another column.",
            )
    return {name: column for name, column in visible.items() if name in granted.columns}


def _widest(granted: DatasetGrant, dataset: Dataset, used: frozenset[str]) -> tuple[str, ...]:
    """The most columns that one rule shows together with those used, in the contract's order.

    Two rules' columns are never combined: over both, only rows that one rule allows whole would remain.
    """
    fitting = [one for one in granted.allowances if used <= one.columns] or list(granted.allowances)
    most = max(fitting, key=lambda one: len(one.columns | frozenset(one.masks)))
    return tuple(column.name for column in dataset.columns if most.shows((column.name,)))


def _require(names: Sequence[str], visible: Mapping[str, Column]) -> None:
    for name in names:
        if name not in visible:
            raise UnknownName("column", name, visible, hint="`describe` lists the dataset's columns.")


def _nothing_granted(question: RecordQuestion, generation: LiveGeneration, grants: Grants) -> UnknownName:
    seen = [
        one.name for one in generation.product.datasets if grants[question.product].dataset(one.name).allowances
    ]
    return UnknownName("dataset", question.dataset, seen, hint=f"`describe` lists those of {question.product!r}.")
