"""The process that runs Jobs beside the server: started, watched, started again, stopped."""

from __future__ import annotations

import contextlib
import logging
import subprocess
from collections.abc import AsyncGenerator, Sequence

import anyio

log = logging.getLogger("wellhead.server")

RESTART_SECONDS = 5.0
STOP_SECONDS = 10.0


@contextlib.asynccontextmanager
async def working(command: Sequence[str]) -> AsyncGenerator[None]:
    """Keep `wellhead work` running while the block runs; without a command nothing is started.

    A worker that dies is started again after RESTART_SECONDS; its job is claimed again by lease.
    """
    if not command:
        yield
        return
    async with anyio.create_task_group() as group:
        group.start_soon(_keep_running, tuple(command))
        try:
            yield
        finally:
            group.cancel_scope.cancel()


async def _keep_running(command: tuple[str, ...]) -> None:
    while True:
        worker = await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=None, stderr=None)
        try:
            code = await worker.wait()
            log.warning("the worker ended with code %s; it is started again in %g s", code, RESTART_SECONDS)
        finally:
            if worker.returncode is None:
                with anyio.CancelScope(shield=True):
                    worker.terminate()
                    with anyio.move_on_after(STOP_SECONDS) as patience:
                        await worker.wait()
                    if patience.cancelled_caught:
                        worker.kill()
                        await worker.wait()
        await anyio.sleep(RESTART_SECONDS)
