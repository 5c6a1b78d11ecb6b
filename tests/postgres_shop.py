"""A workspace whose only product lives in PostgreSQL, for tests of sources and of live records."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from indexes.ledger import Edition
from indexes.ledgers import open_ledger
from indexes.library import Library
from indexes.live import LiveRecords
from indexes.lookup import RecordQuestion, lookup
from indexes.postgres.connection import connect
from indexes.postgres.load import load_tables
from ingest.products import Outcome, ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.policy import Action
from semantic_layer.predicate import TRUE
from semantic_layer.principal import Principal
from semantic_layer.workspace import load_workspace

SCHEMA = (
    "CREATE TABLE orders (id text PRIMARY KEY, region text, total numeric(8, 2), email text, placed timestamptz);"
)
ROWS: list[tuple[Any, ...]] = [
    ("o1", "EU", Decimal("19.90"), "ann@example.com", datetime(2025, 3, 1, 12, tzinfo=UTC)),
    ("o2", "US", Decimal("5.00"), "bob@example.com", datetime(2025, 3, 2, 12, tzinfo=UTC)),
]
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop-orders
version: 1.0.0
status: active
servers:
  - server: db
    type: postgres
    schema: public
    customProperties: [{property: wellhead, value: {dsn: "${SHOP_DSN}"}}]
slaProperties: [{property: latency, value: 1, unit: d, element: orders.placed}]
schema:
  - name: orders
    physicalType: table
    customProperties: [{property: wellhead, value: {live: true}}]
    properties:
      - {name: id, logicalType: string, physicalType: text, primaryKey: true, primaryKeyPosition: 1}
      - {name: region, logicalType: string, physicalType: text}
      - {name: total, logicalType: number, physicalType: "numeric(8,2)"}
      - {name: email, logicalType: string, physicalType: text, classification: personal}
      - {name: placed, logicalType: timestamp, physicalType: timestamptz}
"""
POLICY = """
version: 1
rules:
  - name: own-regions
    roles: [analyst]
    actions: [discover, lookup]
    columns: {except: [email]}
    mask: {email: last4}
    rows: {field: region, op: in, value: {principal: regions}}
"""
ANALYST = Principal("ann", frozenset({"analyst"}), {"regions": ("EU",)})


class Shop:
    """A workspace whose only product lives in PostgreSQL."""

    def __init__(self, root: Path, dsn: str, contract: str = CONTRACT) -> None:
        self.root, self.dsn, self.home = root, dsn, root / ".wellhead"
        product = root / "products" / "orders"
        product.mkdir(parents=True)
        (root / "wellhead.yaml").write_text("version: 1\nname: shop\n")
        (product / "contract.yaml").write_text(contract)
        (product / "policy.yaml").write_text(POLICY)
        load_tables(dsn, SCHEMA, [("orders", ("id", "region", "total", "email", "placed"), ROWS)])

    @property
    def environment(self) -> dict[str, str]:
        """What fills the `${NAME}` of the contract."""
        return {**os.environ, "SHOP_DSN": self.dsn}

    @property
    def live(self) -> Edition:
        """The newest edition."""
        settings = load_workspace(self.root).settings
        with closing(open_ledger(self.home, settings.ledger, settings.postgres, self.environment)) as ledger:
            return ledger.edition()

    def outcome(self, *, force: bool = False) -> Outcome:
        """What an ingest comes to."""
        settings = IngestSettings(self.environment, "cpu", force=force)
        [(_, outcome)] = ingest_all(load_workspace(self.root), (), settings, by="test", progress=Silent())
        return outcome

    def ingest(self, *, force: bool = False) -> RunReport:
        """The report of an ingest that succeeds."""
        outcome = self.outcome(force=force)
        assert isinstance(outcome, RunReport), outcome
        return outcome

    def sql(self, statement: str) -> None:
        with connect(self.dsn) as connection:
            connection.execute(statement)  # pyright: ignore[reportArgumentType]

    def sealed(self) -> list[dict[str, Any]]:
        library = Library(self.home, lambda identity: pytest.fail("no text, no model"))
        with library.pin() as snapshot:
            rows = snapshot.generations["orders"].tables.rows("orders", ["id", "total", "placed"], TRUE, ("id",))
        library.close()
        return rows

    def looked_up(self, key: Any = None) -> list[dict[str, Any]]:
        library = Library(self.home, lambda identity: pytest.fail("no text, no model"))
        live = LiveRecords({"SHOP_DSN": self.dsn})
        try:
            with library.pin() as snapshot:
                grants = {"orders": snapshot.grant(ANALYST, "orders", Action.LOOKUP)}
                asked = RecordQuestion("orders", "orders", key=key)
                return [
                    dict(r) for r in lookup(snapshot, asked, grants, deadline_seconds=5, open_live=live.open).rows
                ]
        finally:
            live.close()
            library.close()
