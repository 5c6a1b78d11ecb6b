"""`wellhead doctor` looks at the PostgreSQL that keeps the ledger or vectors, and at the one a contract reads."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import make_conninfo
from psycopg.errors import DiskFull

from indexes.ledgers import open_ledger
from indexes.postgres.connection import connect
from indexes.postgres.health import Examined, ServerFacts
from semantic_layer.errors import OutOfSpace
from semantic_layer.settings import PostgresSettings
from tests.conftest import engine_missing
from tests.ingest.test_doctor import look
from tests.postgres_node import LOCKED, PASSWORD, PostgresNode, postgres_node
from tests.postgres_shop import SCHEMA

pytestmark = pytest.mark.postgres

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
servers:
  - server: db
    type: postgres
    schema: public
    customProperties: [{property: wellhead, value: {dsn: "${SHOP_DSN}"}}]
schema:
  - name: orders
    physicalType: table
    properties: [{name: id, logicalType: string, primaryKey: true, primaryKeyPosition: 1}]
"""


@pytest.fixture(scope="module")
def node() -> Generator[PostgresNode]:
    try:
        with postgres_node() as started:
            with connect(started.dsn) as owner:
                owner.execute(SCHEMA)
            yield started
    except OSError as error:
        engine_missing("postgres", str(error))


@pytest.fixture
def schema(node: PostgresNode) -> Generator[str]:
    """A schema that is gone after the test."""
    yield "looked_at"
    with connect(node.dsn) as owner:
        owner.execute("DROP SCHEMA IF EXISTS looked_at CASCADE")


def stated(root: Path, dsn: str, **more: Any) -> Path:
    """A workspace without a product."""
    settings = {"ledger": "postgres", "postgres": {"dsn": dsn, "schema": "looked_at"}, **more}
    (root / "products").mkdir(exist_ok=True)
    (root / "wellhead.yaml").write_text(yaml.safe_dump({"version": 1, "name": "shop", **settings}))
    return root


def begun(dsn: str, home: Path) -> None:
    """Publish the ledger's first edition."""
    with closing(open_ledger(home, "postgres", PostgresSettings(dsn, "looked_at"), {})) as ledger:
        ledger.publish(ledger.edition(), {}, action="test", by="test")


def rows_of(node: PostgresNode) -> int:
    with connect(node.dsn) as owner:
        row = owner.execute("SELECT count(*) FROM looked_at.ledger").fetchone()
    assert row is not None
    return int(row[0])


def test_a_sound_ledger_has_only_good_findings_and_nothing_is_written(
    tmp_path: Path, node: PostgresNode, schema: str
) -> None:
    root = stated(tmp_path, node.dsn, engines={"vectors": "pgvector"}, audit={"anchor": "postgres"})
    found = look(root, 0)
    for table in ("ledger", "budgets", "audit_heads"):
        assert f"may make {schema}.{table}" in found[f"engine postgres: {table}"]["said"]
    with connect(node.dsn) as owner:
        assert owner.execute("SELECT to_regclass('looked_at.ledger')").fetchone() == (None,)
    begun(node.dsn, tmp_path / ".wellhead")
    found = look(root, 0)
    assert "version 18" in found["engine postgres"]["said"]
    assert "agrees" in found["engine postgres: clock"]["said"]
    assert "GiB free" in found["engine postgres: disk"]["said"]
    assert f"SELECT and INSERT on {schema}.ledger" in found["engine postgres: ledger"]["said"]
    assert found["engine postgres: pgvector"]["said"].startswith("version 0.8")
    assert rows_of(node) == 1


def test_a_ledger_that_is_down_or_lets_nobody_in_gives_exit_code_5(tmp_path: Path, node: PostgresNode) -> None:
    wrong = stated(tmp_path, "${SHOP_DSN}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SHOP_DSN", node.dsn_of(LOCKED, "open barley"))
        found = look(wrong, 5)
        assert "lets nobody in" in found["engine postgres"]["said"]
        assert "barley" not in json.dumps(found)
        patched.setenv("SHOP_DSN", node.dsn)
        with node.down():
            assert "does not answer" in look(wrong, 5)["engine postgres"]["said"]
        patched.delenv("SHOP_DSN")
        assert "SHOP_DSN" in look(wrong, 1)["engine postgres"]["said"]


def test_a_right_that_is_missing_is_named_with_the_grant_that_mends_it(
    tmp_path: Path, node: PostgresNode, schema: str
) -> None:
    dsn = node.dsn_of(LOCKED, PASSWORD)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SHOP_DSN", dsn)
        root = stated(tmp_path, "${SHOP_DSN}", engines={"vectors": "pgvector"})
        found = look(root, 5)
        assert "permission denied for database" in found["engine postgres: ledger"]["said"]
        assert "CREATE on the database" in found["engine postgres: ledger"]["fix"]
        assert found["engine postgres: pgvector"]["state"] == "fail"
        begun(node.dsn, tmp_path / ".wellhead")
        with connect(node.dsn) as owner:
            owner.execute(f"GRANT USAGE ON SCHEMA looked_at TO {LOCKED}")  # pyright: ignore
            owner.execute(f"GRANT SELECT ON looked_at.ledger TO {LOCKED}")  # pyright: ignore
        found = look(root, 5)
        assert "permission denied for table ledger" in found["engine postgres: ledger"]["said"]
        assert f"INSERT on {schema}.ledger" in found["engine postgres: ledger"]["fix"]
        with connect(node.dsn) as owner:
            owner.execute(f"GRANT INSERT ON looked_at.ledger TO {LOCKED}")  # pyright: ignore
        found = look(stated(tmp_path, "${SHOP_DSN}"), 5)
        assert found["engine postgres: ledger"]["state"] == "ok"
        assert "CREATE on the database" in found["engine postgres: budgets"]["fix"]
        with connect(node.dsn) as owner:
            owner.execute("CREATE UNLOGGED TABLE looked_at.budgets (name text PRIMARY KEY, held text)")
            owner.execute(f"GRANT ALL ON looked_at.budgets TO {LOCKED}")  # pyright: ignore
        assert look(stated(tmp_path, "${SHOP_DSN}"), 0)["engine postgres: budgets"]["state"] == "ok"


@contextmanager
def small_disk(node: PostgresNode) -> Generator[str]:
    """The DSN of a database on a disk of its own that is nearly full; needs root, who may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="wellhead-disk-"))
    options = "size=24m,mode=0700,uid=" + str((node.folder / "postmaster.pid").stat().st_uid)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        shutil.rmtree(folder)
        pytest.skip("only root may mount a small disk")
    try:
        with connect(node.dsn, autocommit=True) as owner:
            owner.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")  # pyright: ignore
            owner.execute("CREATE DATABASE full_disk TABLESPACE small")
        yield make_conninfo(node.dsn, dbname="full_disk")
        with connect(node.dsn, autocommit=True) as owner:
            owner.execute("DROP DATABASE full_disk (FORCE)")
            owner.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)


def fill(dsn: str) -> None:
    """Use up the disk."""
    with connect(dsn, autocommit=True) as owner:
        owner.execute("CREATE TABLE ballast (held bytea)")
        owner.execute("ALTER TABLE ballast ALTER held SET STORAGE EXTERNAL")
        for size in (2**20, 2**16, 2**13):
            with contextlib.suppress(DiskFull):
                while True:
                    owner.execute("INSERT INTO ballast VALUES (%s)", (bytes(size),))


def test_a_disk_that_is_really_full_is_named_nothing_is_published_and_it_mends_by_itself(
    tmp_path: Path, node: PostgresNode
) -> None:
    with small_disk(node) as dsn, pytest.MonkeyPatch.context() as patched:
        patched.setenv("SHOP_DSN", dsn)
        root = stated(tmp_path, "${SHOP_DSN}")
        begun(dsn, tmp_path / ".wellhead")
        assert look(root, 0)["engine postgres: ledger"]["state"] == "ok"
        fill(dsn)
        found = look(root, 1)
        assert "has no space left" in found["engine postgres: disk"]["said"]
        assert "Free some" in found["engine postgres: disk"]["fix"]
        long = secrets.token_hex(200_000)
        with closing(
            open_ledger(tmp_path / ".wellhead", "postgres", PostgresSettings(dsn, "looked_at"), {})
        ) as ledger:
            with pytest.raises(OutOfSpace, match="has no space left"):
                ledger.publish(ledger.edition(), {}, action="test", by="test", note=long)
            assert ledger.edition().number == 1
            with connect(dsn, autocommit=True) as owner:
                owner.execute("DROP TABLE ballast")
            assert ledger.publish(ledger.edition(), {}, action="test", by="test", note=long).number == 2
        assert look(root, 0)["engine postgres: disk"]["state"] == "ok"


def test_a_little_free_space_an_old_version_and_another_clock_are_told(
    tmp_path: Path, node: PostgresNode, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = stated(tmp_path, node.dsn)
    begun(node.dsn, tmp_path / ".wellhead")
    facts = Examined.facts

    def older(server: Examined) -> ServerFacts:
        told = facts(server)
        return replace(told, major=12, version="12.3", clock=told.clock - timedelta(hours=2))

    monkeypatch.setattr(Examined, "facts", older)
    monkeypatch.setattr(Examined, "free_bytes", lambda _: 2**30)
    found = look(root, 0)
    assert {
        found[one]["state"] for one in ("engine postgres", "engine postgres: disk", "engine postgres: clock")
    } == {"warn"}
    assert "7,200 s behind" in found["engine postgres: clock"]["said"]
    monkeypatch.setattr(Examined, "free_bytes", lambda _: 2**20)
    assert look(root, 1)["engine postgres: disk"]["state"] == "fail"
    monkeypatch.setattr(Examined, "facts", lambda server: replace(facts(server), standby=True))
    assert "standby" in look(root, 5)["engine postgres: rights"]["said"]


def test_each_dataset_of_a_source_is_asked_for_by_name(tmp_path: Path, node: PostgresNode) -> None:
    root = stated(tmp_path, node.dsn, ledger="files")
    folder = root / "products" / "orders"
    folder.mkdir()
    (folder / "contract.yaml").write_text(CONTRACT)
    (folder / "policy.yaml").write_text("version: 1\nrules: []\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SHOP_DSN", node.dsn)
        found = look(root, 0)
        assert "version 18" in found["source orders.db"]["said"]
        assert found["source orders.db.orders"]["said"] == "table public.orders may be read"
        assert found["clock orders.db"]["state"] == "ok"
        patched.setenv("SHOP_DSN", node.dsn_of(LOCKED, PASSWORD))
        found = look(root, 5)
        assert "permission denied for table orders" in found["source orders.db.orders"]["said"]
        assert "Grant its user SELECT on table public.orders" in found["source orders.db.orders"]["fix"]
        with connect(node.dsn) as owner:
            owner.execute(f"GRANT SELECT ON orders TO {LOCKED}")  # pyright: ignore
            owner.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
        assert "row-level security" in look(root, 5)["source orders.db.orders"]["said"]
