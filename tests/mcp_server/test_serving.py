"""A running server over time: new editions, damaged ones, revoked rights, a broken audit log, overload."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from indexes.ledger import Ledger, Tombstone
from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.listening import require_free
from mcp_server.opening import serving
from mcp_server.refresher import refresh
from mcp_server.runner import CallRunner
from mcp_server.service import Service
from mcp_server.session import Caller, Session
from mcp_server.settings import serving_settings
from mcp_server.tool import Tool
from semantic_layer.errors import InvalidArgument
from semantic_layer.policy import Policy
from semantic_layer.policy_file import policy_to_json
from tests.mcp_server.callers import EU, OPERATOR, PUBLIC, Asker
from tests.mcp_server.running import running_server
from tests.workspace_factory import BuiltWorkspace

PATIENCE_SECONDS = 10.0
JOB_SECONDS = 120.0


@pytest.fixture
def own(tiny: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    """A copy of the tiny workspace that a test may change."""
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def own_service(own: BuiltWorkspace) -> Iterator[Service]:
    with serving(serving_settings(own.door), {}) as opened:
        yield opened


def eventually(holds: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> float:
    """Seconds until it holds. Fails when the patience is at its end."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < patience, "it never came true"
        threading.Event().wait(0.01)
    return time.monotonic() - started


def windows_of(http: httpx2.Client) -> str:
    found = http.post("/api/tools/search", json={"question": "How long may shoes be returned?", "limit": 1}).json()
    return found["data"]["hits"][0]["text"]


def test_a_new_edition_is_served_within_a_second_of_its_publication(own: BuiltWorkspace) -> None:
    page = own.root / "products/handbook/data/returns.md"
    with running_server(own) as running, httpx2.Client(base_url=running.origin, timeout=30) as http:
        assert "30 days" in windows_of(http)
        page.write_text(page.read_text().replace("30 days", "45 days"))
        own.ingest("handbook")
        assert eventually(lambda: "45 days" in windows_of(http)) < 1.0


def test_a_half_saved_file_in_products_changes_nothing_that_is_served(
    own: BuiltWorkspace, own_service: Service
) -> None:
    ask = Asker(own_service)
    before = ask.ok(EU, "describe", ref="sales").digest
    (own.root / "products/sales/contract.yaml").write_text("apiVersion: [half")
    (own.root / "products/sales/policy.yaml").unlink()
    assert ask.ok(EU, "describe", ref="sales").digest == before


def test_a_damaged_new_edition_leaves_the_old_one_serving_and_readiness_red(own: BuiltWorkspace) -> None:
    page = own.root / "products/handbook/data/returns.md"
    with running_server(own) as running, httpx2.Client(base_url=running.origin, timeout=30) as http:
        assert "30 days" in windows_of(http)
        ledger = Ledger(own.home)
        live = ledger.edition()
        folder = own.home / "generations" / "handbook" / live.products["handbook"]
        bad = folder.with_name("0123456789abcdef")
        shutil.copytree(folder, bad)
        with (bad / "tables.duckdb").open("r+b") as file:
            file.seek(5_000)
            file.write(b"damage")
        ledger.publish(live, {"handbook": bad.name}, action="ingest", by="test")
        eventually(lambda: http.get("/readyz").status_code == 503)
        assert http.get("/readyz").json()["reasons"] == ["corrupt_generation"]
        assert http.get("/healthz").status_code == 200
        assert "30 days" in windows_of(http)
        page.write_text(page.read_text().replace("30 days", "60 days"))
        own.ingest("handbook")
        eventually(lambda: http.get("/readyz").status_code == 200)
        assert "60 days" in windows_of(http)


def test_a_revoked_right_is_gone_from_the_next_call_also_for_open_cursors(
    own: BuiltWorkspace, own_service: Service
) -> None:
    ask = Asker(own_service)
    first = ask.ok(EU, "search", question="boots", products=["handbook"], limit=1)
    assert first.page is not None
    Ledger(own.home).publish_policies({"handbook": policy_to_json(Policy("handbook"))}, by="test")
    asked = {"question": "boots", "products": ["handbook"], "limit": 1}
    after = ask(EU, "search", **asked, cursor=first.page.next_cursor)
    assert after.error is not None
    assert after.error.code == "unknown_name"
    assert "handbook" not in str(ask.ok(EU, "discover").data)
    assert ask(EU, "fetch", ref=first.data["hits"][0]["ref"]).error is not None


def test_an_erased_subject_is_gone_from_every_tool_at_once(own: BuiltWorkspace, own_service: Service) -> None:
    ask = Asker(own_service)
    assert ask.ok(EU, "query_metrics", metrics=["revenue"]).data["rows"] == [{"revenue": 140.75}]
    Ledger(own.home).bury(Tombstone("sales", "orders", "email", ("carl@example.com",)), by="test")
    assert ask.ok(EU, "query_metrics", metrics=["revenue"]).data["rows"] == [{"revenue": 110.5}]
    assert ask.ok(EU, "lookup", product="sales", dataset="orders", key=3).data["rows"] == []
    assert "squeaks" not in str(ask.ok(EU, "search", question="left boot squeaks in the rain").data)


def test_a_cursor_over_a_generation_that_is_gone_has_expired(own: BuiltWorkspace, own_service: Service) -> None:
    ask = Asker(own_service)
    first = ask.ok(EU, "search", question="boots", products=["handbook"], limit=1)
    assert first.page is not None
    page = own.root / "products/handbook/data/returns.md"
    page.write_text(page.read_text() + "\nBoots too.\n")
    own.ingest("handbook")
    refresh(own_service.library)
    after = ask(EU, "search", question="boots", products=["handbook"], limit=1, cursor=first.page.next_cursor)
    assert after.error is not None
    assert "expired" in after.error.message


def test_no_call_is_answered_while_the_audit_log_cannot_be_written(
    own: BuiltWorkspace, own_service: Service
) -> None:
    ask = Asker(own_service)
    shutil.rmtree(own.home / "audit", ignore_errors=True)
    (own.home / "audit").write_text("in the way")
    for principal, tool, arguments in ((EU, "search", {"question": "boots"}), (PUBLIC, "bogus", {})):
        answer = ask(principal, tool, **arguments)
        assert answer.status == "failed"
        assert "audit" in str(answer.error)
        assert "hits" not in answer.data


def test_a_workspace_without_anything_published_answers_and_is_not_ready(
    tmp_path: Path, own: BuiltWorkspace
) -> None:
    shutil.rmtree(own.home)
    with running_server(own) as running, httpx2.Client(base_url=running.origin) as http:
        assert http.get("/readyz").json()["reasons"] == ["nothing_published"]
        assert http.post("/api/tools/discover", json={}).json()["data"]["results"] == []


# -- load --------------------------------------------------------------------------------------------------


class NoArguments(Arguments):
    pass


def blocking(service: Service, gate: threading.Event) -> Service:
    """The service with one more tool, which waits for the gate."""

    def run(session: Session, asked: NoArguments) -> Answer:
        gate.wait(PATIENCE_SECONDS)
        return Answer({}, session.receipt({}))

    return replace(service, tools={**service.tools, "block": Tool("block", "Wait.", NoArguments, run)})


@pytest.mark.anyio
async def test_a_call_past_its_deadline_is_answered_so_and_recorded(service: Service) -> None:
    gate = threading.Event()
    hurried = replace(blocking(service, gate), settings=replace(service.settings, deadline_seconds=0.05))
    answer = await CallRunner(hurried).call(Caller(EU, "cli"), "block", {})
    gate.set()
    assert answer.error is not None
    assert answer.error.code == "deadline_exceeded"
    assert service.audit.find(answer.receipt.audit_id)["code"] == "deadline_exceeded"


def test_more_requests_than_may_wait_are_turned_away_at_once(own: BuiltWorkspace) -> None:
    changes = {"concurrent_calls": 1, "waiting_calls": 1}
    with running_server(own, **changes) as running, ThreadPoolExecutor(40) as pool:

        def one(_: int) -> tuple[int, str, float]:
            started = time.monotonic()
            response = httpx2.post(f"{running.origin}/api/tools/search", json={"question": "boots"}, timeout=30)
            return response.status_code, response.headers.get("retry-after", ""), time.monotonic() - started

        results = list(pool.map(one, range(40)))
    refused = [result for result in results if result[0] == 503]
    assert refused
    assert all(after for _, after, _ in refused)
    assert {status for status, _, _ in results} <= {200, 503}


def test_the_serving_process_imports_neither_torch_nor_the_tools_of_ingestion(own: BuiltWorkspace) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from semantic_layer.door import Door\n"
        "from semantic_layer.principal import Principal\n"
        "from mcp_server.app import build_app\n"
        "from mcp_server.opening import serving\nfrom mcp_server.settings import serving_settings\n"
        "from mcp_server.session import Caller\n"
        "door = Door(Path(sys.argv[1]), {})\n"
        "with serving(serving_settings(door), {}) as service:\n"
        "    build_app(service)\n"
        "    reader = Principal('a', frozenset({'public'}), scopes=frozenset({'read'}))\n"
        "    answer = service.call(Caller(reader, 'cli'), 'search', {'question': 'return shoes'})\n"
        "    assert answer.data['hits'], answer\n"
        "heavy = ('torch', 'sentence_transformers', 'transformers', 'llama_index', 'markitdown', 'ingest')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(own.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_an_operators_job_is_run_by_the_worker_beside_the_server(own: BuiltWorkspace) -> None:
    page = own.root / "products/handbook/data/returns.md"
    page.write_text(page.read_text().replace("30 days", "90 days"))
    worker = serving_settings(own.door, worker=True).worker_command
    with running_server(own, worker_command=worker) as running:
        headers = {"Authorization": f"Bearer {running.token(OPERATOR)}"}
        with httpx2.Client(base_url=running.origin, headers=headers, timeout=30) as http:
            handle = http.post("/api/tools/ingest", json={"products": ["handbook"]}).json()["data"]["job"]["job"]

            def state() -> str:
                return http.post("/api/tools/status", json={"job": handle}).json()["data"]["job"]["state"]

            eventually(lambda: state() not in ("queued", "running"), JOB_SECONDS)
            assert state() == "succeeded"
        with httpx2.Client(base_url=running.origin, timeout=30) as http:
            eventually(lambda: "90 days" in windows_of(http))


def test_a_server_whose_only_edition_is_damaged_says_so_without_naming_products(own: BuiltWorkspace) -> None:
    for database in (own.home / "generations").rglob("tables.duckdb"):
        database.write_bytes(b"damage")
    with running_server(own) as running, httpx2.Client(base_url=running.origin, timeout=30) as http:
        assert http.get("/readyz").json()["reasons"] == ["corrupt_generation"]
        response = http.post("/api/tools/discover", json={})
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert "sales" not in response.text
        assert "handbook" not in response.text


def test_an_address_that_is_taken_is_named_before_anything_is_promised() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidArgument, match=f"on 127.0.0.1:{port}: .*in use") as refused:
            require_free("127.0.0.1", port)
        assert "--http HOST:PORT" in refused.value.hint
    require_free("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"on 192\.0\.2\.1:8420: .*assign"):
        require_free("192.0.2.1", 8420)
