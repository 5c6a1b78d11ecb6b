"""A server that is told to stop, clients that do not read or do not finish, and calls whose callers go away."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from evals.front_door import free_port
from mcp_server import connection, serving
from mcp_server.runner import CallRunner
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.stopping import Stopping
from tests.mcp_server.callers import EU
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.test_serving import blocking
from tests.workspace_factory import BuiltWorkspace

PATIENCE_SECONDS = 20.0
REQUEST = b"POST /api/tools/discover HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def process(tiny: BuiltWorkspace) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`wellhead serve` as a process of its own, and its address."""
    origin = f"127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-m",
        "wellhead",
        "--workspace",
        str(tiny.root),
        "serve",
        "--http",
        origin,
        "--no-worker",
    ]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
        env={**os.environ},
    )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert started.poll() is None, started.stdout and started.stdout.read()
            try:
                if httpx2.get(f"http://{origin}/readyz").status_code == 200:
                    break
            except httpx2.HTTPError:
                assert time.monotonic() < until
                threading.Event().wait(0.05)
        yield started, f"http://{origin}"
    finally:
        started.kill()
        started.communicate()


def test_a_stop_under_load_answers_every_call_or_says_that_it_is_busy_and_ends_with_0(
    process: tuple[subprocess.Popen[bytes], str],
) -> None:
    server, origin = process
    stopped = threading.Event()
    seen: list[int | str] = []

    def ask() -> None:
        with httpx2.Client(base_url=origin, timeout=PATIENCE_SECONDS) as http:
            while not stopped.is_set():
                try:
                    response = http.post("/api/tools/search", json={"question": "return shoes"})
                    seen.append(response.status_code)
                except httpx2.ConnectError:
                    return
                except httpx2.HTTPError as error:
                    seen.append(type(error).__name__)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(ask)
        until = time.monotonic() + PATIENCE_SECONDS
        while len(seen) < 20 and time.monotonic() < until:
            threading.Event().wait(0.01)
        server.send_signal(signal.SIGTERM)
        ready = httpx2.get(f"{origin}/readyz")
        told = time.monotonic()
        code = server.wait(PATIENCE_SECONDS)
        stopped.set()
    assert ready.status_code == 503
    assert "stopping" in ready.json()["reasons"]
    assert code == 0
    assert time.monotonic() - told < 5 + 2 + 2
    assert 200 in seen
    closed_while_idle = {"ReadError", "WriteError", "RemoteProtocolError"}
    assert set(seen) <= {200, 503, *closed_while_idle}, set(seen)


@pytest.mark.anyio
async def test_calls_that_outlast_the_grace_are_told_that_the_server_stops(service: Service) -> None:
    gate, stopping = threading.Event(), Stopping()
    runner = CallRunner(blocking(service, gate))
    stopping.at_last(runner.stop)

    async def stop() -> None:
        await anyio.wait_all_tasks_blocked()
        stopping.finish()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        answer = await runner.call(Caller(EU, "cli"), "block", {})
    gate.set()
    assert answer.error is not None
    assert answer.error.code == "busy"
    assert "stopping" in answer.error.message


# -- slow clients (20) -------------------------------------------------------------------------------------


def flowing(_: Service) -> ASGIApp:
    """An application whose answer is far larger than any buffer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
        else:
            parts = (b"x" * 65_536 for _ in range(1_000))
            await StreamingResponse(parts)(scope, receive, send)

    return app


def cut_off(client: socket.socket) -> bool:
    """Whether the other side closes the connection, seen without reading anything."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(PATIENCE_SECONDS * 1_000))


@pytest.fixture(params=["h11", "httptools"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two that may be installed."""
    if request.param == "h11":
        monkeypatch.setattr(serving, "find_spec", lambda _: None)
    else:
        pytest.importorskip("httptools")
    return str(request.param)


@pytest.fixture
def hurried(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 0.3)
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)


@pytest.mark.usefixtures("parser")
def test_headers_without_end_are_refused_and_none_may_follow_the_body(running_alone: Running) -> None:
    host, port = "127.0.0.1", running_alone.settings.port
    with socket.create_connection((host, port)) as client:
        client.sendall(b"POST /api/tools/discover HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        with contextlib.suppress(OSError):
            for number in range(200):
                client.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1_000))
        assert cut_off(client)
    with socket.create_connection((host, port)) as client:
        client.sendall(
            b"POST /api/tools/discover HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nTransfer-Encoding: chunked\r\n" % port
            + b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
        )
        assert client.recv(12) == b"HTTP/1.1 200"


@pytest.fixture
def running_alone(parser: str, tiny: BuiltWorkspace) -> Iterator[Running]:
    """A server of its own that reads requests by this parser."""
    with running_server(tiny) as server:
        yield server


@pytest.mark.usefixtures("hurried")
def test_case_20_a_client_that_does_not_read_is_dropped(tiny: BuiltWorkspace) -> None:
    with running_server(tiny, make_app=flowing) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", running.settings.port))
        client.sendall(REQUEST % b"127.0.0.1")
        assert cut_off(client)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"\r\n",
        b"POST /api/tools/disc",
        REQUEST.replace(b"Content-Length: 2", b"Content-Length: 9") % b"127.0.0.1",
    ],
)
def test_case_20_a_client_that_does_not_finish_its_request_is_dropped(tiny: BuiltWorkspace, begun: bytes) -> None:
    with running_server(tiny) as running, socket.socket() as client:
        client.connect(("127.0.0.1", running.settings.port))
        client.sendall(begun)
        assert cut_off(client)


@pytest.mark.usefixtures("hurried")
def test_a_client_that_pauses_between_whole_requests_is_kept(tiny: BuiltWorkspace) -> None:
    with running_server(tiny) as running, httpx2.Client(base_url=running.origin) as http:
        assert http.post("/api/tools/discover", json={}).status_code == 200
        threading.Event().wait(0.6)
        assert http.post("/api/tools/discover", json={}).status_code == 200
