"""Several serving processes behind one port, as somebody who runs, asks, watches and kills them sees it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from evals.front_door import free_port
from mcp_server.audit_chain import lines_of, segments
from mcp_server.audit_opening import anchor_of
from mcp_server.audit_verify import verify_log
from mcp_server.listening import listening_sockets
from mcp_server.member import Member
from mcp_server.settings import serving_settings
from semantic_layer.errors import InvalidArgument
from tests.mcp_server.test_serving import eventually
from tests.workspace_factory import BuiltWorkspace
from wellhead import cli

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes share a port on Linux only")

PATIENCE_SECONDS = 60.0
CALLS = 24
ROOT = Path(__file__).parents[2]


class Pool:
    """`wellhead serve --processes 2` of one workspace, as a user starts it."""

    def __init__(self, workspace: BuiltWorkspace) -> None:
        port, self.metrics_port = free_port(), free_port()
        self.origin, self.workspace = f"http://127.0.0.1:{port}", workspace
        command = [sys.executable, "-m", "wellhead", "--workspace", str(workspace.root), "serve", "--no-worker"]
        self.parent = subprocess.Popen(
            [*command, "--http", f"127.0.0.1:{port}", "--processes", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "WELLHEAD_SERVER_METRICS": f"127.0.0.1:{self.metrics_port}"},
        )

    def ask(self) -> str:
        """One call over a connection of its own; its audit id."""
        answer = httpx2.post(f"{self.origin}/api/tools/status", json={}, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()["receipt"]["audit_id"]

    def recorders(self, audit_ids: set[str]) -> int:
        """How many processes recorded these calls: each writes a segment of its own."""
        written = [path for path in segments(self.workspace.door.home / "audit") for line in lines_of(path)
                   if any(one.encode() in line for one in audit_ids)]  # fmt: skip
        return len(set(written))

    def all_serve(self) -> bool:
        """Whether a few new connections reach every process."""
        assert self.parent.poll() is None, self.parent.stdout and self.parent.stdout.read()
        with contextlib.suppress(httpx2.HTTPError):
            return self.recorders({self.ask() for _ in range(CALLS)}) == 2
        return False

    def members(self) -> list[int]:
        """The serving processes."""
        children = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text()
        return [int(one) for one in children.split()]

    def calls_counted(self) -> float:
        """Calls by the metrics of the server."""
        shown = httpx2.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        found = [sample for family in text_string_to_metric_families(shown) for sample in family.samples]
        return sum(one.value for one in found if one.name == "wellhead_calls_total")


@pytest.fixture
def pool(tiny: BuiltWorkspace, tmp_path: Path) -> Iterator[Pool]:
    """Two processes that serve a copy of the tiny workspace."""
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True)
    started = Pool(BuiltWorkspace(tmp_path / "own"))
    try:
        eventually(started.all_serve, PATIENCE_SECONDS)
        yield started
    finally:
        started.parent.kill()
        started.parent.communicate()


def test_two_processes_share_a_port_count_together_and_leave_one_audit_log_that_verifies(pool: Pool) -> None:
    before = pool.calls_counted()
    asked = {pool.ask() for _ in range(CALLS)}
    assert pool.recorders(asked) == 2
    assert pool.calls_counted() - before == CALLS
    question = {"question": "How long may shoes be returned?", "limit": 1}
    assert (
        httpx2.post(f"{pool.origin}/api/tools/search", json=question, timeout=PATIENCE_SECONDS).status_code == 200
    )
    held = [Path(f"/proc/{one}/maps").read_text() for one in pool.members()]
    assert not any("/pandas/" in one for one in held), "DuckDB loads it where it is installed: 60 MB for nothing"
    pool.parent.send_signal(signal.SIGTERM)
    assert pool.parent.wait(PATIENCE_SECONDS) == 0
    settings = serving_settings(pool.workspace.door)
    verified = verify_log(settings.home / "audit", [anchor_of(settings, {})])
    assert not verified.bad
    with pytest.raises(httpx2.ConnectError):
        pool.ask()


def test_a_process_that_dies_is_started_again_while_the_other_serves_and_all_end_with_their_parent(
    pool: Pool,
) -> None:
    victim, other = pool.members()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in pool.members(), PATIENCE_SECONDS)
    assert {pool.ask() for _ in range(CALLS)}, "the one that is left answers every new connection"
    eventually(lambda: len(pool.members()) == 2 and pool.all_serve(), PATIENCE_SECONDS)
    assert other in pool.members()
    left = pool.members()
    pool.parent.kill()
    eventually(lambda: not any(_serves(one) for one in left), PATIENCE_SECONDS)


def test_what_keeps_it_from_serving_is_said_once_and_ends_it_with_the_errors_own_code(
    tiny: BuiltWorkspace,
) -> None:
    command = [sys.executable, "-m", "wellhead", "--workspace", str(tiny.root), "serve", "--no-worker"]
    alone, together = (
        subprocess.run(
            [*command, "--http", f"127.0.0.1:{free_port()}", "--processes", count],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "WELLHEAD_KEYS_CURSORS": "no key"},
            timeout=PATIENCE_SECONDS,
        )
        for count in ("1", "2")
    )
    assert together.returncode == alone.returncode == 2
    assert "WELLHEAD_KEYS_CURSORS" in alone.stderr
    assert together.stderr == alone.stderr


def test_a_taken_address_and_stdio_refuse_several_processes_before_anything_starts(tiny: BuiltWorkspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidArgument, match=f"nothing can be served on {address}"):
            start(tiny, "--http", address)
    with pytest.raises(InvalidArgument, match="a port of a fixed number"):
        start(tiny, "--http", "127.0.0.1:0")
    with pytest.raises(InvalidArgument, match="stdio is served by one process"):
        start(tiny)


def test_members_share_what_the_server_may_do_at_once_and_one_of_them_shows_metrics(tiny: BuiltWorkspace) -> None:
    settings = replace(
        serving_settings(tiny.door),
        concurrent_calls=8,
        waiting_calls=10,
        metrics="127.0.0.1:9",
        worker_command=("x",),
    )
    shares = [Member.from_form(Member(number, 3, (5,)).to_form()).share(settings) for number in range(3)]
    assert [one.concurrent_calls for one in shares] == [3, 3, 3]
    assert [one.waiting_calls for one in shares] == [4, 4, 4]
    assert [one.metrics for one in shares] == ["127.0.0.1:9", "", ""]
    assert [one.worker_command for one in shares] == [(), (), ()]


def test_no_socket_stays_open_where_one_address_of_a_host_cannot_be_bound() -> None:
    with pytest.raises(OSError, match="assign"):
        listening_sockets("192.0.2.1", 8420)  # TEST-NET-1 (RFC 5737): nobody's address


def _serves(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its new parent does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def start(workspace: BuiltWorkspace, *arguments: str) -> None:
    """`serve --processes 2` in this process, as far as it gets."""
    command = ["--workspace", str(workspace.root), "serve", "--processes", "2", *arguments]
    cli.main(command, prog_name="wellhead", standalone_mode=False)
