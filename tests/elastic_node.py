"""Real Elasticsearch nodes for tests, put together once a machine by tests/elasticsearch/start.sh.

`ES_VERSION=9.5.3 JAVA_HOME=<a JDK 21 or newer> pytest -m elasticsearch` runs all of them on another version.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.front_door import free_port

RECIPE = Path(__file__).parent / "elasticsearch"
START_SECONDS = 120.0
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A node that lives for a minute is not worth compiling well: it starts with less than half of the work."""


class NodeMissing(Exception):
    """A node cannot be put together or started here, and why."""


def assembled(cache: Path) -> Path:
    """The folder with the server's libraries, made at the first call on a machine. Raises NodeMissing."""
    absent = [tool for tool in ("mvn", "java", "javac") if shutil.which(tool) is None]
    if absent:
        raise NodeMissing(f"{', '.join(absent)} not installed")
    sources = sorted(path for path in RECIPE.rglob("*") if path.is_file())
    version = os.environ.get("ES_VERSION", "").encode()
    recipe = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + version).hexdigest()[:12]
    folder = cache / recipe
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([RECIPE / "start.sh", folder, "0"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeMissing(f"tests/elasticsearch/start.sh failed: {(done.stderr or done.stdout)[-400:]}")
    return folder


class Node:
    """One running node on loopback. `data` keeps what it holds, also over a restart."""

    def __init__(self, libraries: Path, data: Path, *settings: str) -> None:
        self.libraries = libraries
        self.data = data
        self.settings: Sequence[str] = settings
        self.port = free_port()
        self.transport = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers. Raises NodeMissing with the end of its log."""
        self.data.mkdir(parents=True, exist_ok=True)
        log = self.data / "node.log"
        wanted = [f"path.data={self.data / 'data'}", f"transport.port={self.transport}", *self.settings]
        command = [str(RECIPE / "start.sh"), str(self.libraries), str(self.port), *wanted]
        with log.open("ab") as into:
            environment = {**os.environ, "ES_JAVA_OPTS": JAVA}
            self.process = subprocess.Popen(
                command, stdout=into, stderr=into, start_new_session=True, env=environment
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=2):
                return
            time.sleep(0.1)
        self.kill()
        raise NodeMissing(f"the node did not start: {log.read_text(errors='replace')[-600:]}")

    def kill(self) -> None:
        """End it at once, as a machine that loses its power does."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def pause(self) -> None:
        """Let it hang: connections stand and nothing answers."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def empty_disk(self) -> None:
        """Forget all it held; for a node that is down."""
        shutil.rmtree(self.data / "data", ignore_errors=True)


@contextlib.contextmanager
def running(libraries: Path, data: Path, *settings: str) -> Iterator[Node]:
    """A node while the block runs."""
    node = Node(libraries, data, *settings)
    try:
        node.start()
        yield node
    finally:
        node.kill()


def send(node: Node, method: str, path: str, body: bytes | None = None) -> Any:
    """A bare request, past the client."""
    request = urllib.request.Request(
        f"{node.url}/{path}", body, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()
