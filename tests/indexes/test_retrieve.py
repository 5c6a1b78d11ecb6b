"""What a caller finds: the best passages of what they may see, cited, and nothing else by any way of asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from indexes.ledger import Tombstone, Tombstones
from indexes.library import LiveGeneration, Snapshot
from indexes.question import Question
from indexes.retrieve import Retrieved, retrieve
from semantic_layer.errors import InvalidArgument, InvalidFilter, Refused, UnknownName
from semantic_layer.mask import Mask
from semantic_layer.policy import Action, ColumnChoice, Grant, Policy, Rule, decide
from semantic_layer.predicate import Attribute, Compare, In, Not, all_of
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset

HANDBOOK = Dataset(
    name="handbook",
    kind="document",
    columns=(Column("path", ColumnType.STRING), Column("tier", ColumnType.INTEGER)),
)
TICKETS = Dataset(
    name="tickets",
    kind="table",
    columns=(
        Column("id", ColumnType.STRING, key_position=1),
        Column("region", ColumnType.STRING),
        Column("email", ColumnType.STRING, classification="personal"),
        Column("body", ColumnType.STRING, is_text=True),
        Column("internal_note", ColumnType.STRING, is_text=True),
    ),
)
STOCK = Dataset(name="stock", kind="table", columns=(Column("level", ColumnType.INTEGER),))
SHOP = DataProduct("shop", "1", "shop", "active", "v3.1.0", datasets=(HANDBOOK, TICKETS, STOCK))
RECIPES = DataProduct(
    "recipes",
    "1",
    "recipes",
    "active",
    "v3.1.0",
    datasets=(Dataset(name="pages", kind="document", columns=(Column("path", ColumnType.STRING),)),),
)


def ticket(key: str, region: str | None, text: str) -> tuple[str, str, str, dict[str, Any]]:
    return ("tickets", key, text, {"id": key, "region": region, "email": f"{key}@example.com"})


def page(path: str, tier: int, text: str) -> tuple[str, str, str, dict[str, Any]]:
    return ("handbook", path, text, {"path": path, "tier": tier})


PASSAGES = [
    page("returns.md", 1, "Shoes may be returned within thirty days of delivery."),
    page("returns.md", 1, "The parcel must carry its label."),
    page("returns.md", 1, "Refunds are paid to the card used."),
    page("salaries.md", 3, "Managers earn a yearly bonus."),
    ticket("t1", "EU", "body|The customer in Berlin never received her boots."),
    ticket("t1", "EU", "internal_note|Suspected fraud: the courier has a signature."),
    ticket("t2", "US", "body|The customer in Chicago wants to exchange his boots."),
    ticket("t3", None, "body|Somebody complained about torn boots."),
]


ENGINES = {
    "embedded": ("tantivy", "faiss"),
    "text in Elasticsearch": ("elasticsearch", "faiss"),
    "all in Elasticsearch": ("elasticsearch", "elasticsearch"),
}
ON_SERVERS = [pytest.param(name, marks=pytest.mark.elasticsearch) for name in ENGINES if name != "embedded"]


@pytest.fixture(scope="module", params=["embedded", *ON_SERVERS])
def engines(request: pytest.FixtureRequest) -> tuple[str, str]:
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def shop(seal: Callable[..., LiveGeneration], engines: tuple[str, str]) -> LiveGeneration:
    return seal(SHOP, PASSAGES, *engines)


@pytest.fixture(scope="module")
def recipes(seal: Callable[..., LiveGeneration], engines: tuple[str, str]) -> LiveGeneration:
    soup = ("pages", "soup.md", "Boil the boots? No: boil the leek for a soup.", {"path": "soup.md"})
    return seal(RECIPES, [soup], *engines)


@pytest.fixture(scope="module")
def snapshot(shop: LiveGeneration, recipes: LiveGeneration, edition: Callable[..., Snapshot]) -> Snapshot:
    return edition(shop, recipes)


def rule(**parts: Any) -> Rule:
    return Rule(**{"name": "r", "roles": frozenset({"*"}), "actions": frozenset({Action.SEARCH}), **parts})


def grant(*rules: Rule, product: DataProduct = SHOP, **attributes: Any) -> dict[str, Grant]:
    principal = Principal("ann", frozenset({"analyst"}), attributes)
    return {product.name: decide(principal, product, Action.SEARCH, Policy(product.name, rules))}


EVERYTHING = grant(rule())
EU = grant(rule(rows=In("region", (Attribute("regions"),)), datasets=frozenset({"tickets"})), regions=("EU",))


def ask(snapshot: Snapshot, text: str, grants: dict[str, Grant] = EVERYTHING, **how: Any) -> Retrieved:
    return retrieve(snapshot, Question(text, **how), grants)


def documents(found: Retrieved) -> list[str]:
    return [hit.document for hit in found.hits]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_the_best_passage_comes_first_with_its_citation(snapshot: Snapshot, mode: str) -> None:
    found = ask(snapshot, "How long may shoes be returned?", mode=mode)
    first = found.hits[0]
    assert first.text.startswith("Shoes may be returned")
    assert (first.product, first.generation, first.dataset, first.document) == (
        "shop",
        "g-shop",
        "handbook",
        "returns.md",
    )
    assert (first.start, first.end) == (0, len(first.text))
    assert first.columns == {"path": "returns.md", "tier": 1}
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_an_analyst_never_sees_rows_of_another_region(snapshot: Snapshot, mode: str) -> None:
    found = ask(snapshot, "customer boots", EU, mode=mode, k=50)
    assert set(documents(found)) == {"t1"}
    assert found.limited == {"shop"}
    assert ask(snapshot, "customer boots", EVERYTHING).limited == frozenset()


def test_a_row_without_a_region_is_not_outside_of_any_region(snapshot: Snapshot) -> None:
    not_eu = grant(rule(rows=Not(Compare("region", "eq", "EU")), datasets=frozenset({"tickets"})))
    assert set(documents(ask(snapshot, "boots", not_eu))) == {"t2"}


def test_the_question_filter_is_added_to_the_grant(snapshot: Snapshot) -> None:
    assert documents(ask(snapshot, "boots", EU, where=Compare("region", "eq", "US"))) == []
    assert documents(ask(snapshot, "boots", where=Compare("region", "eq", "US"))) == ["t2"]


def test_a_text_column_that_is_not_granted_is_never_found(snapshot: Snapshot) -> None:
    no_notes = grant(rule(columns=ColumnChoice(excluded=frozenset({"internal_note"}))))
    masked = grant(rule(masks={"internal_note": Mask("redact")}))
    assert any("fraud" in hit.text for hit in ask(snapshot, "suspected fraud signature").hits)
    for grants in (no_notes, masked):
        found = ask(snapshot, "suspected fraud signature", grants, k=50)
        assert found.hits
        assert not any("fraud" in hit.text for hit in found.hits)


def test_columns_of_two_rules_are_never_combined(snapshot: Snapshot) -> None:
    tickets = frozenset({"tickets"})
    of_eu = {"datasets": tickets, "rows": Compare("region", "eq", "EU")}
    body = rule(name="a", columns=ColumnChoice(names=frozenset({"body", "id"})), **of_eu)
    region = rule(name="b", columns=ColumnChoice(names=frozenset({"region"})), datasets=tickets)
    grants = grant(body, region)
    assert [hit.columns for hit in ask(snapshot, "boots", grants, datasets=("tickets",)).hits] == [{"id": "t1"}]
    with_filter = ask(snapshot, "boots", grants, datasets=("tickets",), where=Compare("region", "eq", "EU"))
    assert with_filter.hits == ()


def test_masked_columns_are_shown_masked_and_cannot_be_filtered(snapshot: Snapshot) -> None:
    grants = grant(rule(masks={"email": Mask("constant", "x"), "region": Mask("redact")}))
    (hit,) = ask(snapshot, '"in Chicago"', grants).hits
    assert hit.columns == {"id": "t2", "region": "[redacted]", "email": "x"}
    with pytest.raises(UnknownName, match="region"):
        ask(snapshot, "boots", grants, where=Compare("region", "eq", "EU"))


def test_a_filter_names_only_columns_that_exist_for_the_caller(snapshot: Snapshot) -> None:
    with pytest.raises(UnknownName, match="regoin") as failure:
        ask(snapshot, "boots", where=Compare("regoin", "eq", "EU"))
    assert failure.value.near == ("region",)
    hidden = grant(rule(columns=ColumnChoice(excluded=frozenset({"region"}))))
    with pytest.raises(UnknownName) as failure:
        ask(snapshot, "boots", hidden, where=Compare("region", "eq", "EU"))
    assert failure.value.near == ()


def test_a_dataset_without_the_filters_column_drops_out(snapshot: Snapshot) -> None:
    assert set(documents(ask(snapshot, "boots shoes", where=Compare("tier", "eq", 1)))) == {"returns.md"}
    with pytest.raises(InvalidFilter, match="no dataset has all"):
        ask(snapshot, "boots", where=all_of(Compare("tier", "eq", 1), Compare("region", "eq", "EU")))


def test_an_erased_subject_is_gone_from_every_search(
    shop: LiveGeneration, edition: Callable[..., Snapshot]
) -> None:
    erased = Tombstones(1, (Tombstone("shop", "tickets", "id", ("t2",)),))
    snapshot = edition(shop, tombstones=erased)
    for mode in ("hybrid", "vector", "text"):
        assert "t2" not in documents(ask(snapshot, "exchange boots in Chicago", mode=mode, k=50))
    assert "t2" in documents(ask(edition(shop), "exchange boots in Chicago"))


def test_several_products_come_as_one_list(snapshot: Snapshot) -> None:
    grants = {**EVERYTHING, **grant(rule(), product=RECIPES)}
    found = ask(snapshot, "boots", grants)
    assert {hit.product for hit in found.hits} == {"shop", "recipes"}
    assert {hit.product for hit in ask(snapshot, "boots", grants, products=("recipes",)).hits} == {"recipes"}
    assert ask(snapshot, "leek soup", grants).hits[0].product == "recipes"


def test_a_caller_without_a_grant_is_refused(snapshot: Snapshot) -> None:
    nothing = grant()
    with pytest.raises(Refused, match="shop"):
        ask(snapshot, "boots", nothing)
    with pytest.raises(Refused):
        ask(snapshot, "boots", nothing, products=("shop",))
    with pytest.raises(UnknownName, match="recipes"):
        ask(snapshot, "boots", EVERYTHING, products=("recipes",))


def test_a_dataset_that_is_not_granted_does_not_exist(snapshot: Snapshot) -> None:
    with pytest.raises(UnknownName) as failure:
        ask(snapshot, "boots", EU, datasets=("handbok",))
    assert failure.value.near == ()
    with pytest.raises(UnknownName) as failure:
        ask(snapshot, "boots", EU, datasets=("ticket",))
    assert failure.value.near == ("tickets",)
    assert ask(snapshot, "boots", EVERYTHING, datasets=("stock",)).hits == ()


def test_pages_follow_each_other_without_gap_or_repeat(snapshot: Snapshot) -> None:
    whole = [hit.chunk_id for hit in ask(snapshot, "boots returned", k=50).hits]
    assert len(whole) == len(set(whole)) == len(PASSAGES)
    paged: list[str] = []
    more = True
    while more:
        page = ask(snapshot, "boots returned", k=3, offset=len(paged))
        paged += [hit.chunk_id for hit in page.hits]
        more = page.more
    assert paged == whole


def test_a_quoted_phrase_must_occur(snapshot: Snapshot) -> None:
    assert documents(ask(snapshot, 'what about "torn boots" then')) == ["t3"]
    assert documents(ask(snapshot, '"boots torn"', mode="text")) == []


def test_quotes_around_what_no_passage_holds_do_not_hide_what_is_there(snapshot: Snapshot) -> None:
    spoken = ask(snapshot, '"Which boots are torn, please?"')
    assert set(documents(spoken)) == set(documents(ask(snapshot, "Which boots are torn, please?")))
    assert any("without the quotes" in note for note in spoken.notes)


def test_neighbours_come_from_the_same_document_only(snapshot: Snapshot) -> None:
    (hit,) = ask(snapshot, '"carry its label"', neighbours=1).hits
    assert hit.before == "Shoes may be returned within thirty days of delivery."
    assert hit.after == "Refunds are paid to the card used."
    (last,) = ask(snapshot, '"card used"', neighbours=2).hits
    assert last.before.startswith("Shoes may be returned")
    assert last.after == ""


def test_a_neighbour_is_not_a_way_around_a_grant(snapshot: Snapshot) -> None:
    no_notes = grant(rule(columns=ColumnChoice(excluded=frozenset({"internal_note"}))))
    (hit,) = ask(snapshot, '"in Berlin"', no_notes, neighbours=3).hits
    assert (hit.before, hit.after) == ("", "")


def test_reranking_reads_token_by_token(snapshot: Snapshot) -> None:
    found = ask(snapshot, "who gets extra pay every year", rerank=True)
    assert found.hits[0].document == "salaries.md"
    assert found.not_checked == ()
    assert {"rerank", "embed", "vectors", "text", "fuse", "fetch", "filter"} <= found.milliseconds.keys()


def test_explaining_shows_each_legs_place(snapshot: Snapshot) -> None:
    hit = ask(snapshot, "customer in Chicago", explain=True).hits[0]
    assert hit.ranks == {"vector": 1, "text": 1}
    assert hit.scores["text"] > hit.scores["vector"] > 0
    assert ask(snapshot, "customer in Chicago").hits[0].ranks == {}


def test_what_the_model_does_not_speak_is_said(snapshot: Snapshot) -> None:
    found = ask(snapshot, "Wie lange kann ein Kunde die Schuhe zurückgeben?")
    assert any("'de'" in note for note in found.not_checked)
    assert ask(snapshot, "How long may a customer return the shoes?").not_checked == ()


def test_a_question_longer_than_the_model_reads_is_said(snapshot: Snapshot) -> None:
    found = ask(snapshot, "boots " * 600)
    assert any("256 tokens" in note for note in found.notes)


@pytest.mark.parametrize(
    "wrong", [{"text": " "}, {"text": "x" * 9000}, {"k": 0}, {"k": 51}, {"offset": -1}, {"neighbours": 9}]
)
def test_a_question_that_cannot_be_asked_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Question(**{"text": "boots", **wrong})
