"""The tiny workspace, built once a session, and its service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.opening import serving
from mcp_server.service import Service
from mcp_server.settings import serving_settings
from tests.mcp_server.callers import Asker
from tests.mcp_server.crowded import crowd
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace, build_workspace


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    """The tiny workspace, published; tests that change it build their own."""
    return build_workspace("tiny", tmp_path_factory.mktemp("tiny"), model_home)


@pytest.fixture(scope="session")
def service(tiny: BuiltWorkspace) -> Iterator[Service]:
    """The tiny workspace's service."""
    with serving(serving_settings(tiny.door), {}) as opened:
        yield opened


@pytest.fixture(scope="session")
def ask(service: Service) -> Asker:
    """Asks the tiny workspace."""
    return Asker(service)


@pytest.fixture(scope="session")
def crowded(tiny: BuiltWorkspace, tmp_path_factory: pytest.TempPathFactory) -> BuiltWorkspace:
    """The tiny workspace with many more rows of the US and a hostile page, published."""
    return crowd(tiny, tmp_path_factory.mktemp("crowded") / "own")


@pytest.fixture(scope="session")
def crowded_service(crowded: BuiltWorkspace) -> Iterator[Service]:
    """Its service."""
    with serving(serving_settings(crowded.door), {}) as opened:
        yield opened


@pytest.fixture(scope="session")
def ask_crowded(crowded_service: Service) -> Asker:
    """Asks it."""
    return Asker(crowded_service)


@pytest.fixture(scope="session")
def running(tiny: BuiltWorkspace) -> Iterator[Running]:
    """The tiny workspace over HTTP; callers without a token are anonymous."""
    with running_server(tiny) as server:
        yield server


@pytest.fixture
def anyio_backend() -> str:
    """The tests that await run on asyncio, as the server does."""
    return "asyncio"
