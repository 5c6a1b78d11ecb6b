"""Decisions that are kept: the same as made anew, and gone with what they were made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.decisions import Decisions, sees_every_row
from semantic_layer.policy import Action, Policy, decide
from semantic_layer.principal import Principal
from semantic_layer.product import DataProduct
from tests.semantic_layer.test_policy import ANN, EU, PRODUCT, allow


@dataclass(frozen=True)
class Sealed:
    """A generation, as far as decisions need one."""

    product: DataProduct


LIVE = {"p": Sealed(PRODUCT)}
POLICY = Policy("p", (allow("all", {"a", "b", "region"}, EU),))


def test_a_right_that_was_revoked_is_gone_from_the_next_call_whatever_its_revision_says() -> None:
    decisions = Decisions()
    first = decisions.grants(ANN, Action.LOOKUP, LIVE, {"p": POLICY}, 1)
    assert first["p"].allowed
    assert not decisions.grants(ANN, Action.LOOKUP, LIVE, {"p": Policy("p")}, 1)["p"].allowed
    assert not decisions.grants(ANN, Action.LOOKUP, LIVE, {}, 1)["p"].allowed


def test_a_decision_is_made_once_while_nothing_changes() -> None:
    decisions, policies = Decisions(), {"p": POLICY}
    again = replace(ANN)
    first = decisions.grants(ANN, Action.LOOKUP, LIVE, policies, 1)
    assert decisions.grants(again, Action.LOOKUP, LIVE, policies, 1) is first
    assert decisions.grants(ANN, Action.SEARCH, LIVE, policies, 1) is not first
    assert decisions.grants(ANN, Action.LOOKUP, dict(LIVE), policies, 1) is not first


VALUES = st.sampled_from([1, True, "1", ("EU",), ("US",), ("EU", "US"), (1,), (True,)])
CALLERS = st.builds(
    Principal,
    subject=st.sampled_from(["ann", "bob"]),
    roles=st.frozensets(st.sampled_from(["analyst", "public"])),
    attributes=st.dictionaries(st.sampled_from(["regions", "level"]), VALUES),
    tenant=st.sampled_from(["", "acme"]),
    purposes=st.frozensets(st.sampled_from(["fraud"])),
)


@given(st.lists(st.tuples(CALLERS, st.sampled_from(list(Action))), max_size=20))
def test_no_caller_is_ever_given_the_decision_of_another(asked: list[tuple[Principal, Action]]) -> None:
    decisions, policies = Decisions(most=5), {"p": POLICY}
    for caller, action in asked:
        found = decisions.grants(caller, action, LIVE, policies, 1)["p"]
        assert found == decide(caller, PRODUCT, action, POLICY, policy_revision=1)
        assert repr(found.principal.attributes) == repr(caller.attributes) or sorted(
            map(repr, found.principal.attributes.items())
        ) == sorted(map(repr, caller.attributes.items()))


def test_what_is_withheld_is_told_of_the_grant_at_hand_also_of_a_narrowed_one() -> None:
    decisions, policies = Decisions(), {"p": POLICY}
    grant = decisions.grants(ANN, Action.LOOKUP, LIVE, policies, 1)["p"]
    found = decisions.withheld(grant, LIVE, policies, 1)
    assert (found.rows, found.columns) == (True, True)
    assert decisions.withheld(grant, LIVE, policies, 1) is found
    whole = replace(grant, datasets={})
    assert sees_every_row(whole)
    assert not decisions.withheld(whole, LIVE, policies, 1).rows
