"""Several serving processes behind one port: started, watched, started again, stopped together."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import anyio
from anyio.abc import Process

from mcp_server.listening import listening_sockets, require_free
from mcp_server.member import Member
from mcp_server.settings import ServingSettings
from mcp_server.shared_turns import SharedTurns
from mcp_server.worker import working
from semantic_layer.errors import InvalidArgument

log = logging.getLogger("wellhead.server")

RESTART_SECONDS = 1.0
STOP_SECONDS = 20.0
"""How long members may take to stop in order; after that they are killed."""


def serve_together(settings: ServingSettings, command: Sequence[str], processes: int) -> int:
    """Run `command` as so many serving processes on the settings' address until a signal; the exit code.

    Each opens what it serves for itself, and takes its share of the calls that may run and wait. One that dies is
    started again. Raises InvalidArgument where the system cannot spread connections among them, or the address is
    not free.
    """
    if sys.platform != "linux":
        raise InvalidArgument(
            "several processes can share a port on Linux only.", hint="Serve with --processes 1."
        )
    if settings.port == 0:
        raise InvalidArgument("several processes need a port of a fixed number.", hint="Such as --http :8420.")
    require_free(settings.host, settings.port)
    with tempfile.TemporaryDirectory(prefix="wellhead-turns-") as folder, _metrics_folder(settings) as environment:
        turns = Path(folder) / "turns"
        SharedTurns.make(turns, processes)
        pool = Pool(settings, command, processes, environment, turns)
        anyio.run(pool.run)
    return pool.exit_code


class Pool:
    """The parent of serving processes; it serves nothing itself and opens no data."""

    def __init__(
        self,
        settings: ServingSettings,
        command: Sequence[str],
        processes: int,
        environment: dict[str, str],
        turns: Path,
    ) -> None:
        self.exit_code = 0
        self._settings = settings
        self._command = tuple(command)
        self._processes = processes
        self._environment = environment
        self._turns = turns
        self._running: dict[int, Process] = {}
        self._served = anyio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Until a signal, or until the first process ends before it could serve."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._hear_signals)
            async with working(self._settings.worker_command), anyio.create_task_group() as members:
                members.start_soon(self._keep, 0)
                # The others start once one serves: what keeps it from serving is said once, not by each.
                await self._served.wait()
                for number in range(1, self._processes):
                    members.start_soon(self._keep, number)
            group.cancel_scope.cancel()

    async def _keep(self, number: int) -> None:
        """Have member `number` run until the pool stops."""
        while not self._stopping:
            process = await self._started(number)
            ready = await _says_ready(process)
            if ready and not self._served.is_set():
                self._served.set()
                print(f"{self._processes} processes", file=sys.stderr, flush=True)
            code = await process.wait()
            del self._running[number]
            if self._stopping:
                return
            if not self._served.is_set():
                self.exit_code, self._stopping = code if code > 0 else 1, True
                self._served.set()
                return
            log.warning("serving process %d ended with code %s; it is started again", number, code)
            await anyio.sleep(RESTART_SECONDS)

    async def _started(self, number: int) -> Process:
        """A new process with sockets of its own: what waits in a dead one's is not inherited, and while a member is
        away the system gives its share of new connections to the others."""
        with contextlib.ExitStack() as held:
            sockets = [
                held.enter_context(one) for one in listening_sockets(self._settings.host, self._settings.port)
            ]
            member = Member(number, self._processes, tuple(one.fileno() for one in sockets), str(self._turns))
            process = await anyio.open_process(
                [*self._command, "--member", member.to_form()],
                stdin=subprocess.PIPE,  # it ends with us, whatever ends us
                stdout=subprocess.PIPE,  # says when it serves
                stderr=None,
                env={**os.environ, **self._environment},
                start_new_session=True,  # the terminal's Ctrl-C comes from us, once
                pass_fds=member.descriptors,
            )
        self._running[number] = process
        if self._stopping:
            process.terminate()
        return process

    async def _hear_signals(self) -> None:
        """Pass each on: the first stops in order, the second at once."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as group:
                async for one in signals:
                    if not self._stopping:
                        self._stopping = True
                        group.start_soon(self._kill_late)
                    self._served.set()
                    for process in tuple(self._running.values()):
                        with contextlib.suppress(ProcessLookupError):
                            process.send_signal(one)

    async def _kill_late(self) -> None:
        await anyio.sleep(STOP_SECONDS)
        for process in tuple(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def _says_ready(process: Process) -> bool:
    """Whether a process got as far as serving."""
    assert process.stdout is not None
    try:
        return bool(await process.stdout.receive(1))
    except anyio.EndOfStream:
        return False


@contextlib.contextmanager
def _metrics_folder(settings: ServingSettings) -> Generator[dict[str, str]]:
    """The variable that has the processes count together, where their counts are asked for."""
    if not settings.metrics:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="wellhead-metrics-") as folder:
        yield {"PROMETHEUS_MULTIPROC_DIR": folder}
