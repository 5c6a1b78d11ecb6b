"""The lookup benchmark asks what it says, of a live table, under both callers' grants."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.bench_lookup import CALLERS, COLUMNS, SCHEMA, measure, product, serve
from indexes.postgres.load import load_tables

pytestmark = pytest.mark.postgres


def test_each_caller_has_its_figures_beside_the_bare_driver(tmp_path: Path, postgres_dsn: str) -> None:
    load_tables(postgres_dsn, SCHEMA, [("tickets", COLUMNS, [(n, "EU", n, "a@example.com") for n in range(100)])])
    generation = serve(tmp_path, product(postgres_dsn))
    figures = measure(postgres_dsn, generation, [n % 100 for n in range(70)])
    generation.close()
    assert figures.keys() == CALLERS.keys()
    for figure in figures.values():
        assert figure["added_p50_ms"]["at_most"] == 3.0
        assert figure["p95_ms"] >= figure["p50_ms"] > 0
