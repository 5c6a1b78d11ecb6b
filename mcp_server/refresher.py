"""Swaps to a new edition as soon as the ledger tells of it, and looks for one itself a few times a second."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
from anyio import to_thread

from indexes.duck.workers import shared_workers
from indexes.library import Library
from indexes.measure import databases_of
from semantic_layer.errors import EngineUnavailable

log = logging.getLogger("wellhead.server")


@contextlib.asynccontextmanager
async def refreshing(
    library: Library, every_seconds: float, looked: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    """Keep the library at the newest edition while the block runs; `looked` hears of every look."""

    async def loop() -> None:
        while True:
            try:
                await to_thread.run_sync(refresh, library)
                await looked()
            except Exception:
                log.exception("a look at the ledger failed; what is served stays")
            await to_thread.run_sync(library.ledger.wait, every_seconds, abandon_on_cancel=True)

    async with anyio.create_task_group() as group:
        group.start_soon(loop)
        try:
            yield
        finally:
            group.cancel_scope.cancel()


def refresh(library: Library) -> None:
    """One look. Failures of an edition stay in `library.failure`; a home that cannot be read is logged.

    For a new edition a reading process is started ahead of the first metric query.
    """
    before = library.failure
    try:
        if library.refresh():
            with library.pin() as snapshot:
                log.info("edition %d is served", snapshot.edition.number)
                shared_workers().warm(databases_of(snapshot))
    except EngineUnavailable as failure:
        log.warning("no reading process could be started ahead: %s", failure)
    except OSError:
        log.exception("the ledger in %s cannot be read", library.home)
    if library.failure is not None and library.failure is not before:
        log.error("the newest edition cannot be served: %s", library.failure)
