"""The `wellhead` command as a user runs it: a process of its own, timed from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semantic_layer.errors import EngineUnavailable, WellheadError

READY_SECONDS = 120.0
STOP_SECONDS = 15.0
_ASK_AGAIN_SECONDS = 0.01


@dataclass(frozen=True)
class Ingested:
    """One `wellhead ingest` of one product: the seconds of the whole process, and the report of its run."""

    wall: float
    report: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The figures that a benchmark shows."""
        shown = {name: self.report[name] for name in ("state", "counts", "reused", "steps", "peak_bytes")}
        return {"wall_seconds": round(self.wall, 3), "report_seconds": self.report["seconds"], **shown}


@dataclass(frozen=True)
class Serving:
    """A server that is ready: where it listens, its process, and how many seconds it took to get there."""

    host: str
    port: int
    pid: int
    seconds: float

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return f"http://{self.host}:{self.port}/mcp"

    def pids(self) -> list[int]:
        """The processes that serve: this one, and the members that it started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        found = [int(one) for one in children.read_text().split()] if children.exists() else []
        return [self.pid, *(one for one in found if b"--member" in _command_line(one))]


class FrontDoor:
    """Runs `wellhead` on one workspace. `settings` are WELLHEAD_* variables laid over the environment's."""

    def __init__(self, workspace: Path, settings: Mapping[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "wellhead", "--workspace", str(workspace)]
        self._environment = {**os.environ, **(settings or {})}

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command as it ended, whatever it said."""
        command = [*self._command, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)

    def run(self, *arguments: str) -> str:
        """What the command printed. Raises WellheadError with its own words where it failed."""
        done = self.start(*arguments)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-2_000:]
            raise WellheadError(f"`wellhead {' '.join(arguments)}` ended with {done.returncode}: {said}")
        return done.stdout

    def ingest(self, product: str) -> Ingested:
        """Ingest one product. Raises WellheadError where that fails."""
        started = time.perf_counter()
        said = self.run("ingest", product, "--json")
        return Ingested(time.perf_counter() - started, json.loads(said)[0])

    @contextlib.contextmanager
    def serving(self, log: Path | None = None, *, processes: int = 1) -> Generator[Serving]:
        """A server of so many processes on a free port until the block ends; what it logs goes to `log`.

        Raises EngineUnavailable where it does not get ready.
        """
        host, port = "127.0.0.1", free_port()
        command = [*self._command, "serve", "--http", f"{host}:{port}", "--processes", str(processes)]
        started = time.perf_counter()
        with (log or Path(os.devnull)).open("ab") as said:
            process = subprocess.Popen(command, env=self._environment, stderr=said)
        try:
            wait_until(process, lambda: _is_ready(host, port))
            serving = Serving(host, port, process.pid, time.perf_counter() - started)
            if processes > 1:
                wait_until(process, lambda: len(serving.pids()) > processes)
            yield serving
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """Return once `ready` says so. Raises EngineUnavailable where the process ends, or takes too long."""
    give_up = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise EngineUnavailable(f"the server ended with {process.returncode}.", hint="Start it by hand.")
        if ready():
            return
        time.sleep(_ASK_AGAIN_SECONDS)
    raise EngineUnavailable(f"the server was not ready within {READY_SECONDS:.0f} s.", hint="Ask /readyz why.")


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False  # it does not listen yet
    finally:
        connection.close()
