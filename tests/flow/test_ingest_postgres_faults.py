"""An ingest whose PostgreSQL fails half way publishes nothing, keeps what is live, and needs no hand afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from indexes.ledgers import open_ledger
from indexes.postgres.cursors import Snapshot
from semantic_layer.errors import DeadlineExceeded, EngineUnavailable, OutOfSpace, WellheadError
from tests.conftest import engine_missing
from tests.mcp_server.running import running_server
from tests.mcp_server.test_serving import eventually
from tests.postgres_node import PostgresNode, postgres_node
from tests.postgres_shop import CONTRACT, Shop
from tests.workspace_factory import BuiltWorkspace

pytestmark = pytest.mark.postgres

SPOILT = """
CREATE OR REPLACE FUNCTION spoilt(total numeric) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN {body}; END $$
"""
WITH_QUERY = CONTRACT.replace(
    "{live: true}", '{query: "SELECT id, region, spoilt(total) AS total, email, placed FROM orders"}'
).replace('dsn: "${SHOP_DSN}"', 'dsn: "${SHOP_DSN}", timeout: 1')


@pytest.fixture(scope="module")
def node() -> Iterator[PostgresNode]:
    try:
        with postgres_node() as started:
            yield started
    except OSError as error:
        engine_missing("postgres", str(error))


def restarted_half_way(node: PostgresNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart the server after the first batch of the next ingest."""
    read = Snapshot.rows

    def interrupted(view: Snapshot, *asked: Any) -> Iterator[list[tuple[Any, ...]]]:
        for batch in read(view, *asked):
            yield batch
            node.restart()

    monkeypatch.setattr(Snapshot, "rows", interrupted)


def test_a_restart_in_the_middle_of_a_snapshot_publishes_nothing_and_the_next_ingest_all(
    tmp_path: Path, node: PostgresNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path / "shop", node.dsn)
    shop.ingest()
    live = shop.live
    shop.sql("INSERT INTO orders SELECT 'x' || n, 'EU', 1, NULL, now() FROM generate_series(1, 5001) AS n")
    with monkeypatch.context() as patched:
        restarted_half_way(node, patched)
        outcome = shop.outcome()
    assert isinstance(outcome, EngineUnavailable)
    assert "PostgreSQL (postgres at " in outcome.message
    assert shop.live == live
    assert list((shop.home / "stages").iterdir()) == []
    assert shop.ingest().counts["rows"] == 5003


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'", OutOfSpace),
        ("PERFORM pg_sleep(30); RETURN total", DeadlineExceeded),
    ],
)
def test_a_source_that_fills_its_disk_or_is_too_slow_changes_nothing(
    tmp_path: Path, node: PostgresNode, body: str, failure: type[WellheadError]
) -> None:
    shop = Shop(tmp_path / "shop", node.dsn, WITH_QUERY)
    shop.sql(SPOILT.format(body="RETURN total"))
    shop.ingest()
    live = shop.live
    shop.sql(SPOILT.format(body=body))
    outcome = shop.outcome()
    assert isinstance(outcome, failure), outcome
    assert "PostgreSQL (postgres at " in str(outcome)
    assert shop.live == live
    shop.sql(SPOILT.format(body="RETURN total + 1"))
    assert shop.ingest().state == "published"


def test_a_server_whose_ledger_is_down_says_so_starts_even_then_and_mends_by_itself(
    tmp_path: Path, node: PostgresNode
) -> None:
    (tmp_path / "wellhead.yaml").write_text(
        f'version: 1\nname: shop\nledger: postgres\npostgres: {{dsn: "{node.dsn}", schema: "served"}}\n'
    )
    workspace = BuiltWorkspace(tmp_path)
    settings = workspace.door.settings
    with closing(open_ledger(workspace.home, "postgres", settings.postgres, {})) as ledger:
        ledger.publish(ledger.edition(), {}, action="test", by="test")
    node.stop()
    with running_server(workspace) as running, httpx2.Client(base_url=running.origin, timeout=30) as http:
        for _ in range(2):
            eventually(lambda: http.get("/readyz").json()["reasons"] == ["engine_unavailable"])
            refused = http.post("/api/tools/discover", json={})
            assert (refused.status_code, refused.json()["code"]) == (503, "engine_unavailable")
            node.start()
            eventually(lambda: http.get("/readyz").status_code == 200)
            assert http.post("/api/tools/discover", json={}).status_code == 200
            node.stop()
    node.start()


@pytest.mark.parametrize("ledger_too", [False, True])
def test_an_ingest_while_everything_is_down_is_named_and_leaves_no_stage(
    tmp_path: Path, node: PostgresNode, ledger_too: bool
) -> None:
    shop = Shop(tmp_path / "shop", node.dsn)
    if ledger_too:
        with (shop.root / "wellhead.yaml").open("a") as file:
            file.write(f'ledger: postgres\npostgres: {{dsn: "{node.dsn}", schema: "down"}}\n')
    shop.ingest()
    ask: Callable[[], object] = shop.outcome
    with node.down():
        assert isinstance(ask(), EngineUnavailable)
    assert shop.ingest().state == "unchanged"
