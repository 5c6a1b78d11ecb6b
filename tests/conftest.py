"""Costly fixtures that every test folder shares: made once a machine, kept between runs."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from psycopg import connect, sql
from psycopg.conninfo import make_conninfo

from indexes.embedder import OnnxEmbedder, open_embedder
from indexes.embedder_model import DEFAULT_MODEL
from indexes.postgres.embedded import DSN_VARIABLE, embedded_postgres
from semantic_layer.errors import EngineUnavailable

# CI repeats the same cases, so that a change is judged by what it changed; every other run explores new ones.
settings.register_profile("explore", deadline=None, print_blob=True)
settings.register_profile("repeat", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("repeat" if os.environ.get("WELLHEAD_REQUIRE_ENGINES") == "1" else "explore")


def engine_missing(name: str, why: str) -> None:
    """Skip the test by the engine's name, or fail it where WELLHEAD_REQUIRE_ENGINES=1 (as CI sets)."""
    said = f"{name} cannot run here: {why}"
    if os.environ.get("WELLHEAD_REQUIRE_ENGINES") == "1":
        pytest.fail(said)
    pytest.skip(said)


@pytest.fixture(scope="session")
def model_home(request: pytest.FixtureRequest) -> Path:
    """A home whose models/ holds the default model, exported once a machine (link its models/ into others)."""
    assert request.config.cache is not None
    home: Path = request.config.cache.mkdir("home")
    open_embedder(home, DEFAULT_MODEL)
    return home


@pytest.fixture(scope="session")
def embedder(model_home: Path) -> OnnxEmbedder:
    """The default model at this machine's best precision, without a cache."""
    return open_embedder(model_home, DEFAULT_MODEL)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of a real PostgreSQL for the whole run, outside pytest's own folder, which root alone reads."""
    folder = Path(tempfile.mkdtemp(prefix="wellhead-postgres-"))
    before = os.environ.get(DSN_VARIABLE)
    try:
        with embedded_postgres(folder / "data") as dsn:
            os.environ.pop(DSN_VARIABLE)
            yield dsn
    except EngineUnavailable as unavailable:
        engine_missing("postgres", unavailable.message)
    finally:
        if before is not None:
            os.environ[DSN_VARIABLE] = before
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres_dsn(postgres_server: str) -> str:
    """The DSN of an empty database for one test file."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_conninfo(postgres_server, dbname=name)
