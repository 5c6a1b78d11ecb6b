"""The load benchmark's own parts: callers at once against a real server, and how their calls are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.bench_load import TARGETS, figures
from evals.load import Ask, Load, SlowReaders, spread
from evals.wire import headers_of
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import build_workspace

ASKS = (Ask("status", "status", {}), Ask("wrong", "search", {"questions": "a misspelt argument"}))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> Iterator[Running]:
    built = build_workspace("tiny", tmp_path_factory.mktemp("load") / "shop", model_home)
    with running_server(built) as running:
        yield running


def test_each_call_is_told_by_kind_caller_and_failure(running: Running) -> None:
    host, port = running.settings.host, running.settings.port
    samples = Load(host, port, ASKS, {"nobody": ""}, think_seconds=0.01).run(4, 1.0)
    kinds = {one.kind: one for one in samples}
    assert set(kinds) == {"status", "wrong"}
    assert all(bool(one.failure) == (one.kind == "wrong") for one in samples)
    assert kinds["status"].edition >= 1
    assert {one.caller for one in samples} == {"nobody"}


def test_callers_who_do_not_read_hold_no_other_up(running: Running) -> None:
    host, port = running.settings.host, running.settings.port
    head = "\r\n".join(["POST /mcp HTTP/1.1", f"Host: {host}:{port}", "Content-Length: 9", "", ""])
    slow = SlowReaders(host, port, 5, head.encode())
    samples = Load(host, port, ASKS[:1], {"nobody": ""}, think_seconds=0.01).run(2, 0.5)
    slow.close()
    assert samples
    assert not any(one.failure for one in samples)


def test_percentiles_are_of_all_calls_of_a_kind() -> None:
    assert spread([]) == {"calls": 0}
    assert spread([float(n) for n in range(1, 101)])["p50_ms"] == 50.5


def test_a_load_that_was_not_run_is_not_judged() -> None:
    assert set(figures({})) == set(TARGETS)
    assert set(figures({}).values()) == {None}
    assert headers_of("search")["Mcp-Name"] == "search"
