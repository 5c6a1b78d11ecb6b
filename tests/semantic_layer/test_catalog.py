"""A caller finds what exists for them by name, word, beginning and slip; what is hidden is never counted."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.catalog import Catalog, CatalogEntry, CatalogItem
from semantic_layer.catalog_index import LexicalIndex, words
from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.mask import Mask
from semantic_layer.metric import Certification, Dimension, Metric, SavedQuery, SemanticDataset, SemanticModel
from semantic_layer.policy import Action, ColumnChoice, Policy, Rule, decide
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, Reference
from semantic_layer.visibility import Visibility

ANN = Principal("ann", frozenset({"analyst"}))
EVERYTHING = ColumnChoice()


def product(name: str, *datasets: Dataset, purpose: str = "") -> DataProduct:
    return DataProduct(name, "1", f"{name}-id", "active", "1", name.title(), purpose, datasets=datasets)


ORDERS = product(
    "orders",
    Dataset(
        "orders",
        "table",
        (
            Column("order_id", ColumnType.INTEGER),
            Column("region", ColumnType.STRING, synonyms=("market",)),
            Column("email", ColumnType.STRING, classification="personal", description="Where receipts are sent."),
        ),
        synonyms=("purchases",),
        references=(Reference(("region",), "crm.regions", ("code",), line=7),),
    ),
    Dataset("old_orders", "table", (Column("order_id", ColumnType.INTEGER),), deprecated="use orders"),
    purpose="What was sold and sent back.",
)
MODEL = SemanticModel(
    "orders",
    datasets=(
        SemanticDataset(
            "orders",
            "orders",
            "orders",
            (Dimension("region", "", frozenset({"region"})), Dimension("email", "", frozenset({"email"}))),
        ),
    ),
    metrics=(
        Metric("net_revenue", "simple", (), description="Money after returns.", synonyms=("turnover",),
               certification=Certification("certified")),
        Metric("margin", "simple", ()),
    ),
    saved_queries=(
        SavedQuery("monthly", {"metrics": ["net_revenue"]}),
        SavedQuery("secret", {"metrics": ["net_revenue", "margin"]}),
    ),
)  # fmt: skip
RETURNS = product("returns", Dataset("items", "table", (Column("sku", ColumnType.STRING),)))
RETURNS_MODEL = SemanticModel("returns", metrics=(Metric("net_revenue", "simple", ()),))
CATALOG = Catalog(
    {"orders": CatalogEntry(ORDERS, MODEL, "g1"), "returns": CatalogEntry(RETURNS, RETURNS_MODEL, "g2")}
)


def rule(**more: object) -> Rule:
    given = {"columns": EVERYTHING, **more}
    return Rule("r", frozenset({"analyst"}), frozenset({Action.DISCOVER}), **given)  # pyright: ignore[reportArgumentType]


def visible(*products: str, **more: object) -> Visibility:
    grants = {
        name: decide(ANN, CATALOG.entries[name].product, Action.DISCOVER, Policy(name, (rule(**more),)))
        for name in products
    }
    return CATALOG.visibility(grants)


ALL = visible("orders", "returns")


def refs(query: str, seen: Visibility = ALL, **more: object) -> list[str]:
    return [hit.item.ref for hit in CATALOG.search(query, seen, **more)]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("net revenue money", "metric://orders/net_revenue"),
        ("turnover", "metric://orders/net_revenue"),
        ("Purchases", "dp://orders/orders"),
        ("which market", "dp://orders/orders/region"),
        ("receipt", "dp://orders/orders/email"),
        ("marg", "metric://orders/margin"),
        ("mragin", "metric://orders/margin"),
        ("marginn", "metric://orders/margin"),
        ("sold", "dp://orders"),
        ("skus", "dp://returns/items/sku"),
    ],
)
def test_things_are_found_by_name_synonym_description_beginning_and_slip(query: str, first: str) -> None:
    assert refs(query)[0] == first


def test_without_words_everything_visible_comes_in_its_order() -> None:
    found = refs("", limit=100)
    assert found[:3] == ["dp://orders", "dp://orders/orders", "dp://orders/old_orders"]
    assert len(found) == len(CATALOG.items)


def test_kinds_and_limit_narrow_the_answer() -> None:
    found = refs("net_revenue", kinds=("metric",))
    assert sorted(found) == ["metric://orders/net_revenue", "metric://returns/net_revenue"]
    assert len(refs("order", limit=1)) == 1


def test_words_that_fit_nothing_find_nothing() -> None:
    assert refs("zzzz qqqq") == []
    assert refs("the of and") == []


def test_a_hidden_product_is_neither_found_nor_named() -> None:
    seen = visible("returns")
    assert not any("orders" in ref for ref in refs("net revenue orders", seen))
    assert CATALOG.names("product", seen) == ["returns"]
    with pytest.raises(UnknownName) as raised:
        CATALOG.product("orders", seen)
    assert "orders" not in raised.value.hint


def test_a_masked_column_exists_but_is_no_dimension() -> None:
    seen = visible("orders", columns=ColumnChoice(excluded=frozenset({"email"})), masks={"email": Mask("hash")})
    assert "dp://orders/orders/email" in refs("email", seen)
    assert "dim://orders/orders.email" not in refs("email", seen)
    assert "dim://orders/orders.region" in refs("region", seen)


def test_a_denied_column_does_not_exist() -> None:
    assert refs("receipts", visible("orders", columns=ColumnChoice(excluded=frozenset({"email"})))) == []


def test_a_saved_query_exists_only_with_all_its_metrics() -> None:
    seen = visible("orders", metrics=frozenset({"net_revenue"}))
    assert CATALOG.names("query", seen) == ["monthly"]
    assert CATALOG.names("metric", seen) == ["net_revenue"]


def test_a_metric_is_named_alone_where_that_is_clear_and_with_its_product_elsewhere() -> None:
    entry, metric = CATALOG.metric("margin", ALL)
    assert (entry.generation, metric.name) == ("g1", "margin")
    with pytest.raises(InvalidArgument, match=r"in several products.*orders\.net_revenue, returns\.net_revenue"):
        CATALOG.metric("net_revenue", ALL)
    assert CATALOG.metric("returns.net_revenue", ALL)[0].generation == "g2"
    assert CATALOG.metric("metric://orders/net_revenue", ALL)[0].generation == "g1"
    assert CATALOG.metric("net_revenue", visible("returns"))[0].generation == "g2"
    assert CATALOG.names("metric", ALL) == ["margin", "orders.net_revenue", "returns.net_revenue"]


def test_a_name_that_does_not_exist_suggests_visible_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'margin'"):
        CATALOG.metric("margn", ALL)
    with pytest.raises(UnknownName, match=r"no dataset 'itms'"):
        CATALOG.dataset("itms", ALL)


def test_any_part_is_reached_by_its_reference() -> None:
    for item in CATALOG.items:
        assert CATALOG.item(item.ref, ALL) == item
    assert CATALOG.item("orders", ALL).kind == "product"
    assert CATALOG.item("old_orders", ALL).deprecated == "use orders"


def test_a_reference_that_leads_out_of_the_edition_is_a_problem() -> None:
    (problem,) = CATALOG.problems()
    assert str(problem).endswith("contract.yaml:7: no product 'crm'. There are: orders, returns.")


def test_words_are_folded_and_cut_alike_in_every_script() -> None:
    assert words("NetRevenue per Région") == ["net", "revenue", "region"]
    assert words("Categories, boxes & status") == ["category", "box", "status"]
    assert words("売上高") == ["売上", "上高"]


TERMS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "alphas"]), min_size=1, max_size=4)
ENTRIES = st.lists(TERMS, min_size=1, max_size=6)


@given(ENTRIES, ENTRIES, TERMS)
def test_hidden_entries_change_no_score(shown: list[list[str]], hidden: list[list[str]], asked: list[str]) -> None:
    alone = LexicalIndex([(1.0, terms)] for terms in shown)
    among = LexicalIndex([(1.0, terms)] for terms in (*shown, *hidden))
    seen = frozenset(range(len(shown)))
    assert among.search(" ".join(asked), seen) == pytest.approx(alone.search(" ".join(asked), seen))


@given(ENTRIES, TERMS)
def test_every_entry_that_holds_a_word_asked_is_found(entries: list[list[str]], asked: list[str]) -> None:
    index = LexicalIndex([(1.0, terms)] for terms in entries)
    found = index.search(" ".join(asked), frozenset(range(len(entries))))
    for number, terms in enumerate(entries):
        if set(words(" ".join(terms))) & set(words(" ".join(asked))):
            assert number in found


def test_a_catalogue_of_many_columns_is_searched_in_a_moment() -> None:
    names = random.Random(7)
    syllables = ["or", "der", "net", "re", "ven", "ue", "cus", "to", "mer", "shi", "ped", "at", "code", "sku"]
    columns = tuple(
        Column("_".join(names.choices(syllables, k=4)) + str(number), ColumnType.STRING, description="One value.")
        for number in range(3000)
    )
    wide = product("wide", Dataset("t", "table", columns))
    catalog = Catalog({"wide": CatalogEntry(wide, None, "g")})
    grant = decide(ANN, wide, Action.DISCOVER, Policy("wide", (rule(),)))
    seen = catalog.visibility({"wide": grant})
    assert isinstance(catalog.items[0], CatalogItem)
    catalog.search("warm up", seen)
    started = time.process_time()
    for _ in range(5):
        catalog.search("how many cutomers orders shipped", seen)
    assert (time.process_time() - started) / 5 < 0.25
