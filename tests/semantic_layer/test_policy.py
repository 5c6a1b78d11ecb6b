"""Who sees which cells: deny by default, deny wins, columns of two rules never combine, masks hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.errors import InvalidArgument, NewerFormat, Refused
from semantic_layer.mask import Mask, MaskKind
from semantic_layer.policy import (
    Action,
    ColumnChoice,
    DatasetGrant,
    Grant,
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
    [("null", None), ("last4", "•••4567"), ("redact", "[redacted]"), ("constant", "x"), ("hash", "9bf80f938f42")],
)
def test_masks_show_what_they_promise(kind: MaskKind, shown: str | None) -> None:
    mask = Mask(kind, "x").keyed(b"k")
    assert mask.apply("1234567") == shown
    assert mask.apply(None) is None


def test_a_hash_is_of_this_workspace_alone_and_needs_its_key() -> None:
    ours, theirs = Mask("hash").keyed(b"ours"), Mask("hash").keyed(b"theirs")
    assert ours.apply("ann@example.com") == ours.apply("ann@example.com") != theirs.apply("ann@example.com")
    dictionary = hashlib.sha256(b"ann@example.com").hexdigest()
    assert ours.apply("ann@example.com") not in dictionary
    with pytest.raises(ValueError, match="key"):
        Mask("hash").apply("ann@example.com")
    assert "ours" not in repr(ours)


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
        policy_from_json("p", {"format": 3})
    with pytest.raises(InvalidArgument, match="not whole"):
        policy_from_json("p", {"format": 1})


def test_a_policy_of_the_first_format_is_still_read() -> None:
    form = policy_to_json(Policy("p", (allow("one", ["a"]),)))
    older = {**form, "format": 1, "rules": [{k: v for k, v in form["rules"][0].items() if k not in NEWER}]}
    assert policy_from_json("p", older) == Policy("p", (allow("one", ["a"]),))


NEWER = ("purposes", "tenants")

# -- purposes and tenants ----------------------------------------------------------------------------------


def test_a_rule_for_a_purpose_speaks_only_of_callers_who_act_for_it() -> None:
    rule = allow("fraud", ["a"], purposes=frozenset({"fraud"}))
    assert not granted(rule).allowed
    assert granted(rule).reason == "fraud needs the purpose fraud"
    assert granted(rule, principal=replace(ANN, purposes=frozenset({"fraud", "billing"}))).allowed
    assert not granted(rule, principal=replace(ANN, purposes=frozenset({"billing"}))).allowed


def test_a_call_acts_for_one_of_its_callers_purposes_and_never_for_another() -> None:
    caller = replace(ANN, purposes=frozenset({"fraud", "billing"}))
    rule = allow("fraud", ["a"], purposes=frozenset({"fraud"}))
    assert granted(rule, principal=caller.acting_for("fraud")).allowed
    assert not granted(rule, principal=caller.acting_for("billing")).allowed
    with pytest.raises(Refused) as refusal:
        caller.acting_for("marketing")
    assert refusal.value.rule == "purpose"


def test_a_deny_rule_for_a_purpose_denies_whoever_acts_for_it() -> None:
    rules = (allow("one", ["a", "b"]), replace(deny("no", ["b"]), purposes=frozenset({"marketing"})))
    assert granted(*rules).dataset("t").columns == {"a", "b"}
    caller = replace(ANN, purposes=frozenset({"marketing"}))
    assert granted(*rules, principal=caller).dataset("t").columns == {"a"}


def test_a_rule_for_a_tenant_is_of_no_use_to_others_and_says_nothing_of_it() -> None:
    rule = allow("acme", ["a"], tenants=frozenset({"acme"}))
    assert granted(rule, principal=replace(ANN, tenant="acme")).allowed
    for other in ("", "globex"):
        refused = granted(rule, principal=replace(ANN, tenant=other))
        assert not refused.allowed
        assert "acme" not in refused.reason


def test_rows_of_a_tenant_are_told_by_the_callers_own_tenant_and_by_no_attribute() -> None:
    rule = allow("own", ["a"], In("region", (Attribute("tenant"),)))
    assert not granted(rule, principal=replace(ANN, attributes={"tenant": ("acme",)})).allowed
    grant = granted(rule, principal=replace(ANN, tenant="acme", attributes={"tenant": ("globex",)}))
    assert grant.dataset("t").access(["a"]).rows == In("region", ("acme",))


# -- rules over every dataset ------------------------------------------------------------------------------

OTHER = Dataset("other", "table", (Column("a", ColumnType.INTEGER), Column("x", ColumnType.STRING)))


def test_a_row_filter_over_every_dataset_shows_nothing_of_one_that_lacks_the_column() -> None:
    product = replace(PRODUCT, datasets=(TABLE, OTHER))
    policy = Policy("p", (allow("eu", "*", EU), allow("some", ["x"])))
    grant = decide(ANN, product, Action.SEARCH, policy)
    assert grant.dataset("t").access(["a"]).rows == EU
    assert grant.dataset("other").columns == {"x"}


def test_a_denied_row_filter_over_every_dataset_denies_all_of_one_that_lacks_the_column() -> None:
    product = replace(PRODUCT, datasets=(TABLE, OTHER))
    policy = Policy("p", (allow("all", "*"), replace(deny("no-eu", rows=EU), columns=NO_COLUMNS)))
    grant = decide(ANN, product, Action.SEARCH, policy)
    assert grant.dataset("t").allowances
    assert not grant.dataset("other").allowances


def test_a_row_filter_that_fits_no_dataset_denies_the_product_and_says_so() -> None:
    grant = decide(ANN, PRODUCT, Action.SEARCH, Policy("p", (allow("x", "*", Compare("gone", "eq", 1)),)))
    assert not grant.allowed
    assert "re-ingest" in grant.reason


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
        "  - {name: x, roles: [r], actions: [search], columns: '*', rows: {field: regio, value: EU}}",
        "in dataset 'orders', no column 'regio'.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "said"), BAD_RULES)
def test_a_mistake_in_a_rule_is_named_with_its_line(workspace: Write, rule: str, said: str) -> None:
    text = POLICY + rule + "\n"
    found = mistakes(workspace(policy=text))
    assert found
    assert found[0].startswith(f"products/orders/policy.yaml:{line_of(text, rule)}: {said}")


def test_a_rule_for_all_datasets_that_fits_only_some_is_named_with_those_it_shows_nothing_of(
    workspace: Write,
) -> None:
    rule = "  - {name: x, roles: [r], actions: [search], columns: '*', rows: {field: region, value: EU}}"
    text = POLICY + rule + "\n"
    found = [str(warning) for warning in load_workspace(workspace(policy=text)).warnings]
    (warning,) = [one for one in found if "policy.yaml" in one]
    assert f"policy.yaml:{line_of(text, rule)}: the rule 'x' shows nothing of dataset 'returns'" in warning


CASE = """
cases:
  - name: analysts see their region
    as: {roles: [analyst], attributes: {regions: [EU]}}
    action: search
    dataset: orders
    allowed: true
    hides: [email]
    rows: {shown: [{region: EU}], hidden: [{region: US}, {region: null}]}
"""


def test_the_cases_of_a_policy_hold_or_the_workspace_does_not_load(workspace: Write) -> None:
    assert mistakes(workspace(policy=POLICY + CASE)) == []
    wrong = POLICY + CASE.replace("hides: [email]", "sees: [email]").replace("[{region: EU}]", "[{region: US}]")
    found = mistakes(workspace(policy=wrong))
    assert any("column 'email' is hidden, not plain" in one for one in found)
    assert any("the row {'region': 'US'} is hidden" in one for one in found)
    assert all(f"policy.yaml:{line_of(wrong, '- name: analysts see')}" in one for one in found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("orders\n    allowed", "ordrs\n    allowed"), "no dataset 'ordrs'"),
        (("[email]", "[emial]"), "no column 'emial'"),
        (("action: search", "action: serach"), "Did you mean 'search'?"),
        (("{region: US}", "{regio: US}"), "no column 'regio'"),
        (("    dataset: orders\n", ""), "columns and rows need a `dataset`."),
        (("hides:", "hide:"), "has no key 'hide'"),
    ],
)
def test_a_mistake_in_a_policy_case_is_named(workspace: Write, change: tuple[str, str], said: str) -> None:
    assert any(said in one for one in mistakes(workspace(policy=POLICY + CASE.replace(*change))))


def test_an_attribute_may_not_be_called_like_the_callers_own_tenant(workspace: Write) -> None:
    wrong = CASE.replace("regions: [EU]", "tenant: acme")
    assert any("no attribute may be called 'tenant'" in one for one in mistakes(workspace(policy=POLICY + wrong)))


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
