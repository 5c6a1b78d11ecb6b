"""Jobs as tasks: for a client that declares the extension, and for the caller who submitted them alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from indexes.jobs import JobStore
from mcp_server.tasks import EXTENSION
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU, OPERATOR
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.wire import MODERN, Wire, message
from tests.workspace_factory import BuiltWorkspace

MISSING_CAPABILITY, HEADER_MISMATCH, INVALID_PARAMS = -32021, -32020, -32602
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}},
}


@pytest.fixture
def own(tiny: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True, ignore=shutil.ignore_patterns("jobs"))
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def server(own: BuiltWorkspace) -> Iterator[Running]:
    with running_server(own) as running:
        yield running


def asked(server: Running, who: Principal, method: str, named: str, **params: Any) -> dict[str, Any]:
    with httpx2.Client(base_url=server.origin, timeout=30) as http:
        response = Wire(http, server.token(who)).ask(method, {"Mcp-Name": named}, **params)
        return message(response)


def task(server: Running, method: str, task_id: str, who: Principal = OPERATOR, **more: Any) -> dict[str, Any]:
    return asked(server, who, method, more.pop("named", task_id), taskId=task_id, _meta=more.pop("meta", META))


def evaluated(server: Running, **more: Any) -> dict[str, Any]:
    return asked(server, OPERATOR, "tools/call", "evaluate", name="evaluate", arguments={}, **more)["result"]


def test_a_job_is_a_task_for_a_client_that_knows_tasks(server: Running, own: BuiltWorkspace) -> None:
    created = evaluated(server, _meta=META)
    assert created["resultType"] == "task"
    assert (created["status"], created["taskId"][:8]) == ("working", "evaluate")
    assert "content" not in created
    jobs = JobStore(own.home)
    claim = jobs.claim("worker")
    assert claim is not None
    assert task(server, "tasks/get", created["taskId"])["result"]["status"] == "working"
    jobs.finish(claim, "succeeded", {"failed": 0})
    done = task(server, "tasks/get", created["taskId"])["result"]
    assert (done["status"], done["resultType"]) == ("completed", "complete")
    assert done["result"]["structuredContent"]["data"]["job"]["result"] == {"failed": 0}
    assert done["result"]["isError"] is False


def test_a_job_that_failed_is_a_completed_task_with_an_error_result(server: Running, own: BuiltWorkspace) -> None:
    created = evaluated(server, _meta=META)
    jobs = JobStore(own.home)
    claim = jobs.claim("worker")
    assert claim is not None
    jobs.finish(claim, "failed", {"code": "gate_failed", "message": "x", "hint": ""})
    done = task(server, "tasks/get", created["taskId"])["result"]
    assert (done["status"], done["result"]["isError"]) == ("completed", True)


def test_a_task_is_cancelled(server: Running) -> None:
    created = evaluated(server, _meta=META)
    assert task(server, "tasks/cancel", created["taskId"])["result"]["resultType"] == "complete"
    assert task(server, "tasks/get", created["taskId"])["result"]["status"] == "cancelled"


def test_a_client_that_does_not_know_tasks_gets_a_handle_and_no_task(server: Running) -> None:
    plain = evaluated(server)
    assert plain["resultType"] == "complete"
    handle = plain["structuredContent"]["data"]["job"]["job"]
    bare = {**META, "io.modelcontextprotocol/clientCapabilities": {}}
    refused = task(server, "tasks/get", handle, meta=bare)
    assert refused["error"]["code"] == MISSING_CAPABILITY
    assert EXTENSION in str(refused["error"]["data"])


def test_the_task_of_another_caller_does_not_exist(server: Running) -> None:
    created = evaluated(server, _meta=META)
    other = replace(OPERATOR, subject="oscar")
    for who in (other, EU):
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            stolen = task(server, method, created["taskId"], who)
            absent = task(server, method, "evaluate-0", who)
            assert stolen["error"]["code"] == absent["error"]["code"] == INVALID_PARAMS
            said = str(stolen["error"]).replace(created["taskId"], "?")
            assert said == str(absent["error"]).replace("evaluate-0", "?")
    assert task(server, "tasks/get", created["taskId"])["result"]["status"] == "working"


def test_a_header_that_names_another_task_is_refused(server: Running) -> None:
    created = evaluated(server, _meta=META)
    assert task(server, "tasks/get", created["taskId"], named="x")["error"]["code"] == HEADER_MISMATCH


def test_the_extension_is_announced(server: Running) -> None:
    with httpx2.Client(base_url=server.origin, timeout=30) as http:
        found = message(Wire(http, server.token(EU)).ask("server/discover"))["result"]
    assert EXTENSION in found["capabilities"]["extensions"]
