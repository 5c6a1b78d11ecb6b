"""The benchmark of metrics: everybody is asked the same, and answers are compared as numbers."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from evals import bench_plan_peers
from evals.bench_plan import ASKED, BY_HAND, GENERATED, TABLES, equal_rows, make_bench, sorted_rows
from evals.bench_query import Asked, asker, figures, processor_seconds
from semantic_layer.principal import Principal
from semantic_layer.suite import MetricCase


@pytest.mark.parametrize("peer", [bench_plan_peers.BSL, bench_plan_peers.METRICFLOW])
def test_a_peer_is_asked_nothing_that_we_are_not(peer: object) -> None:
    assert isinstance(peer, dict)
    assert peer.keys() <= ASKED.keys()


def test_every_question_compiles_over_tables_that_are_made() -> None:
    bench = make_bench()
    read = {table for query in ASKED.values() for _, table in bench.compiled(query).tables}
    assert read == TABLES.keys() == GENERATED.keys()
    assert all(bench.compiled(query).statement.sql for query, _ in BY_HAND.values())


def test_metricflow_is_given_the_same_tables() -> None:
    models = {model["node_relation"]["alias"] for model in bench_plan_peers.manifest()["semantic_models"]}
    assert models == TABLES.keys() - {"days"}


def test_rows_are_equal_whatever_their_order_and_their_last_digits() -> None:
    ours = sorted_rows([("b", Decimal("2.5"), None), ("a", 0.1 + 0.2, datetime(2025, 1, 1))])
    theirs = sorted_rows([("a", 0.3, "2025-01-01"), ("b", 2.5, None)])
    assert equal_rows(ours, theirs)
    assert not equal_rows(ours, theirs[:1])
    assert not equal_rows(ours, sorted_rows([("a", 0.3001, "2025-01-01"), ("b", 2.5, None)]))


def test_golden_queries_are_asked_as_their_principals_under_names_of_their_own() -> None:
    eu = asker(Principal("case", frozenset({"analyst"}), {"regions": ("EU",)}))
    us = asker(Principal("case", frozenset({"analyst"}), {"regions": ("US",)}))
    assert eu.subject != us.subject
    assert eu.scopes == {"read"}


def test_the_median_of_all_calls_is_judged_and_the_slowest_query_named() -> None:
    cases = [MetricCase(name, Principal("a"), {}, (), 0.0) for name in ("quick", "slow")]
    asked = [Asked(cases[0], [10.0, 11.0], [5.0], [2.0]), Asked(cases[1], [30.0, 40.0, 50.0], [9.0], [8.0])]
    found = figures(asked)
    assert found["targets"]["query_metrics_p50_ms"] == {"figure": 30.0, "at_most": 25.0, "met": False}
    assert list(found["slowest"]) == ["slow", "quick"]


def test_processor_time_of_a_process_that_is_gone_is_nothing() -> None:
    assert processor_seconds(2**31 - 1) == 0.0
