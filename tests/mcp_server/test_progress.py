"""A long call says that it runs to whoever asked to be told, and a caller that goes away stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from indexes.duck.workers import Cancellation
from mcp_server import progress
from mcp_server.answer import Answer
from mcp_server.app import build_app
from mcp_server.arguments import Arguments
from mcp_server.service import Service
from mcp_server.session import Caller, Session
from mcp_server.tool import Tool
from tests.mcp_server.callers import EU
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace

LONG_SECONDS = 0.6


class NoArguments(Arguments):
    pass


def _slow(session: Session, asked: NoArguments) -> Answer:
    threading.Event().wait(LONG_SECONDS)
    return Answer({}, session.receipt({}), text="done")


SLOW = Tool("slow", "Takes its time.", NoArguments, _slow)


@pytest.fixture
def slow_server(tiny: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server with a tool that takes long, and a short patience before it says so."""
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.1)

    def made(service: Service) -> Any:
        return build_app(replace(service, tools={**service.tools, "slow": SLOW}))

    with running_server(tiny, made) as server:
        yield server


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_long_call_says_that_it_runs(slow_server: Running, mode: Any) -> None:
    told: list[tuple[float, float | None]] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        assert message is not None
        told.append((done, total))

    headers = {"Authorization": f"Bearer {slow_server.token(EU)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(slow_server.url, http_client=http), mode=mode) as connected,
    ):
        result = await connected.call_tool("slow", {}, progress_callback=hear)
        assert not result.is_error
        silent = await connected.call_tool("status", {})
        assert not silent.is_error
    assert len(told) >= 2
    assert told == sorted(told)
    assert all(total == slow_server.settings.deadline_seconds for _, total in told)


@pytest.mark.parametrize(
    ("tool", "asked"), [("dimension_values", {"dimension": "region"}), ("query_metrics", {"metrics": ["revenue"]})]
)
def test_a_cancelled_call_stops_its_work(service: Service, tool: str, asked: dict[str, Any]) -> None:
    gone = Cancellation()
    gone.cancel()
    started = time.monotonic()
    answer = service.call(Caller(EU, "http"), tool, asked, cancellation=gone)
    assert answer.error is not None
    assert answer.error.code == "cancelled"
    assert time.monotonic() - started < 5
