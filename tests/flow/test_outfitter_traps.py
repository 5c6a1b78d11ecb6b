"""Every trap of the outfitter misleads once the semantics that avoid it are taken away, and only then."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.ask import Asker
from evals.run import run_suite
from examples.outfitter.generate import POSTGRES_SCHEMA, generate, postgres_tables
from examples.outfitter.refresh_evals import PRODUCTS
from indexes.library import Library, Snapshot
from indexes.live import LiveRecords
from indexes.ports import Embedder
from indexes.postgres.load import load_tables
from ingest.products import ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.findings import Findings
from semantic_layer.policy_file import read_policy
from semantic_layer.semantics.ossie import read_ossie
from semantic_layer.suite import Suite, read_suite
from semantic_layer.workspace import load_workspace
from semantic_layer.yaml_file import parse_yaml

pytestmark = pytest.mark.postgres

NUMBERS = ("catalogue", "customers", "inventory", "orders", "web")
"""The products whose numbers are asked; nothing of them needs a vector here."""

TRAPS = [
    pytest.param("orders", r"(SUM\(order_lines\.net_cents\)) / 100\.0", r"\1", "net-sales-in-euros", id="cents"),
    pytest.param(
        "orders",
        r"COALESCE\(net_sales, 0\) - COALESCE\(refunds, 0\)",
        "gross_revenue",
        "revenue-is-net",
        id="net-and-gross",
    ),
    pytest.param(
        "orders",
        r'"fiscal_year_start_month": 2',
        '"fiscal_year_start_month": 1',
        "revenue-by-fiscal-year",
        id="fiscal-year",
    ),
    pytest.param("orders", "Europe/Berlin", "UTC", "midnight-sale-is-in-january", id="time-zone"),
    pytest.param("web", "Europe/Berlin", "UTC", "visits-around-the-clock-change", id="time-zone-of-visits"),
    pytest.param(
        "orders",
        r"COALESCE\(net_sales, 0\) - COALESCE\(refunds, 0\)",
        "net_sales - refunds",
        "revenue-by-region-has-no-chasm",
        id="orphan-returns",
    ),
    pytest.param(
        "orders", r"net_sales / order_count", "net_sales / orders_placed",
        "average-order-value-is-a-ratio-of-sums", id="cancelled-orders",
    ),
    pytest.param(
        "inventory", r', "non_additive": \{[^}]*\}', "", "stock-is-not-added-up-over-days", id="semi-additive"
    ),
    pytest.param(
        "inventory", r'"groupings": \["stock\.warehouse"\]', '"groupings": []',
        "late-warehouse-keeps-its-last-level", id="late-feed",
    ),
    pytest.param(
        "web", r"converting_visits / visits", "bounces / visits", "visit-conversion", id="name-of-two-metrics"
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, postgres_dsn: str) -> Path:
    """The five products sealed, without their evaluations as gates: here they are asked by the tests."""
    root = tmp_path_factory.mktemp("outfitter")
    for product in NUMBERS:
        shutil.copytree(
            PRODUCTS / product, root / "products" / product, ignore=shutil.ignore_patterns("evals.yaml")
        )
    contract = root / "products" / "catalogue" / "contract.yaml"
    told = contract.read_text(encoding="utf-8")
    contract.write_text(told.replace("value: {text: true}", "value: {text: false}"), encoding="utf-8")
    shutil.copyfile(PRODUCTS.parent / "wellhead.yaml", root / "wellhead.yaml")
    generate(root)
    for product in ("handbook", "support"):
        shutil.rmtree(root / "products" / product)
    load_tables(postgres_dsn, POSTGRES_SCHEMA, postgres_tables())
    settings = IngestSettings(environment={**os.environ, "WELLHEAD_POSTGRES_DSN": postgres_dsn})
    for product, outcome in ingest_all(load_workspace(root), NUMBERS, settings, by="test", progress=Silent()):
        assert isinstance(outcome, RunReport), f"{product}: {outcome}"
    return root


@pytest.fixture(scope="module")
def snapshot(workspace: Path) -> Generator[Snapshot]:
    library = Library(load_workspace(workspace).home, no_embedder)
    with library.pin() as pinned:
        yield pinned
    library.close()


def no_embedder(identity: object) -> Embedder:
    raise AssertionError(f"numbers need no model, and one was asked for: {identity}")


def failed_cases(snapshot: Snapshot, product: str) -> set[str]:
    suite = read_suite(PRODUCTS / product / "evals.yaml", product)
    with contextlib.closing(LiveRecords(dict(os.environ))) as live:
        asker = Asker(snapshot, as_of=datetime(2026, 2, 1, tzinfo=UTC), open_live=live.open)
        golden = Suite(product, metrics=suite.metrics, forbidden=suite.forbidden)
        return {case.id for case in run_suite(asker, golden).cases if not case.passed}


def without(snapshot: Snapshot, product: str, pattern: str, replacement: str) -> Snapshot:
    """The same edition, had the product's semantics said something else."""
    file = PRODUCTS / product / "semantics.yaml"
    text, count = re.subn(pattern, replacement, file.read_text(encoding="utf-8"))
    assert count, f"{file} no longer says {pattern}"
    findings = Findings()
    generation = snapshot.generations[product]
    model = read_ossie(parse_yaml(text), product=generation.product, findings=findings)
    assert not findings.problems
    return replace(snapshot, generations={**snapshot.generations, product: replace(generation, semantics=model)})


@pytest.mark.parametrize("product", NUMBERS)
def test_golden_answers_hold_with_the_semantics_as_they_are(snapshot: Snapshot, product: str) -> None:
    assert failed_cases(snapshot, product) == set()


@pytest.mark.parametrize(("product", "pattern", "replacement", "question"), TRAPS)
def test_a_trap_gives_another_answer_once_its_semantics_are_gone(
    snapshot: Snapshot, product: str, pattern: str, replacement: str, question: str
) -> None:
    assert question in failed_cases(without(snapshot, product, pattern, replacement), product)


def test_the_deprecated_table_is_read_by_nobody_but_auditors(snapshot: Snapshot) -> None:
    text = (PRODUCTS / "orders" / "policy.yaml").read_text(encoding="utf-8")
    opened, count = re.subn(r"actions: \[discover\]", "actions: [discover, lookup]", text)
    assert count == 1
    generation, findings = snapshot.generations["orders"], Findings()
    policy = read_policy(parse_yaml(opened), product=generation.product, metrics=None, findings=findings)
    assert not findings.problems
    loose = replace(snapshot, policies={**snapshot.policies, "orders": policy})
    assert failed_cases(loose, "orders") == {"legacy-table-is-not-read"}
