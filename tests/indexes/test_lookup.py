"""Records by key: what one rule shows whole, masked where it must be, and never a row of somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.generation import Manifest
from indexes.ledger import Edition, Tombstone, Tombstones
from indexes.library import LiveGeneration, Snapshot
from indexes.lookup import RecordQuestion, Records, lookup
from semantic_layer.catalog import Catalog
from semantic_layer.errors import InvalidArgument, InvalidFilter, Refused, UnknownName
from semantic_layer.filter_form import parse_filter
from semantic_layer.mask import Mask
from semantic_layer.policy import Action, ColumnChoice, Policy, Rule
from semantic_layer.predicate import TRUE, Compare, In, evaluate
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset

ITEMS = Dataset(
    name="items",
    kind="record",
    columns=(
        Column("sku", ColumnType.STRING, key_position=1),
        Column("region", ColumnType.STRING),
        Column("price", ColumnType.INTEGER),
        Column("supplier", ColumnType.STRING, classification="restricted"),
        Column("details", ColumnType.OBJECT),
    ),
)
PRODUCT = DataProduct("shop", "1", "shop", "active", "v3.1.0", datasets=(ITEMS,))
ROWS: list[dict[str, Any]] = [
    {
        "sku": f"s{n}",
        "region": ("EU", "US", None)[n % 3],
        "price": n * 10,
        "supplier": f"firm-{n:04d}",
        "details": {"sizes": [n], "care": {"wash": n % 2 == 0}},
    }
    for n in range(9)
]
ALL_COLUMNS = ColumnChoice()
OPEN = ColumnChoice(excluded=frozenset({"supplier"}))


def rule(name: str, role: str, **changes: Any) -> Rule:
    return Rule(name, frozenset({role}), frozenset({Action.LOOKUP}), **changes)


POLICY = Policy(
    "shop",
    (
        rule("all", "boss", columns=ALL_COLUMNS),
        rule("eu", "eu", columns=OPEN, masks={"supplier": Mask("last4")}, rows=Compare("region", "eq", "EU")),
        rule("prices", "pricing", columns=ColumnChoice(frozenset({"sku", "price"}))),
        rule(
            "us-suppliers",
            "pricing",
            columns=ColumnChoice(frozenset({"sku", "region", "supplier"})),
            rows=Compare("region", "eq", "US"),
        ),
        rule("cheap", "mixed", columns=ALL_COLUMNS, rows=Compare("price", "lt", 30)),
        rule("rest", "mixed", columns=OPEN, masks={"supplier": Mask("redact")}),
    ),
)


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGeneration]:
    folder = tmp_path_factory.mktemp("shop")
    builder = TableBuilder(folder / "tables.duckdb", PRODUCT)
    builder.add_rows(ITEMS, ROWS)
    builder.seal()
    manifest = Manifest("shop", "g1", "", (), {}, "", "", {}, {}, (), (), {}, {})
    tables = DuckTables(folder / "tables.duckdb", PRODUCT)
    yield LiveGeneration("g1", folder, manifest, PRODUCT, None, tables)
    tables.close()


def snapshot_of(generation: LiveGeneration, tombstones: Tombstones) -> Snapshot:
    edition = Edition(1, {"shop": "g1"}, "test", "", "")
    return Snapshot(edition, {"shop": generation}, Catalog({}), {"shop": POLICY}, 1, tombstones)


NOTHING_ERASED = Tombstones()


def asked(
    generation: LiveGeneration, role: str, tombstones: Tombstones = NOTHING_ERASED, **question: Any
) -> Records:
    snapshot = snapshot_of(generation, tombstones)
    grants = snapshot.grants(Principal("p", frozenset({role})), Action.LOOKUP)
    wanted = RecordQuestion(**{"product": "shop", "dataset": "items", **question})
    return lookup(snapshot, wanted, grants, deadline_seconds=5, open_live=not_live)


def not_live(generation: LiveGeneration, dataset: Dataset) -> Any:
    raise AssertionError("a sealed dataset is not read live")


def skus(found: Records) -> list[Any]:
    return [row["sku"] for row in found.rows]


def test_a_record_is_found_by_its_key_with_its_nested_parts(generation: LiveGeneration) -> None:
    (row,) = asked(generation, "boss", key="s3").rows
    assert row == ROWS[3]


def test_rows_of_another_region_are_not_there(generation: LiveGeneration) -> None:
    assert skus(asked(generation, "eu")) == ["s0", "s3", "s6"]
    assert skus(asked(generation, "eu", key="s1")) == []


def test_a_masked_column_shows_its_mask_and_says_so(generation: LiveGeneration) -> None:
    found = asked(generation, "eu", key="s3")
    assert found.rows[0]["supplier"] == "•••0003"
    assert found.masked == ("supplier",)


def test_a_value_is_masked_only_in_rows_where_no_rule_shows_it(generation: LiveGeneration) -> None:
    shown = {row["sku"]: row["supplier"] for row in asked(generation, "mixed", limit=9).rows}
    assert shown["s2"] == "firm-0002"
    assert shown["s3"] == "[redacted]"


def test_a_masked_column_neither_filters_nor_sorts(generation: LiveGeneration) -> None:
    with pytest.raises(Refused, match="masked"):
        asked(generation, "eu", where=Compare("supplier", "eq", "firm-0003"))
    with pytest.raises(Refused, match="masked"):
        asked(generation, "eu", order=("-supplier",))


def test_columns_of_two_rules_are_never_combined_over_rows_that_only_one_allows(
    generation: LiveGeneration,
) -> None:
    both = asked(generation, "pricing", columns=("sku", "price", "supplier"))
    assert both.rows == ()
    assert skus(asked(generation, "pricing", columns=("sku", "supplier"))) == ["s1", "s4", "s7"]
    assert len(asked(generation, "pricing", columns=("sku", "price")).rows) == 9


def test_without_columns_the_widest_rule_decides(generation: LiveGeneration) -> None:
    assert asked(generation, "pricing").columns == ("sku", "region", "supplier")
    assert asked(generation, "pricing", where=Compare("price", "ge", 70)).columns == ("sku", "price")


def test_a_column_that_is_not_shown_reads_like_one_that_is_not_there(generation: LiveGeneration) -> None:
    for column in ("details", "detials"):
        with pytest.raises(UnknownName) as error:
            asked(generation, "pricing", columns=(column,))
        assert error.value.near == ()


def test_a_caller_without_a_rule_finds_no_dataset(generation: LiveGeneration) -> None:
    with pytest.raises(UnknownName):
        asked(generation, "nobody")


def test_erased_subjects_are_gone(generation: LiveGeneration) -> None:
    erased = Tombstones(1, (Tombstone("shop", "items", "supplier", ("firm-0003",)),))
    assert skus(asked(generation, "eu", erased)) == ["s0", "s6"]
    assert skus(asked(generation, "boss", erased, key="s3")) == []


def test_pages_follow_each_other_and_end(generation: LiveGeneration) -> None:
    pages = [asked(generation, "boss", order=("-price",), limit=4, offset=offset) for offset in (0, 4, 8)]
    assert [sku for page in pages for sku in skus(page)] == [f"s{n}" for n in reversed(range(9))]
    assert [page.more for page in pages] == [True, True, False]


@pytest.mark.parametrize("key", [{"sku": "s3"}, "s3"])
def test_a_key_is_a_value_or_an_object(generation: LiveGeneration, key: Any) -> None:
    assert skus(asked(generation, "boss", key=key)) == ["s3"]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"product": "shop"}, InvalidArgument),
        ({"product": "shop", "dataset": "items", "filter": {}}, UnknownName),
        ({"product": "shop", "dataset": "items", "filters": {"field": "price", "op": "is"}}, InvalidFilter),
    ],
)
def test_a_question_in_json_is_closed(form: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        RecordQuestion.from_json(form)


def test_a_limit_beyond_the_most_is_an_error(generation: LiveGeneration) -> None:
    with pytest.raises(InvalidArgument):
        asked(generation, "boss", limit=201)


@given(
    low=st.integers(-10, 90),
    regions=st.lists(st.sampled_from(["EU", "US", "APAC"]), max_size=2),
    negated=st.booleans(),
    role=st.sampled_from(["boss", "eu", "mixed"]),
)
def test_every_filter_gives_the_rows_that_both_it_and_the_grant_make_true(
    generation: LiveGeneration, low: int, regions: list[str], negated: bool, role: str
) -> None:
    dear = {"field": "price", "op": "ge", "value": low}
    form: Any = {"any": [dear, {"field": "region", "op": "in", "value": regions}]}
    where = parse_filter({"not": form} if negated else form)
    allowed = Compare("region", "eq", "EU") if role == "eu" else TRUE
    expected = [row["sku"] for row in ROWS if evaluate(where, row) is True and evaluate(allowed, row) is True]
    assert skus(asked(generation, role, where=where, limit=100)) == expected


def test_an_empty_list_of_alternatives_finds_nothing(generation: LiveGeneration) -> None:
    assert skus(asked(generation, "boss", where=In("sku", ()))) == []
