"""Connections that ask again before `Retry-After`: refused beside the server, and handed back with nothing lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp

from evals.wire import headers_of, request_of
from mcp_server.app import build_app
from mcp_server.audit_chain import lines_of, segments
from mcp_server.refusals import KIND
from mcp_server.service import Service
from mcp_server.tarpit import DELAY_SECONDS, HOLD_SECONDS, LONGER, Tarpit
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU, US
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.test_serving import blocking
from tests.workspace_factory import BuiltWorkspace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="connections are handed over on Linux only")

PATIENCE_SECONDS = 20.0
RESPONSE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
TOKEN = b"Bearer one"
SHOWN = [(b"authorization", TOKEN)]


def request(*lines: str, body: str = "{}", begins: str = "POST /mcp HTTP/1.1", token: str = "Bearer one") -> bytes:
    """A request of the caller who was refused, with more header lines."""
    said = [begins, "Host: here", f"Authorization: {token}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*said, "", body]).encode()


LEFT = {
    "another caller's": request(token="Bearer two"),
    "nobody's": request().replace(b"Authorization: Bearer one\r\n", b""),
    "two credentials": request("Authorization: Bearer one"),
    "another method": request(begins="GET /mcp HTTP/1.1"),
    "another path": request(begins="POST /mcp/x HTTP/1.1"),
    "an older protocol": request(begins="POST /mcp HTTP/1.0"),
    "a body in chunks": request("Transfer-Encoding: chunked"),
    "a question before the body": request("Expect: 100-continue"),
    "the connection's last": request("Connection: close"),
    "a change of protocol": request("Connection: upgrade", "Upgrade: h2c"),
    "two lengths": request("Content-Length: 3"),
    "a length that is none": request().replace(b"Length: 2", b"Length: +2"),
    "no length": request().replace(b"Content-Length: 2\r\n", b""),
    "a blank before a colon": request("Content-Length : 9"),
    "a folded line": request("X: a\r\n  b"),
    "a bare line feed": request("X: a\nContent-Length: 9"),
    "more than one": request() + request(),
    "one and a half": request() + request()[:30],
    "too long": request(body=" " * 40_000),
    "a stream of changes": request("Mcp-Method: subscriptions/listen"),
    "no request": b"\x16\x03\x01\x02\x00",
}


@contextmanager
def connection() -> Generator[tuple[socket.socket, socket.socket]]:
    """The client's end and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    client.settimeout(PATIENCE_SECONDS)
    server.setblocking(False)
    with client, server:
        yield client, server


@pytest.fixture
def own(tiny: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    """A workspace with an audit log of its own."""
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True, ignore=shutil.ignore_patterns("audit", "anchors"))
    return BuiltWorkspace(tmp_path / "own")


class Handed:
    """A tarpit that holds one connection."""

    def __init__(self) -> None:
        self.tarpit = Tarpit(RESPONSE)
        self.back: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def hold(self, server: socket.socket, headers: list[tuple[bytes, bytes]] = SHOWN) -> bool:
        return self.tarpit.hold(server, headers, self.back.set_result)

    def close(self) -> None:
        self.tarpit.close()

    async def refused(self) -> int:
        """How many requests were refused by the time that it is the server's again."""
        with anyio.fail_after(PATIENCE_SECONDS):
            return await self.back


def ask(client: socket.socket, sent: bytes) -> bytes:
    client.sendall(sent)
    found = b""
    while len(found) < len(RESPONSE):
        found += client.recv(len(RESPONSE) - len(found))
    return found


@pytest.mark.anyio
async def test_who_asks_again_early_is_refused_each_time_and_the_server_hears_how_often() -> None:
    with closing(Handed()) as handed, connection() as (client, server):
        began = time.monotonic()
        assert handed.hold(server)
        times = list[float]()
        for number in range(3):
            since = time.monotonic()
            sent = request(body=json.dumps({"id": number}))
            assert await anyio.to_thread.run_sync(ask, client, sent) == RESPONSE
            times.append(time.monotonic() - since)
        assert await handed.refused() == 3
        assert min(times) >= DELAY_SECONDS
        assert time.monotonic() - began >= LONGER * HOLD_SECONDS[0]
        assert len(handed.tarpit) == 0
        with pytest.raises(BlockingIOError):
            server.recv(1)


@pytest.mark.anyio
async def test_who_waits_as_told_is_the_servers_again_before_its_second_is_over() -> None:
    with closing(Handed()) as handed, connection() as (client, server):
        began = time.monotonic()
        assert handed.hold(server)
        assert await handed.refused() == 0
        assert time.monotonic() - began >= HOLD_SECONDS[0]
        client.sendall(b"later")
        await anyio.wait_readable(server)
        assert server.recv(9) == b"later"


@pytest.mark.anyio
@pytest.mark.parametrize("sent", LEFT.values(), ids=LEFT)
async def test_whatever_is_not_for_certain_that_callers_own_request_is_left_unread(sent: bytes) -> None:
    with closing(Handed()) as handed, connection() as (client, server):
        assert handed.hold(server)
        client.sendall(sent)
        assert await handed.refused() == 0
        received = b""
        while len(received) < len(sent):
            await anyio.wait_readable(server)
            received += server.recv(len(sent))
        assert received == sent


@pytest.mark.anyio
@pytest.mark.parametrize("cut", [1, 20, 60, -1])
async def test_a_request_that_comes_in_pieces_is_refused_whole_or_left_whole(cut: int) -> None:
    sent = request()
    with closing(Handed()) as handed, connection() as (client, server), connection() as (other, beside):
        client.sendall(sent[:cut])
        assert handed.hold(server)
        assert handed.tarpit.hold(beside, SHOWN, lambda _: None)
        assert await anyio.to_thread.run_sync(ask, other, sent) == RESPONSE, "by now it has seen the first piece"
        assert not handed.back.done()
        assert await anyio.to_thread.run_sync(ask, client, sent[cut:]) == RESPONSE
        client.sendall(sent[:cut])  # and one that never ends
        assert await handed.refused() == 1
        assert server.recv(999) == sent[:cut]


@pytest.mark.anyio
@pytest.mark.parametrize("header", [b"forwarded", b"via", b"x-forwarded-for"])
async def test_a_proxys_connection_is_not_held_for_what_one_of_its_callers_does(header: bytes) -> None:
    with closing(Handed()) as handed, connection() as (_, server):
        assert not handed.hold(server, [*SHOWN, (header, b"x")])


@pytest.mark.anyio
async def test_connections_come_back_at_once_when_there_is_room_and_when_the_client_is_gone() -> None:
    for gone in (False, True):
        with closing(Handed()) as handed, connection() as (client, server):
            assert handed.hold(server)
            assert await anyio.to_thread.run_sync(ask, client, request()) == RESPONSE
            since = time.monotonic()
            if gone:
                client.close()
            else:
                handed.tarpit.release(1)
            assert await handed.refused() == 1
            assert time.monotonic() - since < LONGER * HOLD_SECONDS[0] - DELAY_SECONDS


@pytest.mark.anyio
async def test_what_was_refused_until_the_end_is_counted() -> None:
    with connection() as (client, server):
        handed = Handed()
        assert handed.hold(server)
        assert await anyio.to_thread.run_sync(ask, client, request()) == RESPONSE
        handed.close()
        assert await handed.refused() == 1
        assert handed.tarpit.process_id == 0


@pytest.mark.anyio
async def test_what_was_read_when_the_server_stops_is_answered_and_counted() -> None:
    with connection() as (client, server):
        handed = Handed()
        assert handed.hold(server)
        client.sendall(request())
        with anyio.fail_after(PATIENCE_SECONDS):
            while unread(server):
                await anyio.sleep(0.001)
        handed.close()
        assert await handed.refused() == 1
        assert client.recv(len(RESPONSE)) == RESPONSE


def unread(end: socket.socket) -> bool:
    with suppress(BlockingIOError):
        return bool(end.recv(1, socket.MSG_PEEK))
    return False


@pytest.mark.anyio
async def test_a_process_that_dies_gives_everything_back_and_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcp_server.tarpit.RESTART_SECONDS", 0.0)
    with closing(Handed()) as handed, connection() as (client, server):
        assert handed.hold(server)
        os.kill(handed.tarpit.process_id, signal.SIGKILL)
        assert await handed.refused() == 0
        handed.back = asyncio.get_running_loop().create_future()
        assert handed.hold(server)
        assert await anyio.to_thread.run_sync(ask, client, request()) == RESPONSE


@pytest.mark.anyio
async def test_a_process_that_is_stuck_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server.tarpit.PATIENCE_SECONDS", 0.2)
    with closing(Handed()) as handed, connection() as (_, server):
        assert handed.hold(server)
        os.kill(handed.tarpit.process_id, signal.SIGSTOP)
        assert await handed.refused() == 0
        assert handed.tarpit.process_id == 0


class Wire:
    """One connection to a server, on which responses are read one by one."""

    def __init__(self, running: Running) -> None:
        host, port = running.origin.removeprefix("http://").split(":")
        self._to = f"{host}:{port}"
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self._read = self._socket.makefile("rb")

    def send(self, running: Running, who: Principal, tool: str) -> None:
        body = json.dumps(request_of(1, tool, {})).encode()
        said = {**headers_of(tool), "Host": self._to, "Authorization": f"Bearer {running.token(who)}"}
        lines = [f"{name}: {value}" for name, value in {**said, "Content-Length": str(len(body))}.items()]
        self._socket.sendall("\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + body)

    def status(self) -> int:
        """The status of the next response; its body is read too."""
        status, length = int(self._read.readline().split()[1]), 0
        while line := self._read.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self._read.read(length)
        return status

    def close(self) -> None:
        self._read.close()
        self._socket.close()


@contextmanager
def full_server(workspace: BuiltWorkspace) -> Generator[tuple[Running, threading.Event]]:
    """A server all of whose places are EU's, until the event is set."""
    gate = threading.Event()

    def app(service: Service) -> ASGIApp:
        return build_app(blocking(service, gate))

    def block(running: Running) -> int:
        wire = Wire(running)
        wire.send(running, EU, "block")
        status = wire.status()
        wire.close()
        return status

    with (
        running_server(workspace, make_app=app, concurrent_calls=1, waiting_calls=1) as running,
        ThreadPoolExecutor(8) as pool,
    ):
        probe = Wire(running)
        probe.send(running, EU, "status")
        assert probe.status() == 200
        filling = [pool.submit(block, running) for _ in range(8)]
        while sum(not one.done() for one in filling) > 2:
            threading.Event().wait(0.01)
        try:
            yield running, gate
        finally:
            gate.set()
            probe.close()


def told(home: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for path in segments(home / "audit") for line in lines_of(path)]
    return [kind for record in found if record["kind"] == KIND for kind in record["refusals"]]


def until(holds: Callable[[], bool]) -> None:
    stop = time.monotonic() + PATIENCE_SECONDS
    while not holds() and time.monotonic() < stop:
        threading.Event().wait(0.02)
    assert holds()


def test_a_connection_that_hammers_a_full_server_is_refused_and_answered_once_there_is_room(
    own: BuiltWorkspace,
) -> None:
    pytest.importorskip("httptools")
    hammered = 12
    with full_server(own) as (running, gate):
        wire = Wire(running)
        for _ in range(hammered):
            wire.send(running, EU, "status")
            assert wire.status() == 503
        wire.send(running, US, "status")
        assert wire.status() == 200, "the same connection, another caller"
        gate.set()

        def answered() -> bool:
            wire.send(running, EU, "status")
            return wire.status() == 200

        until(answered)
        wire.close()
    counted = [one for one in told(own.home) if one["code"] == "busy"]
    assert {one["subject"] for one in counted} == {EU.subject}
    assert sum(one["count"] for one in counted) >= hammered
