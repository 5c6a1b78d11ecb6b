"""The tiny workspace behind this server's own stack: as it is, and with the suite's fixtures over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.app import build_app
from mcp_server.identity import TokenAuthority
from mcp_server.keys import token_keys
from mcp_server.service import Service
from semantic_layer.principal import Principal
from tests.conformance.fixture_server import fixture_app
from tests.conformance.npm import Npm, installed
from tests.mcp_server.callers import OPERATOR
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace, build_workspace


class BearingToken:
    """ASGI middleware outside the application that adds a token: the suite's command line cannot send one."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            MutableHeaders(scope=scope)["authorization"] = f"Bearer {self._token}"
        await self._app(scope, receive, send)


def bearing(principal: Principal, build: Callable[[Service], ASGIApp]) -> Callable[[Service], ASGIApp]:
    """The application behind its real authentication, every request bearing this principal's token."""

    def made(service: Service) -> ASGIApp:
        settings = service.settings
        token = TokenAuthority(token_keys(settings.home), settings.resource_url).issue(principal)
        return BearingToken(build(service), token)

    return made


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest) -> Npm:
    """Node with the suite and the inspector."""
    assert request.config.cache is not None
    return installed(request.config.cache)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    """The tiny workspace, published."""
    return build_workspace("tiny", tmp_path_factory.mktemp("conformance"), model_home)


@pytest.fixture(scope="session")
def plain(workspace: BuiltWorkspace) -> Iterator[Running]:
    """The server as it ships; a token is required and every request bears an operator's."""
    with running_server(workspace, bearing(replace(OPERATOR), build_app), anonymous=False) as server:
        yield server


@pytest.fixture(scope="session")
def with_fixtures(workspace: BuiltWorkspace) -> Iterator[Running]:
    """The same stack with the suite's fixtures over its handlers."""
    with running_server(workspace, bearing(OPERATOR, fixture_app), anonymous=False) as server:
        yield server
