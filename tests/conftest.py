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
from tests.document_servers import MongoServer, RedisServer, ServerMissing, mongodb_server, redis_server
from tests.elastic_node import Node, NodeMissing, assembled, running

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


@pytest.fixture(scope="session")
def redis_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis for the whole run; a test that writes flushes it first."""
    try:
        with redis_server(tmp_path_factory.mktemp("redis")) as server:
            yield server
    except ServerMissing as missing:
        engine_missing("redis", str(missing))


@pytest.fixture(scope="session")
def mongodb_node(request: pytest.FixtureRequest) -> Iterator[MongoServer]:
    """A real server of MongoDB's protocol for the whole run; its jars are kept between runs."""
    assert request.config.cache is not None
    try:
        with mongodb_server(request.config.cache.mkdir("mongodb")) as server:
            yield server
    except ServerMissing as missing:
        engine_missing("mongodb", str(missing))


@pytest.fixture(scope="session")
def elastic_libraries(request: pytest.FixtureRequest) -> Path:
    """The libraries of a real Elasticsearch, put together once a machine."""
    assert request.config.cache is not None
    try:
        return assembled(request.config.cache.mkdir("elasticsearch"))
    except NodeMissing as missing:
        engine_missing("elasticsearch", str(missing))
        raise


@pytest.fixture(scope="session")
def elastic_node(elastic_libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A real Elasticsearch node for the whole run."""
    try:
        with running(elastic_libraries, tmp_path_factory.mktemp("elasticsearch")) as node:
            yield node
    except NodeMissing as missing:
        engine_missing("elasticsearch", str(missing))
