"""Vectors in PostgreSQL: checked when they are opened, named when they are gone, and used by one setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from indexes.ports import Allowed
from indexes.postgres.connection import Pool
from indexes.postgres.vectors import PgvectorBuilder, PgvectorReader, VectorSite, sweep
from mcp_server.opening import serving
from mcp_server.settings import serving_settings
from semantic_layer.errors import CorruptGeneration, EngineUnavailable
from tests.mcp_server.callers import EU, Asker
from tests.workspace_factory import BuiltWorkspace, copy_workspace

pytestmark = pytest.mark.postgres

VECTORS = np.eye(6, dtype=np.float32)[[0, 1, 2, 3, 4, 5, 0, 1]]


@pytest.fixture
def site(postgres_dsn: str) -> Iterator[VectorSite]:
    with closing(Pool(postgres_dsn)) as pool:
        yield VectorSite(pool, "vectors", "home/product")
    with psycopg.connect(postgres_dsn) as owner:
        owner.execute("DROP SCHEMA IF EXISTS vectors CASCADE")


@pytest.fixture
def facts(site: VectorSite, tmp_path: Path) -> dict[str, Any]:
    """What the manifest records of a sealed table."""
    builder = PgvectorBuilder(tmp_path, 6, site)
    builder.add(VECTORS)
    return dict(builder.seal())


def run(site: VectorSite, statement: str, facts: dict[str, Any]) -> None:
    with psycopg.connect(site.pool.dsn) as owner:
        table = sql.Identifier("vectors", facts["table"])
        owner.execute(sql.SQL(statement).format(table))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE {} SET v = (SELECT v FROM {} WHERE n = 5) WHERE n = 0", "holds other vectors than the 8"),
        ("DELETE FROM {} WHERE n = 7", "holds other vectors than the 8"),
        ("UPDATE {} SET n = 9 WHERE n = 7", "holds other vectors than the 8"),
        ("COMMENT ON TABLE {} IS NULL", "is not there"),
        ("DROP TABLE {}", "is not there"),
    ],
)
def test_a_table_that_is_not_what_was_sealed_is_named_when_it_is_opened(
    site: VectorSite, facts: dict[str, Any], change: str, said: str
) -> None:
    PgvectorReader(site, facts)
    run(site, change.replace("{}", "{0}"), facts)
    with pytest.raises(CorruptGeneration, match=said):
        PgvectorReader(site, facts)


def test_a_table_of_another_build_is_not_taken_for_this_one(site: VectorSite, facts: dict[str, Any]) -> None:
    with pytest.raises(CorruptGeneration, match="is not the table that was sealed"):
        PgvectorReader(site, {**facts, "digest": "0" * 40})


def test_a_table_that_goes_while_it_serves_is_named(site: VectorSite, facts: dict[str, Any]) -> None:
    reader = PgvectorReader(site, facts)
    assert reader.search(VECTORS[1], 3)[0].tolist() == [1, 7, 0]
    assert reader.search(VECTORS[1], 3, Allowed(np.array([0, 7]), 8))[0].tolist() == [7, 0]
    run(site, "DROP TABLE {}", facts)
    with pytest.raises(CorruptGeneration, match="does not exist"):
        reader.search(VECTORS[1], 3)


def test_a_table_built_again_takes_its_own_place_and_readers_go_on(site: VectorSite, tmp_path: Path) -> None:
    def built() -> dict[str, Any]:
        builder = PgvectorBuilder(tmp_path, 6, replace(site, generation="g1"))
        builder.add(VECTORS)
        return {key: value for key, value in builder.seal().items() if key != "seconds"}

    facts = built()
    reader = PgvectorReader(site, facts)
    run(site, "DELETE FROM {} WHERE n = 7", facts)
    assert reader.search(VECTORS[1], 3)[0].tolist() != [1, 7, 0]
    assert built() == facts
    assert reader.search(VECTORS[1], 3)[0].tolist() == [1, 7, 0]
    PgvectorReader(site, facts)
    assert sweep(site, [facts["table"]]) == []


def test_a_server_that_is_down_is_named(facts: dict[str, Any], tmp_path: Path) -> None:
    with closing(Pool(f"host={tmp_path} dbname=shop")) as pool:
        with pytest.raises(EngineUnavailable, match=f"shop at {tmp_path}"):
            PgvectorReader(VectorSite(pool, "vectors"), facts)
        builder = PgvectorBuilder(tmp_path, 6, VectorSite(pool, "vectors"))
        builder.add(VECTORS)
        with pytest.raises(EngineUnavailable, match=f"shop at {tmp_path}"):
            builder.seal()


def test_only_the_owners_tables_that_nothing_names_are_dropped(
    site: VectorSite, facts: dict[str, Any], tmp_path: Path
) -> None:
    def built(owner: str) -> str:
        builder = PgvectorBuilder(tmp_path, 6, replace(site, owner=owner))
        builder.add(VECTORS)
        return builder.seal()["table"]

    idle, foreign = built("home/product"), built("home/other")
    assert sweep(site, [facts["table"]]) == [idle]
    PgvectorReader(site, facts)
    assert sweep(replace(site, owner="home/other"), []) == [foreign]


def test_a_workspace_searches_by_pgvector_after_one_setting_and_by_faiss_after_taking_it_away(
    tmp_path: Path, model_home: Path, postgres_dsn: str
) -> None:
    workspace = copy_workspace("tiny", tmp_path / "shop", model_home)
    settings = workspace.root / "wellhead.yaml"
    plain = settings.read_text()
    workspace.ingest()
    found = {"faiss": asked(workspace)}
    settings.write_text(f'{plain}engines: {{vectors: pgvector}}\npostgres: {{dsn: "{postgres_dsn}"}}\n')
    workspace.ingest()
    found["pgvector"] = asked(workspace)
    first = tables(postgres_dsn)
    page = workspace.root / "products/handbook/data/returns.md"
    page.write_text(page.read_text() + "\nSocks may not be returned.\n")
    workspace.ingest("handbook")
    assert first < tables(postgres_dsn)
    assert found["faiss"] == found["pgvector"]
    assert "30 days" in str(found["pgvector"])
    settings.write_text(settings.read_text().replace("vectors: pgvector", "vectors: faiss"))
    workspace.ingest()
    assert "Socks may not be returned" in str(asked(workspace))


def asked(workspace: BuiltWorkspace) -> list[tuple[str, str]]:
    """What a search by meaning finds, best first."""
    with serving(serving_settings(workspace.door), {}) as service:
        hits = (
            Asker(service).ok(EU, "search", question="How long may shoes be returned?", mode="vector").data["hits"]
        )
    return [(hit["ref"], hit["text"]) for hit in hits]


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as owner:
        rows = owner.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'vectors\\_%'").fetchall()
    return {row[0] for row in rows}
