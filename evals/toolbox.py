"""MCP Toolbox (npm `@toolbox-sdk/server`) with one SQL tool over a PostgreSQL, to be asked beside our own server."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from evals.front_door import Serving, free_port, wait_until
from evals.wire import TIMEOUT_SECONDS
from semantic_layer.errors import WellheadError

TOOL = "order_status"
PROTOCOL = "2025-06-18"
HEADERS: Mapping[str, str] = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": PROTOCOL,
}


def configuration(dsn: str) -> str:
    """One source and one tool, in the form that Toolbox 1.12 reads; `dsn` is a URI."""
    parts = urlsplit(dsn)
    source = {
        "kind": "source",
        "name": "shop",
        "type": "postgres",
        "host": parts.hostname or "localhost",
        "port": parts.port or 5432,
        "database": parts.path.lstrip("/"),
        "user": parts.username,
        "password": parts.password or "none",
        "queryParams": dict(parse_qsl(parts.query)),
    }
    tool = {
        "kind": "tool",
        "name": TOOL,
        "type": "postgres-sql",
        "source": "shop",
        "description": "Where an order is.",
        "parameters": [{"name": "order_id", "type": "string", "description": "The order."}],
        "statement": "SELECT order_id, status FROM order_status WHERE order_id = $1",
    }
    return f"{json.dumps(source)}\n---\n{json.dumps(tool)}\n"


def request(order: str) -> bytes:
    """The body of a call."""
    params = {"name": TOOL, "arguments": {"order_id": order}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


class ToolboxConnection:
    """One kept connection to a Toolbox server."""

    def __init__(self, serving: Serving) -> None:
        self._connection = http.client.HTTPConnection(serving.host, serving.port, timeout=TIMEOUT_SECONDS)

    def call(self, order: str) -> str:
        """The text of the answer. Raises WellheadError where there is none, OSError where nobody listens."""
        self._connection.request("POST", "/mcp", request(order), dict(HEADERS))
        said: dict[str, Any] = json.loads(self._connection.getresponse().read())
        if "result" not in said or said["result"].get("isError"):
            raise WellheadError(f"Toolbox answered {json.dumps(said)[:300]}.")
        return str(said["result"]["content"][0]["text"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextlib.contextmanager
def toolbox_server(program: Path, dsn: str, order: str) -> Generator[Serving]:
    """Toolbox on a free port until the block ends, once it answers for this order."""
    host, port, started = "127.0.0.1", free_port(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder) / "tools.yaml"
        tools.write_text(configuration(dsn), encoding="utf-8")
        command = [str(program), "--config", str(tools), "--port", str(port), "--disable-version-check"]
        process = subprocess.Popen([*command, "--log-level", "ERROR"], stdout=subprocess.DEVNULL)
        serving = Serving(host, port, process.pid, 0.0)
        try:
            wait_until(process, lambda: _answers(serving, order))
            yield Serving(host, port, process.pid, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait()


def _answers(serving: Serving, order: str) -> bool:
    connection = ToolboxConnection(serving)
    try:
        return bool(connection.call(order))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
