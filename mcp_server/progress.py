"""A call that takes long tells its caller that it still runs, where the caller asked to be told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from mcp.server import ServerRequestContext

Context = ServerRequestContext[Any, Any]

FIRST_SECONDS = 1.0
EVERY_SECONDS = 2.0


@contextlib.asynccontextmanager
async def telling_progress(ctx: Context, most_seconds: float) -> AsyncGenerator[None]:
    """While the block runs, send the seconds passed of `most_seconds`: first after one second, then every two.

    Nothing is sent to a caller that gave no progress token, nor for a call that ends sooner.
    """
    if "progress_token" not in (ctx.meta or {}):
        yield
        return
    async with anyio.create_task_group() as group:
        group.start_soon(_tell, ctx, most_seconds)
        try:
            yield
        finally:
            group.cancel_scope.cancel()


async def _tell(ctx: Context, most_seconds: float) -> None:
    started = time.monotonic()
    await anyio.sleep(FIRST_SECONDS)
    while True:
        passed = round(time.monotonic() - started, 1)
        await ctx.session.report_progress(passed, most_seconds, f"working for {passed:g} s")
        await anyio.sleep(EVERY_SECONDS)
