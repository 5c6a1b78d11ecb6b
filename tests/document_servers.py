"""Real document servers for tests: Redis from the system, and one of MongoDB's protocol from Maven Central."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path

import redis

from evals.front_door import free_port

MONGODB = Path(__file__).parent / "mongodb"


class ServerMissing(Exception):
    """A program that a server needs is not on this machine."""


class DocumentServer:
    """A server process on loopback, empty at each start. It can be frozen, killed and started again."""

    ready = ""

    def __init__(self, command: Sequence[str], url: str, port: int) -> None:
        self.command, self.url, self.port = command, url, port
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; returns when it accepts connections."""
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        _await(self.process, self.ready)

    def stop(self) -> None:
        """Kill it, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    @contextlib.contextmanager
    def frozen(self) -> Generator[None]:
        """Its connections stand open and nothing answers, as on a machine that hangs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # on a busy machine its threads go on for a moment
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class RedisServer(DocumentServer):
    """One redis-server without persistence."""

    ready = "Ready to accept connections"

    def __init__(self, folder: Path, *options: str) -> None:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        super().__init__([*command, *options], f"redis://127.0.0.1:{port}/0", port)

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


class MongoServer(DocumentServer):
    """One server of MongoDB's protocol, an independent implementation in Java that keeps all in memory."""

    ready = "listening"

    def __init__(self, libraries: Path) -> None:
        port = free_port()
        java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{libraries}/*"]
        super().__init__([*java, str(MONGODB / "MongoNode.java"), str(port)], f"mongodb://127.0.0.1:{port}", port)


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Generator[RedisServer]:
    """A running Redis. Raises ServerMissing where the machine has none."""
    if shutil.which("redis-server") is None:
        raise ServerMissing("redis-server is not installed (Debian: apt-get install redis-server)")
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def mongodb_server(libraries: Path) -> Generator[MongoServer]:
    """A running server; its jars are fetched into `libraries` once. Raises ServerMissing without Maven or a JDK."""
    for program in ("mvn", "java", "javac"):
        if shutil.which(program) is None:
            raise ServerMissing(f"{program} is not installed (Debian: apt-get install maven default-jdk-headless)")
    _fetch(libraries)
    server = MongoServer(libraries)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _fetch(libraries: Path) -> None:
    if (libraries / "complete").exists():
        return
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libraries}"]
    command = ["mvn", "-q", "-B", "-f", str(MONGODB / "pom.xml"), *copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerMissing(f"Maven could not fetch it: {(done.stdout + done.stderr)[-500:]}")
    (libraries / "complete").touch()


def _await(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    said: list[str] = []
    while one := process.stdout.readline():
        said.append(one)
        if line in one:
            return
    raise ServerMissing(f"{process.args} ended at once: {''.join(said)[-500:]}")
