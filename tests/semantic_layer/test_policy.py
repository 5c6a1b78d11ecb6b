"""Who sees which cells: deny by default, deny wins, columns of two rules never combine, masks hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.errors import InvalidArgument, NewerFormat, Refused
from semantic_layer.policy import (
    Action,
    ColumnChoice,
    DatasetGrant,
    Grant,
    Mask,
    MaskKind,
    Policy,
    Rule,
    decide,
)
from semantic_layer.policy_file import NO_COLUMNS, policy_from_json, policy_to_json
from semantic_layer.predicate import TRUE, Attribute, Compare, In, Not, Predicate, evaluate
from semantic_layer.principal import ANONYMOUS, Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.workspace import load_workspace
from tests.semantic_layer.conftest import CONTRACT, POLICY, Write, line_of, mistakes

ANN = Principal("ann", frozenset({"analyst"}), {"regions": ("EU",)})
ALL = frozenset(Action)
TABLE = Dataset(
    "t",
    "table",
    (
        Column("a", ColumnType.INTEGER, classification="public"),
        Column("b", ColumnType.INTEGER, classification="internal"),
        Column("c", ColumnType.STRING, classification="personal", tags=frozenset({"contact"})),
        Column("region", ColumnType.STRING),
    ),
)
PRODUCT = DataProduct("p", "1", "id", "active", "1", datasets=(TABLE,))
EU = Compare("region", "eq", "EU")
US = Compare("region", "eq", "US")


def allow(name: str, columns: Iterable[str] | ColumnChoice, rows: Predicate = TRUE, **more: Any) -> Rule:
    choice = columns if isinstance(columns, ColumnChoice) else ColumnChoice(frozenset(columns))
    return Rule(name, frozenset({"analyst"}), ALL, columns=choice, rows=rows, **more)


def deny(name: str, columns: Iterable[str] = (), rows: Predicate = TRUE, metrics: Iterable[str] = ()) -> Rule:
    return Rule(
        name, frozenset({"*"}), ALL, "deny", columns=ColumnChoice(frozenset(columns)), rows=rows,
        metrics=frozenset(metrics),
    )  # fmt: skip


def granted(*rules: Rule, principal: Principal = ANN, action: Action = Action.SEARCH) -> Grant:
    return decide(principal, PRODUCT, action, Policy("p", rules))


def seen(grant: Grant, *columns: str) -> Predicate:
    return grant.dataset("t").access(columns).rows


def test_without_a_policy_or_a_rule_nothing_is_allowed() -> None:
    assert not decide(ANN, PRODUCT, Action.SEARCH, None).allowed
    assert not granted().allowed
    assert not granted(allow("r", "*"), principal=ANONYMOUS).allowed
    with pytest.raises(Refused, match="is not granted to ann"):
        granted().require()


def test_columns_of_two_rules_are_never_combined() -> None:
    grant = granted(allow("one", ["a", "b"], EU), allow("two", ["b", "c"], US))
    assert seen(grant, "a", "b") == EU
    assert seen(grant, "b", "c") == US
    assert {evaluate(seen(grant, "b"), {"region": region}) for region in ("EU", "US")} == {True}
    assert evaluate(seen(grant, "a", "b", "c"), {"region": "EU"}) is False


def test_a_denied_column_is_gone_whatever_else_allows_it() -> None:
    grant = granted(allow("one", "*"), deny("no-c", ["c"]))
    assert "c" not in grant.dataset("t").columns
    assert evaluate(seen(grant, "c"), {}) is False
    assert seen(grant, "a") == TRUE


def test_denied_rows_are_gone_whole_and_unknown_ones_with_them() -> None:
    grant = granted(allow("one", "*"), deny("no-us", rows=US))
    rows = seen(grant, "a")
    assert [evaluate(rows, {"region": region}) for region in ("EU", "US", None)] == [True, False, None]


def test_denied_cells_leave_the_other_columns_of_their_rows() -> None:
    grant = granted(allow("one", "*"), deny("no-c-in-us", ["c"], US))
    assert evaluate(seen(grant, "a"), {"region": "US"}) is True
    assert evaluate(seen(grant, "c"), {"region": "US"}) is False
    assert evaluate(seen(grant, "a", "c"), {"region": "EU"}) is True
    assert evaluate(seen(grant, "a", "c"), {"region": None}) is None


def test_denying_everything_leaves_nothing_to_count() -> None:
    assert not granted(allow("one", ["a"]), allow("rows-only", []), deny("all", "*")).allowed


def test_a_rule_that_needs_a_missing_attribute_denies_and_its_metrics_with_it() -> None:
    mine = In("region", (Attribute("regions"),))
    bob = Principal("bob", frozenset({"analyst"}))
    grant = granted(allow("mine", "*", mine, metrics=frozenset({"revenue"})), principal=bob)
    assert not grant.allowed
    assert "mine" in grant.reason
    both = granted(
        allow("mine", "*", mine, metrics=frozenset({"revenue"})),
        allow("count", ["a"], metrics=frozenset({"orders"})),
        principal=bob,
    )
    assert both.allows_metric("orders")
    assert not both.allows_metric("revenue")


def test_a_deny_rule_that_needs_a_missing_attribute_denies_every_row() -> None:
    bob = Principal("bob", frozenset({"analyst"}))
    assert not granted(
        allow("one", "*"), deny("others", rows=Not(In("region", (Attribute("r"),)))), principal=bob
    ).allowed


def test_an_attribute_that_does_not_fit_its_column_denies() -> None:
    rule = allow("mine", "*", In("a", (Attribute("numbers"),)))
    assert not granted(rule, principal=Principal("x", frozenset({"analyst"}), {"numbers": ("one",)})).allowed


def test_rows_of_one_rule_never_serve_a_metric_of_another() -> None:
    grant = granted(
        allow("eu", "*", EU, metrics=frozenset({"revenue"})), allow("us", "*", US, metrics=frozenset({"orders"}))
    )
    assert seen(grant.for_metric("revenue"), "a") == EU
    assert seen(grant.for_metric("orders"), "a") == US
    assert not grant.for_metric("profit").allowed


def test_a_denied_metric_is_refused_whoever_allows_it() -> None:
    grant = granted(allow("one", "*"), deny("no-margin", metrics=["margin"]))
    assert not grant.allows_metric("margin")
    assert grant.allows_metric("revenue")


def test_a_masked_column_is_shown_masked_and_never_used() -> None:
    grant = granted(allow("one", ["a"], masks={"c": Mask("hash")})).dataset("t")
    access = grant.access(["a", "c"])
    assert access.rows == TRUE
    assert access.masks["c"].mask == Mask("hash")
    assert evaluate(access.masks["c"].unless, {}) is False
    assert evaluate(grant.access(["a"], used=["c"]).rows, {}) is False
    assert grant.masked == {"c"}


def test_a_value_is_plain_inside_ones_rows_and_masked_outside() -> None:
    grant = granted(allow("mine", "*", EU), allow("all", ["a", "region"], masks={"c": Mask("last4")}))
    access = grant.dataset("t").access(["a", "c"])
    unless = access.masks["c"].unless
    assert [evaluate(access.rows, {"region": region}) for region in ("EU", "US")] == [True, True]
    assert [evaluate(unless, {"region": region}) for region in ("EU", "US")] == [True, False]


def test_of_two_masks_the_stricter_holds() -> None:
    grant = granted(
        allow("x", ["a"], EU, masks={"c": Mask("last4")}), allow("y", ["a"], US, masks={"c": Mask("null")})
    )
    assert grant.dataset("t").access(["c"]).masks["c"].mask == Mask("null")


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("null", None), ("last4", "•••4567"), ("redact", "[redacted]"), ("constant", "x"), ("hash", "8bb0cf6eb9b1")],
)
def test_masks_show_what_they_promise(kind: MaskKind, shown: str | None) -> None:
    assert Mask(kind, "x").apply("1234567") == shown
    assert Mask(kind, "x").apply(None) is None


def test_short_values_are_not_given_away_by_their_last_four() -> None:
    assert Mask("last4").apply("123") == "•••"


@pytest.mark.parametrize(
    "rule",
    [
        deny("r", ["birth_date"]),
        allow("r", ["birth_date"]),
        allow("r", ["a"], masks={"birth_date": Mask("null")}),
        allow("r", ["a"], rows=Compare("birth_date", "eq", "x")),
        allow("r", ["a"], datasets=frozenset({"gone"})),
        allow("r", ColumnChoice(excluded=frozenset({"birth_date"}))),
    ],
)
def test_a_policy_that_names_what_was_not_sealed_denies_the_product(rule: Rule) -> None:
    grant = granted(allow("fine", "*"), replace(rule, roles=frozenset({"somebody else"})))
    assert not grant.allowed
    assert "re-ingest" in grant.reason


def test_a_policy_that_filters_by_a_text_column_denies_since_chunks_do_not_carry_it() -> None:
    texts = replace(TABLE, columns=(*TABLE.columns[:3], replace(TABLE.columns[3], is_text=True)))
    grant = decide(ANN, replace(PRODUCT, datasets=(texts,)), Action.SEARCH, Policy("p", (allow("r", "*", EU),)))
    assert not grant.allowed


def test_columns_can_be_chosen_by_classification_and_tag() -> None:
    public = granted(allow("r", ColumnChoice(frozenset(), frozenset({"public", "unclassified"}))))
    assert public.dataset("t").columns == {"a", "region"}
    tagged = granted(allow("r", ColumnChoice(frozenset(), tags=frozenset({"contact"}))))
    assert tagged.dataset("t").columns == {"c"}


# -- any policy --------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "region")
SOME = st.frozensets(st.sampled_from(NAMES), max_size=4)
FILTERS = st.sampled_from([TRUE, EU, US, Not(EU), In("region", (Attribute("regions"),)), Compare("a", "gt", 1)])
MASKS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([Mask("null"), Mask("last4")]), max_size=2)
ALLOWS = st.builds(lambda columns, rows, masks: allow("r", columns, rows, masks=masks), SOME, FILTERS, MASKS)
DENIES = st.builds(deny, st.just("d"), SOME, FILTERS)
RULES = st.lists(ALLOWS, max_size=3)
ROW = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(0, 2),
        "b": st.just(1),
        "c": st.just("x"),
        "region": st.sampled_from(["EU", "US", None]),
    }
)
CALLERS = st.sampled_from([ANN, Principal("bob", frozenset({"analyst"}))])


def cells(grant: DatasetGrant, row: dict[str, Any], shown: frozenset[str]) -> frozenset[str] | None:
    """The columns that this row shows plain among those asked for; None where the row is withheld."""
    access = grant.access(shown)
    if evaluate(access.rows, row) is not True:
        return None
    hidden = {name for name, masking in access.masks.items() if evaluate(masking.unless, row) is not True}
    return shown - hidden


@given(RULES, ROW, SOME, CALLERS)
def test_a_row_shows_no_set_of_cells_that_no_single_rule_shows(
    rules: list[Rule], row: dict[str, Any], shown: frozenset[str], caller: Principal
) -> None:
    grant = granted(*rules, principal=caller).dataset("t")
    plain = cells(grant, row, shown)
    whole = [a for a in grant.allowances if evaluate(a.rows, row) is True and a.shows(shown)]
    assert (plain is not None) == bool(whole)
    if plain is not None:
        assert any(plain <= allowance.columns for allowance in whole)


@given(RULES, DENIES, ROW, SOME, CALLERS)
def test_a_deny_rule_never_shows_more(
    rules: list[Rule], denial: Rule, row: dict[str, Any], shown: frozenset[str], caller: Principal
) -> None:
    before = cells(granted(*rules, principal=caller).dataset("t"), row, shown)
    after = cells(granted(*rules, denial, principal=caller).dataset("t"), row, shown)
    if after is not None:
        assert before is not None
    speaks = denial.columns.anything and bool(denial.columns.names & shown)
    if after is not None and denial.rows == TRUE and speaks:
        raise AssertionError("a denied column was shown")


@given(RULES, ALLOWS, ROW, SOME)
def test_an_attribute_less_never_shows_more(
    rules: list[Rule], one: Rule, row: dict[str, Any], shown: frozenset[str]
) -> None:
    bob = Principal("bob", frozenset({"analyst"}))
    with_attribute = granted(*rules, one).dataset("t").access(shown).rows
    without = granted(*rules, one, principal=bob).dataset("t").access(shown).rows
    assert not (evaluate(without, row) is True and evaluate(with_attribute, row) is not True)


@given(st.lists(ALLOWS | DENIES, max_size=4), st.booleans(), st.integers(0, 9))
def test_a_policy_read_back_from_the_ledger_is_the_same(rules: list[Rule], facts: bool, group: int) -> None:
    policy = Policy("p", tuple(rules), facts, group)
    assert policy_from_json("p", json.loads(json.dumps(policy_to_json(policy)))) == policy


def test_a_policy_of_a_newer_format_and_one_that_is_not_whole_are_refused() -> None:
    with pytest.raises(NewerFormat, match="newer"):
        policy_from_json("p", {"format": 2})
    with pytest.raises(InvalidArgument, match="not whole"):
        policy_from_json("p", {"format": 1})


# -- policy.yaml -------------------------------------------------------------------------------------------


def test_a_policy_file_means_what_it_says(workspace: Write) -> None:
    policy = load_workspace(workspace()).products["orders"].policy
    assert policy is not None
    (rule,) = policy.rules
    assert rule.roles == {"analyst"}
    assert rule.datasets == {"orders"}
    assert rule.columns == ColumnChoice(frozenset(), frozenset({"public", "internal", "unclassified"}))
    assert rule.rows == In("region", (Attribute("regions"),))
    assert rule.metrics == {"*"}


def test_literals_of_a_row_filter_are_typed_when_the_file_is_read(workspace: Write) -> None:
    rows = "{field: ordered_on, op: ge, value: 2025-01-01}"
    policy = load_workspace(workspace(policy=POLICY.replace(ROWS, rows))).products["orders"].policy
    assert policy is not None
    assert policy.rules[0].rows == Compare("ordered_on", "ge", date(2025, 1, 1))


def test_a_deny_rule_denies_only_what_it_names(workspace: Write) -> None:
    rule = "{name: no, effect: deny, roles: ['*'], actions: [search], datasets: [orders], rows: %s}"
    more = "  - " + rule % "{field: region, value: US}" + "\n"
    policy = load_workspace(workspace(policy=POLICY + more)).products["orders"].policy
    assert policy is not None
    assert policy.rules[1].columns == NO_COLUMNS
    assert policy.rules[1].metrics == frozenset()


ROWS = "{field: region, op: in, value: {principal: regions}}"
RULE = "  - {name: x, roles: [r], actions: [search], datasets: [orders], columns: [region]"
BAD_RULES = [
    (RULE + ", rolse: [a]}", "a rule has no key 'rolse'. Did you mean 'roles'?"),
    (RULE.replace("search", "serach") + "}", "no action 'serach'. Did you mean 'search'?"),
    (RULE.replace("[orders]", "[order]") + "}", "no dataset 'order'. Did you mean 'orders'?"),
    (RULE.replace("[region]", "[regoin]") + "}", "no column 'regoin'. Did you mean 'region'?"),
    (RULE.replace("[region]", "{except: [emial]}") + "}", "no column 'emial'. Did you mean 'email'?"),
    (RULE.replace("[region]", "{tag: [x]}") + "}", "`columns` has no key 'tag'. Did you mean 'tags'?"),
    (RULE.replace("[region]", "{}") + "}", "this choice of columns is empty."),
    (RULE + ", mask: {email: hsah}}", "no mask 'hsah'. Use null, hash, last4, redact or {constant: …}."),
    (RULE + ", mask: {emial: hash}}", "no column 'emial'. Did you mean 'email'?"),
    (RULE + ", metrics: [net_revenue]}", "no metric 'net_revenue'."),
    (RULE + ", rows: {field: region, op: equals, value: EU}}", "no operator 'equals'."),
    (RULE + ", rows: {field: regio, value: EU}}", "in dataset 'orders', no column 'regio'."),
    (RULE + ", rows: {field: amount, value: much}}", "in dataset 'orders', 'much' is not a decimal"),
    (RULE + ", rows: {all: []}}", "these `rows` are all rows."),
    (RULE + ", effect: forbid}", "`effect` cannot be 'forbid'. Use one of allow, deny."),
    ("  - {name: x, roles: [r], actions: [search]}", "an allow rule needs `columns`."),
    ("  - {name: x, effect: deny, roles: [r], actions: [search]}", "a deny rule must say what it denies."),
    ("  - {name: x, actions: [search], columns: '*'}", "a rule needs `roles`."),
    ("  - {name: analysts, roles: [r], actions: [search], columns: '*'}", "the rule 'analysts' stands twice."),
    (
        "  - {name: x, roles: [r], actions: [search], columns: '*', rows: {field: region, value: EU}}",
        "in dataset 'returns', no column 'region'.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "said"), BAD_RULES)
def test_a_mistake_in_a_rule_is_named_with_its_line(workspace: Write, rule: str, said: str) -> None:
    text = POLICY + rule + "\n"
    found = mistakes(workspace(policy=text))
    assert found
    assert found[0].startswith(f"products/orders/policy.yaml:{line_of(text, rule)}: {said}")


def test_the_part_of_a_row_filter_that_is_wrong_is_named_by_its_own_line(workspace: Write) -> None:
    rows = """
      any:
        - {field: region, value: EU}
        - not:
            - {field: phnoe, value: 1}"""
    text = POLICY.replace(" " + ROWS, rows)
    (found,) = mistakes(workspace(policy=text))
    assert found.startswith(f"products/orders/policy.yaml:{line_of(text, 'phnoe')}: ")


def test_a_rule_over_several_datasets_must_fit_each(workspace: Write) -> None:
    both = POLICY.replace("datasets: [orders]", "datasets: [orders, returns]")
    (found,) = mistakes(workspace(policy=both))
    assert "in dataset 'returns', no column 'region'" in found
    assert (
        mistakes(workspace(contract=CONTRACT + "      - {name: region, logicalType: string}\n", policy=both)) == []
    )
