"""Random datasets, filters and policies with the values that engines treat differently, for differential tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, get_args

from semantic_layer.policy import Action, ColumnChoice, Grant, Policy, Rule, decide
from semantic_layer.predicate import (
    Attribute,
    Compare,
    Contains,
    In,
    IsNull,
    Not,
    Operator,
    Predicate,
    Range,
    all_of,
    any_of,
)
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, DatasetKind

LONG = "long " * 1_700
STRINGS = (
    "",
    "a",
    "ab",
    "abc",
    "b a",
    "é",
    "É",
    "e\u0301",
    "東京",
    "東京都",
    "😀a",
    "\\",
    "\\5c;",
    "a\nb",
    "*",
    'q"',
)
INTEGERS = (0, 1, -1, 7, 2**63 - 1, -(2**63), 2**53 + 1)
NUMBERS = (0.0, -0.0, 0.5, -1.5, 1e308, 5e-324, 0.1 + 0.2, float("inf"), float("-inf"), float("nan"))
DECIMALS = (Decimal("0"), Decimal("0.25"), Decimal("-0.25"), Decimal("1.5"), Decimal("99999999.99"))
DATES = (date(1, 1, 1), date(1969, 12, 31), date(2025, 1, 1), date(2025, 1, 2), date(9999, 12, 31))
_NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)
MOMENTS = (
    *(_NEW_YEAR + timedelta(microseconds=step) for step in (-1, 0, 1, 1_000, 86_400_000_000)),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)
TIMES = (time(), time(12, 30), time(12, 30, 0, 1), time(23, 59, 59, 999_999))
POOLS: Mapping[ColumnType, Sequence[Any]] = {
    ColumnType.STRING: STRINGS,
    ColumnType.INTEGER: INTEGERS,
    ColumnType.NUMBER: NUMBERS,
    ColumnType.DECIMAL: DECIMALS,
    ColumnType.BOOLEAN: (True, False),
    ColumnType.DATE: DATES,
    ColumnType.TIMESTAMP: MOMENTS,
    ColumnType.TIME: TIMES,
}
BETWEEN: Mapping[ColumnType, Sequence[Any]] = {
    ColumnType.STRING: ("B", "aa", "b", "\U0010ffff", "京", LONG, LONG + "x"),
    ColumnType.NUMBER: (-0.25, 1e-300),
    ColumnType.DECIMAL: (Decimal("0.125"), Decimal("-0.255"), Decimal("1e30"), Decimal("-1e30")),
    ColumnType.DATE: (date(2025, 6, 1),),
}
"""More values to compare with, that hardly a cell holds."""

WIDTHS = ((10, 2), (18, 2), (38, 9))
PRINCIPAL = Principal("ann", frozenset({"analyst"}), {"strings": ("a", "東京"), "one": "ab", "none": ()})


@dataclass(frozen=True)
class Corpus:
    """A dataset with its rows, in the order of its chunks."""

    dataset: Dataset
    rows: tuple[Mapping[str, Any], ...]


def corpus(rng: random.Random, name: str) -> Corpus:
    """A dataset of three to six typed columns and 10 to 40 rows."""
    columns = [_column(rng, f"c{place}") for place in range(rng.randint(3, 6))]
    texts = [Column("body", ColumnType.STRING, is_text=True), Column("note", ColumnType.STRING, is_text=True)]
    kind: DatasetKind = "record" if rng.random() < 0.5 else "table"
    dataset = Dataset(name=name, kind=kind, columns=(*columns, *texts))
    rows = tuple({one.name: _cell(rng, one) for one in columns} for _ in range(rng.randint(10, 40)))
    return Corpus(dataset, rows)


def _column(rng: random.Random, name: str) -> Column:
    kind = rng.choice(list(POOLS))
    precision, scale = rng.choice(WIDTHS)
    if rng.random() < 0.3:
        return Column(name, ColumnType.ARRAY, items=kind, precision=precision, scale=scale)
    return Column(name, kind, precision=precision, scale=scale)


def _cell(rng: random.Random, column: Column) -> Any:
    if rng.random() < 0.15:
        return None
    if column.type is ColumnType.STRING and rng.random() < 0.01:
        return LONG
    if column.type is not ColumnType.ARRAY:
        return rng.choice(POOLS[column.type])
    assert column.items is not None
    return [None if rng.random() < 0.1 else rng.choice(POOLS[column.items]) for _ in range(rng.randint(0, 3))]


def predicate(rng: random.Random, columns: Sequence[Column], depth: int = 3) -> Predicate:
    """A filter over these columns, nested up to `depth`."""
    if depth and rng.random() < 0.6:
        parts = [predicate(rng, columns, depth - 1) for _ in range(rng.randint(1, 3))]
        return rng.choice([all_of(*parts), any_of(*parts), Not(parts[0])])
    return _leaf(rng, rng.choice(columns))


def _leaf(rng: random.Random, column: Column) -> Predicate:
    kind = column.items if column.type is ColumnType.ARRAY and column.items else column.type
    pool = [one for one in (*POOLS[kind], *BETWEEN.get(kind, ())) if _finite(one)]

    short = [one for one in pool if one not in (LONG, LONG + "x")]  # their order has a test of its own

    def value() -> Any:
        return rng.choice(pool)

    def end() -> Any:
        return rng.choice(short)

    made: list[Callable[[], Predicate]] = [
        lambda: Compare(column.name, "eq", value()),
        lambda: In(column.name, tuple(value() for _ in range(rng.randint(0, 3)))),
        lambda: IsNull(column.name),
    ]
    if kind is not ColumnType.BOOLEAN:
        made += [
            lambda: Compare(column.name, rng.choice(get_args(Operator)), end()),
            lambda: Range(
                column.name,
                end() if rng.random() < 0.8 else None,
                end() if rng.random() < 0.8 else None,
                rng.random() < 0.5,
                rng.random() < 0.5,
            ),
        ]
    if kind is ColumnType.STRING:
        made.append(
            lambda: Contains(column.name, rng.choice(("a", "b", " a", "京", "\\", "5c", "g l", "\n", "é")))
        )
    return rng.choice(made)()


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or abs(value) < float("inf")


def grant(rng: random.Random, product: DataProduct, columns: Mapping[str, Sequence[Column]]) -> Grant:
    """What a random policy of one to three rules a dataset lets the analyst search."""
    rules = [_rule(rng, name, held, place) for name, held in columns.items() for place in range(rng.randint(1, 3))]
    return decide(PRINCIPAL, product, Action.SEARCH, Policy(product.name, tuple(rules)))


def _rule(rng: random.Random, dataset: str, columns: Sequence[Column], place: int) -> Rule:
    hidden = frozenset(one for one in ("body", "note") if rng.random() < 0.2)
    return Rule(
        name=f"{dataset}-{place}",
        roles=frozenset({"analyst"}),
        actions=frozenset({Action.SEARCH}),
        effect="deny" if place and rng.random() < 0.3 else "allow",
        datasets=frozenset({dataset}),
        columns=ColumnChoice(excluded=hidden),
        rows=_policy_rows(rng, columns),
    )


def _policy_rows(rng: random.Random, columns: Sequence[Column]) -> Predicate:
    strings = [one for one in columns if one.type is ColumnType.STRING]
    if strings and rng.random() < 0.5:
        name = rng.choice(strings).name
        return rng.choice([In(name, (Attribute("strings"),)), Compare(name, "eq", Attribute("one"))])
    return predicate(rng, columns, 2)
