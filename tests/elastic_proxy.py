"""A proxy between the client and a real Elasticsearch that makes what goes through it fail on demand."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_NOT_COPIED = {"transfer-encoding", "connection", "content-encoding", "content-length"}


class Proxy:
    """Passes requests on to the node, but for the faults that are set. Remembers what was asked."""

    def __init__(self, target_port: int, certificate: tuple[str, str] | None = None) -> None:
        self.target_port = target_port
        self.refusing = 0
        self.refusing_bulk = 0
        self.version: str | None = None
        self.hanging = threading.Event()
        self.foreign = False
        self.clock_seconds = 0
        self.wanted_authorization: str | None = None
        self.asked = 0
        self.paths: list[str] = []
        self.headers: Mapping[str, str] = {}
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering: connections are refused from now on."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def proxied(target_port: int, certificate: tuple[str, str] | None = None) -> Iterator[Proxy]:
    """A proxy while the block runs."""
    proxy = Proxy(target_port, certificate)
    try:
        yield proxy
    finally:
        proxy.close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                super().handle()

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            proxy.asked += 1
            proxy.paths.append(self.path)
            proxy.headers = dict(self.headers.items())
            if proxy.hanging.is_set():
                proxy.released.wait(30)
                self.close_connection = True
                return
            fault = self._fault()
            self._answer(*(fault or self._from_node(body)))

        def _fault(self) -> tuple[int, dict[str, str], bytes] | None:
            if proxy.wanted_authorization not in (None, self.headers.get("Authorization")):
                return _error(401, "security_exception", "unable to authenticate")
            bulk = self.path.startswith("/_bulk") or "/_bulk" in self.path
            if bulk and proxy.refusing_bulk:
                proxy.refusing_bulk -= 1
                return _error(429, "es_rejected_execution_exception", "rejected execution")
            if not bulk and proxy.refusing:
                proxy.refusing -= 1
                return _error(429, "circuit_breaking_exception", "Data too large")
            return None

        def _from_node(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.target_port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _NOT_COPIED}
            if proxy.foreign:
                kept = {name: value for name, value in kept.items() if not name.lower().startswith("x-elastic")}
            if proxy.clock_seconds and self.path.startswith("/_nodes/stats"):
                told = json.loads(content)
                for node in told["nodes"].values():
                    node["timestamp"] += 1000 * proxy.clock_seconds
                content = json.dumps(told).encode()
            if proxy.version and self.path == "/":
                told = json.loads(content)
                told["version"]["number"] = proxy.version
                content = json.dumps(told).encode()
            return answer.status, kept, content

        def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    return Handler


def _error(status: int, kind: str, reason: str) -> tuple[int, dict[str, str], bytes]:
    cause = {"type": kind, "reason": reason}
    body = {"error": {"root_cause": [cause], **cause}, "status": status}
    headers = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}
    return status, headers, json.dumps(body).encode()
