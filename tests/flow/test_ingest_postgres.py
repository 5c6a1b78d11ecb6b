"""Tables of a PostgreSQL server become a sealed generation from one moment, and live records beside it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from indexes.generation import generation_folder, read_manifest
from semantic_layer.errors import EngineUnavailable, SourceFailed
from tests.postgres_shop import ROWS, Shop

pytestmark = pytest.mark.postgres


@pytest.fixture
def shop(tmp_path: Path, postgres_dsn: str) -> Shop:
    return Shop(tmp_path / "shop", postgres_dsn)


def test_a_table_is_sealed_exactly_and_its_service_level_gives_the_watermark(shop: Shop) -> None:
    report = shop.ingest()
    assert report.counts["rows"] == 2
    assert report.watermark == "2025-03-02T12:00:00+00:00"
    assert shop.sealed() == [
        {"id": "o1", "total": Decimal("19.90"), "placed": ROWS[0][4]},
        {"id": "o2", "total": Decimal("5.00"), "placed": ROWS[1][4]},
    ]


def test_rows_that_did_not_change_build_nothing_whatever_their_order(shop: Shop) -> None:
    first = shop.ingest()
    shop.sql("UPDATE orders SET region = region")
    assert shop.ingest().state == "unchanged"
    shop.sql("UPDATE orders SET total = total + 1 WHERE id = 'o2'")
    second = shop.ingest()
    assert second.state == "published"
    assert second.generation != first.generation


def test_no_data_of_a_table_stands_in_the_manifest(shop: Shop) -> None:
    report = shop.ingest()
    manifest = read_manifest(generation_folder(shop.home, "orders", report.generation))
    assert "db:public.orders" in {one.name for one in manifest.inputs}
    assert "example.com" not in str(manifest)
    assert shop.dsn not in str(manifest)


def test_a_live_lookup_sees_what_changed_since_the_ingest_and_only_the_callers_rows(shop: Shop) -> None:
    shop.ingest()
    shop.sql("UPDATE orders SET total = 7.25 WHERE id = 'o1'")
    shop.sql("INSERT INTO orders VALUES ('o3', 'US', 1, 'cid@example.com', now())")
    [row] = shop.looked_up()
    assert (row["id"], row["total"], row["email"]) == ("o1", Decimal("7.25"), "•••.com")
    assert shop.looked_up("o3") == []


def test_a_column_that_changed_its_type_is_named_and_the_live_generation_stays(shop: Shop) -> None:
    shop.ingest()
    live = shop.live
    shop.sql("ALTER TABLE orders ALTER COLUMN total TYPE text")
    outcome = shop.outcome()
    assert isinstance(outcome, SourceFailed)
    assert "'total' is text and the contract says decimal" in outcome.message
    assert shop.live == live


def test_a_server_that_is_down_is_named_and_the_live_generation_stays(shop: Shop, tmp_path: Path) -> None:
    shop.ingest()
    live = shop.live
    shop.dsn = f"postgresql://me:secret@/shop?host={tmp_path}"
    outcome = shop.outcome()
    assert isinstance(outcome, EngineUnavailable)
    assert f"shop at {tmp_path}" in outcome.message
    assert "secret" not in str(outcome)
    assert shop.live == live
