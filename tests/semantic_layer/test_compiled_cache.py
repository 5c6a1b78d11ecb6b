"""A question is compiled once for callers of equal rights, and never served where rights or erasures differ."""

from __future__ import annotations

from typing import Any

import pytest
from small_shop import MODELS, NOON, PRODUCTS, grants, policy, rule

from semantic_layer.errors import InvalidFilter
from semantic_layer.plan.query import MetricQuery
from semantic_layer.predicate import TRUE, Compare, Predicate
from semantic_layer.sql.cache import CompiledCache
from semantic_layer.sql.compile import CompiledQuery, compile_query

PAID = MetricQuery.from_json(
    {"metrics": ["revenue"], "filters": {"field": "order__status", "op": "eq", "value": "paid"}}
)


@pytest.fixture
def cache() -> CompiledCache[CompiledQuery]:
    return CompiledCache(size=3)


def compiled(cache: CompiledCache[CompiledQuery], query: MetricQuery = PAID, **options: Any) -> CompiledQuery:
    given = options.pop("given", None) or grants()
    as_of = options.pop("as_of", NOON)
    return compile_query(query, MODELS, PRODUCTS, given, as_of=as_of, cache=cache, **options)


def test_equal_rights_share_what_was_compiled_and_each_call_has_its_clock(
    cache: CompiledCache[CompiledQuery],
) -> None:
    first = compiled(cache)
    later = NOON.replace(hour=13)
    second = compiled(cache, as_of=later)
    assert second.plan is first.plan
    assert (first.as_of, second.as_of) == (NOON, later)


def test_values_that_python_holds_equal_are_other_questions(cache: CompiledCache[CompiledQuery]) -> None:
    for value in (1, 1.0):
        form = {"metrics": ["order_count"], "filters": {"field": "order_count", "op": "gt", "value": value}}
        compiled(cache, MetricQuery.from_json(form))
    food = {"metrics": ["units"], "filters": {"field": "item__food", "op": "eq", "value": True}}
    assert list(compiled(cache, MetricQuery.from_json(food)).statement.parameters.values()) == [True]
    with pytest.raises(InvalidFilter):
        compiled(
            cache, MetricQuery.from_json({**food, "filters": {"field": "item__food", "op": "eq", "value": 1}})
        )


def test_other_rights_compile_anew(cache: CompiledCache[CompiledQuery]) -> None:
    first = compiled(cache)
    eu = grants(crm=policy("crm", rule("eu", rows=Compare("region", "eq", "EU"))))
    assert compiled(cache, given=eu).statement.sql != first.statement.sql
    small = grants(shop=policy("shop", rule("all"), minimum_group_size=3))
    assert compiled(cache, given=small).statement.sql != first.statement.sql
    assert compiled(cache).plan is first.plan


def test_an_erasure_is_seen_at_once(cache: CompiledCache[CompiledQuery]) -> None:
    def keep(product: str, dataset: str) -> Predicate:
        return Compare("order_id", "eq", 1) if (product, dataset) == ("shop", "orders") else TRUE

    first = compiled(cache)
    erased = compiled(cache, keep=keep)
    assert erased.statement.sql != first.statement.sql
    assert compiled(cache, keep=keep).plan is erased.plan


def test_the_oldest_is_forgotten(cache: CompiledCache[CompiledQuery]) -> None:
    first = compiled(cache)
    for name in ("order_count", "buyers", "units"):
        compiled(cache, MetricQuery.from_json({"metrics": [name]}))
    assert compiled(cache).plan is not first.plan
