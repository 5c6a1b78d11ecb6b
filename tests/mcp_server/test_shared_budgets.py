"""Callers of several servers have one account: in PostgreSQL, where the ledger lies there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from indexes.postgres.cells import PostgresCells
from mcp_server.budget import Budget
from mcp_server.budget_store import SharedBudgets
from mcp_server.opening import serving
from mcp_server.settings import ServingSettings
from semantic_layer.errors import EngineUnavailable, LimitExceeded
from semantic_layer.limit_settings import LimitSettings
from semantic_layer.settings import PostgresSettings
from tests.mcp_server.callers import EU, Asker

pytestmark = pytest.mark.postgres


@pytest.fixture
def stores(postgres_dsn: str) -> Iterator[list[SharedBudgets]]:
    """The accounts as three servers reach them."""
    opened = [SharedBudgets(PostgresCells(postgres_dsn, "budget_test", "budgets")) for _ in range(3)]
    yield opened
    for store in opened:
        store.close()
    with psycopg.connect(postgres_dsn) as owner:
        owner.execute("DROP SCHEMA IF EXISTS budget_test CASCADE")


def test_servers_that_share_a_ledger_share_a_callers_limit(stores: list[SharedBudgets]) -> None:
    limits = LimitSettings(calls_per_minute=30)
    budgets = [Budget(limits, store, lambda: 1e9) for store in stores]
    let_in: list[int] = []

    def work(budget: Budget) -> None:
        for _ in range(20):
            try:
                budget.begin(EU, 1.0)
                let_in.append(1)
            except LimitExceeded:
                pass

    threads = [threading.Thread(target=work, args=(budget,)) for budget in budgets for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_in) == 30


def test_an_account_that_nobody_used_for_long_is_forgotten(stores: list[SharedBudgets], postgres_dsn: str) -> None:
    Budget(LimitSettings(calls_per_minute=30), stores[0]).begin(EU, 1.0)
    stores[0].forget_idle()
    with psycopg.connect(postgres_dsn) as owner:
        assert owner.execute("SELECT count(*) FROM budget_test.budgets").fetchone() == (1,)
        owner.execute("UPDATE budget_test.budgets SET at = now() - interval '2 hours'")
    stores[0].forget_idle()
    with psycopg.connect(postgres_dsn) as owner:
        assert owner.execute("SELECT count(*) FROM budget_test.budgets").fetchone() == (0,)


def test_accounts_that_cannot_be_reached_stop_the_call_by_name(tmp_path: Path) -> None:
    with closing(PostgresCells(f"host={tmp_path} dbname=shop", "wellhead", "budgets")) as cells:
        store = SharedBudgets(cells)
        store.forget_idle()
        with pytest.raises(EngineUnavailable, match=f"shop at {tmp_path}"):
            store.change("ann", lambda account: None)


def test_a_server_keeps_accounts_where_its_ledger_is(tmp_path: Path, postgres_dsn: str) -> None:
    limits = LimitSettings(calls_per_minute=2)
    settings = ServingSettings(
        tmp_path / "one", ledger="postgres", postgres=PostgresSettings(postgres_dsn, "served"), limits=limits
    )
    with serving(settings, {}) as one, serving(replace(settings, home=tmp_path / "other"), {}) as other:
        assert [Asker(service)(EU, "discover").status for service in (one, other)] == ["ok", "ok"]
        refused = Asker(one)(EU, "discover")
    assert refused.error is not None
    assert refused.error.code == "limit_exceeded"
    assert not (tmp_path / "one" / "budgets").exists()
