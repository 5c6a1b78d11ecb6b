"""Two server processes on one PostgreSQL ledger and shared generations serve the same edition, never a mix."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from indexes.jobs import JobStore
from indexes.ledger import Edition, Ledger
from indexes.ledgers import open_ledger
from ingest.work import Worker
from semantic_layer.policy import Policy
from semantic_layer.policy_file import policy_to_json
from tests.workspace_factory import BuiltWorkspace, copy_workspace

pytestmark = pytest.mark.postgres

PATIENCE_SECONDS = 60.0
PUBLICATIONS = 8
ASKERS = 4
ANALYST = ("--subject", "eva", "--role", "analyst", "--attributes", '{"regions": ["EU"]}')


@dataclass(frozen=True)
class Server:
    """One running `wellhead serve`."""

    origin: str
    token: str

    def post(self, tool: str, **arguments: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx2.post(f"{self.origin}/api/tools/{tool}", json=arguments, headers=headers, timeout=30).json()
        assert answer.get("status") == "ok", answer
        return answer

    def ready(self) -> dict[str, Any]:
        """What /readyz says; nothing while the server does not listen."""
        try:
            return httpx2.get(f"{self.origin}/readyz", timeout=30).json()
        except httpx2.TransportError:
            return {}


@dataclass(frozen=True)
class Shared:
    """A workspace whose ledger lies in PostgreSQL, and two editions that differ in every product."""

    workspace: BuiltWorkspace
    editions: tuple[Edition, Edition]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        settings = self.workspace.door.settings
        with closing(open_ledger(self.workspace.home, settings.ledger, settings.postgres, {})) as ledger:
            yield ledger

    def wellhead(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "wellhead", "--workspace", str(self.workspace.root), *arguments]

    @contextmanager
    def server(self) -> Iterator[Server]:
        """A server process that was started; it may not answer yet."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        with subprocess.Popen(self.wellhead("serve", "--http", address, "--no-worker")) as process:
            try:
                audience = ("--audience", f"http://{address}/mcp", "--json")
                issued = subprocess.run(
                    self.wellhead("token", *ANALYST, *audience), capture_output=True, check=True
                )
                yield Server(f"http://{address}", json.loads(issued.stdout)["token"])
            finally:
                process.terminate()


def eventually(holds: Any) -> float:
    """Seconds until it holds. Fails when the patience is at its end."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < PATIENCE_SECONDS, "it never came true"
        threading.Event().wait(0.01)
    return time.monotonic() - started


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, model_home: Path, postgres_dsn: str) -> Shared:
    workspace = copy_workspace("tiny", tmp_path_factory.mktemp("shared") / "shop", model_home)
    with (workspace.root / "wellhead.yaml").open("a") as file:
        file.write(f'ledger: postgres\npostgres: {{dsn: "{postgres_dsn}"}}\n')
    workspace.ingest()
    shared = Shared(workspace, (Edition(0, {}, "", "", ""),) * 2)
    with shared.ledger() as ledger:
        first = ledger.edition()
        page = workspace.root / "products/handbook/data/returns.md"
        page.write_text(page.read_text().replace("30 days", "45 days"))
        table = workspace.root / "products/sales/data/orders.csv"
        table.write_text(table.read_text().replace("10.50", "11.50"))
        shutil.copy(workspace.root / "products/sales/evals.yaml", workspace.root / "evals.bak")
        (workspace.root / "products/sales/evals.yaml").unlink()
        workspace.ingest()
        return Shared(workspace, (first, ledger.edition()))


@pytest.fixture(scope="module")
def servers(shared: Shared) -> Iterator[list[Server]]:
    """Two processes that serve the shared workspace."""
    with ExitStack() as stack:
        started = [stack.enter_context(shared.server()) for _ in range(2)]
        eventually(lambda: all(server.ready().get("status") == "ready" for server in started))
        yield started


def test_the_ledgers_files_are_not_used(shared: Shared) -> None:
    assert [path.name for path in (shared.workspace.home / "ledger").iterdir()] == ["moved.json"]
    assert shared.editions[0].products.keys() == shared.editions[1].products.keys()
    for product, generation in shared.editions[0].products.items():
        assert shared.editions[1].products[product] != generation


def swapped(shared: Shared, ledger: Ledger, servers: list[Server], turn: int) -> float:
    """Publish one of the two editions; seconds until every server serves it."""
    products = shared.editions[turn % 2].products
    number = ledger.publish(ledger.edition(), products, action="test", by="test").number
    return eventually(lambda: all(one.ready()["edition"] >= number for one in servers))


def test_both_servers_serve_an_edition_within_a_second_of_its_publication(
    shared: Shared, servers: list[Server]
) -> None:
    with shared.ledger() as ledger:
        lateness = sorted(swapped(shared, ledger, servers, turn) for turn in range(5))
    assert lateness[2] < 1.0, lateness


def test_two_servers_swap_together_and_never_mix_editions_under_load(
    shared: Shared, servers: list[Server]
) -> None:
    seen: list[tuple[dict[str, Any], Any]] = []
    stop = threading.Event()

    def ask(server: Server, turn: int) -> None:
        while not stop.is_set():
            if turn % 2:
                answer = server.post("search", question="How long may shoes be returned?", limit=5)
                seen.append((answer["receipt"], " ".join(hit["text"] for hit in answer["data"]["hits"])))
            else:
                answer = server.post("query_metrics", metrics=["revenue"])
                seen.append((answer["receipt"], answer["data"]["rows"][0]["revenue"]))

    with shared.ledger() as ledger:
        threads = [threading.Thread(target=ask, args=(servers[n % 2], n // 2)) for n in range(ASKERS)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(PUBLICATIONS):
                swapped(shared, ledger, servers, turn)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        editions = {edition.number: edition.products for edition in ledger.editions(100)}
    assert len(seen) > PUBLICATIONS
    for receipt, content in seen:
        read = {source["product"]: source["generation"] for source in receipt["sources"]}
        published = editions[receipt["edition"]]
        assert read == {product: published[product] for product in read}
        newer = published["handbook"] == shared.editions[1].products["handbook"]
        if isinstance(content, str):
            assert ("45 days" in content, "30 days" in content) == (newer, not newer)
        else:
            assert content == (141.75 if newer else 140.75)


def test_a_right_revoked_through_one_server_is_gone_from_the_next_call_of_the_other(
    shared: Shared, servers: list[Server]
) -> None:
    server = servers[1]
    with shared.ledger() as ledger:
        assert server.post("describe", ref="handbook")
        before = ledger.policies().documents["handbook"]
        ledger.publish_policies({"handbook": policy_to_json(Policy("handbook"))}, by="test")
        headers = {"Authorization": f"Bearer {server.token}"}
        refused = httpx2.post(f"{server.origin}/api/tools/describe", json={"ref": "handbook"}, headers=headers)
        assert refused.json()["code"] == "unknown_name"
        ledger.publish_policies({"handbook": before}, by="test")
        assert server.post("describe", ref="handbook")


def test_operators_see_one_history_from_every_machine(shared: Shared) -> None:
    done = subprocess.run(
        shared.wellhead("history", "--json"), capture_output=True, check=True, env={**os.environ}, text=True
    )
    with shared.ledger() as ledger:
        assert json.loads(done.stdout)[0]["edition"] == ledger.edition().number


def test_a_job_is_seen_by_every_machine_and_run_by_one_of_them(shared: Shared) -> None:
    store = JobStore(shared.workspace.home)
    with shared.ledger() as ledger:
        before = ledger.edition()
        ledger.publish(before, shared.editions[0].products, action="test", by="test")
        ledger.publish(ledger.edition(), shared.editions[1].products, action="test", by="test")
        job = store.submit("release", {"action": "rollback", "note": "bad feed"}, "olga")
        machines = [Worker(shared.workspace.root, {}) for _ in range(2)]
        with ThreadPoolExecutor(len(machines)) as pool:
            assert sorted(pool.map(Worker.run_next, machines)) == [False, True]
        assert JobStore(shared.workspace.home).get(job.id).state == "succeeded"
        edition = ledger.edition()
    assert (edition.number, edition.by, edition.note) == (before.number + 3, "olga", "bad feed")
    assert edition.products == shared.editions[0].products
