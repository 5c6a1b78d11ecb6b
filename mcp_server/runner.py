"""Runs calls beside the event loop: a few at a time, a short fair queue, and never past their deadline."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from indexes.cancellation import Cancellation, working_for
from mcp_server.answer import Answer
from mcp_server.budget import account_of
from mcp_server.fairness import FairQueue
from mcp_server.pace import Pace
from mcp_server.service import Pending, Service
from mcp_server.session import Caller, Deadline
from mcp_server.shared_turns import SharedTurns
from mcp_server.stopping import stopping_now
from semantic_layer.errors import Busy, DeadlineExceeded, WellheadError

T = TypeVar("T")
GRACE_SECONDS = 0.5
"""A verb that honours its deadline gets this long to say so itself before the door says it."""


class CallRunner:
    """The async side of a Service. One per event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        settings = service.settings
        most = settings.concurrent_calls + settings.waiting_calls
        self.pace = Pace(most - settings.waiting_calls // 2, most)
        self._running: set[CancelScope] = set()
        self._stopped = False

    @cached_property
    def _queue(self) -> FairQueue:
        settings = self.service.settings
        return FairQueue(
            settings.concurrent_calls,
            settings.waiting_calls,
            self.pace.waited,
            each=-(-settings.calls_each // settings.processes),
            together=settings.calls_each,
            shared=SharedTurns(Path(settings.turns), settings.process) if settings.turns else None,
        )

    @cached_property
    def _written(self) -> Ends:
        return Ends(asyncio.get_running_loop())

    @cached_property
    def _threads(self) -> CapacityLimiter:
        """As many as turns; one more for each whose caller has gone while its thread still ends."""
        return CapacityLimiter(2 * self.service.settings.concurrent_calls)

    async def call(self, caller: Caller, tool: str, arguments: Mapping[str, Any] | None) -> Answer:
        """The answer of one call, within its deadline. A full queue answers Busy at once.

        A caller that goes away cancels its call: the work that runs for it is stopped.
        """
        seconds = self.service.settings.deadline_seconds
        deadline, cancellation = Deadline.after(seconds), Cancellation()

        def work() -> Pending:
            return self.service.begin(caller, tool, arguments, deadline=deadline, cancellation=cancellation)

        answer: Answer | None = None
        try:
            with anyio.move_on_after(seconds + GRACE_SECONDS) as scope:
                pending = work() if self._at_once(tool) else await self._turn(caller, work, scope)
                answer = await self._finished(pending)
        except Busy as error:
            return await self._refused(caller, tool, arguments, error)
        finally:
            if answer is None:
                _cancel_beside(cancellation)
        if answer is not None:
            return answer
        return await self._refused(caller, tool, arguments, stopping_now() if self._stopped else late(seconds))

    async def beside(self, caller: Caller, method: str, work: Callable[[], T]) -> T:
        """Other reading work (lists, completions, resources) under the same limits, and cancelled like a call.

        Raises what `work` raises; Busy or DeadlineExceeded, recorded under `method`, where it gets no turn or no end.
        """
        seconds, cancellation = self.service.settings.deadline_seconds, Cancellation()

        def done() -> T | WellheadError:
            try:
                with working_for(cancellation):
                    return work()
            except WellheadError as error:  # recorded where it was answered
                return error

        found: T | WellheadError | None = None
        try:
            with anyio.move_on_after(seconds + GRACE_SECONDS) as scope:
                found = await self._turn(caller, done, scope)
        except Busy as busy:
            await self._refused(caller, method, None, busy)
            raise
        finally:
            if found is None:
                _cancel_beside(cancellation)
        if found is None:
            found = stopping_now() if self._stopped else late(seconds)
            await self._refused(caller, method, None, found)
        if isinstance(found, WellheadError):
            raise found
        return found

    def stop(self) -> None:
        """End every call that runs: each is answered that the server is stopping."""
        self._stopped = True
        for scope in tuple(self._running):
            scope.cancel()

    async def _turn(self, caller: Caller, work: Callable[[], T], scope: CancelScope) -> T:
        self._running.add(scope)
        try:
            async with self._queue.turn(account_of(caller.principal)):
                return await to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)
        finally:
            self._running.discard(scope)

    async def _refused(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any] | None, error: WellheadError
    ) -> Answer:
        return await self._finished(self.service.begin_refusal(caller, tool, arguments, error))

    async def _finished(self, pending: Pending) -> Answer:
        """The answer once its record is on disk, or cannot be; no thread waits for that."""
        await self._written.heard(pending.written)
        return self.service.finished(pending)

    def _at_once(self, tool: str) -> bool:
        """Whether a call is answered here: from memory and small files, in less time than a thread takes to begin."""
        known, service = self.service.tools.get(tool), self.service
        return (
            known is not None and known.at_once and service.settings.ledger == "files" and service.library.opened
        )


class Ends:
    """Lets coroutines of one loop hear that futures of another thread are done, many of them by one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[asyncio.Future[None]] = deque()
        self._woken = False

    async def heard(self, future: Future[None]) -> None:
        """Return once the future is done, however it ended."""
        heard: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(lambda _: self._note(heard))
        await heard

    def _note(self, heard: asyncio.Future[None]) -> None:
        """On the other thread, or on the loop's where it was done already."""
        self._done.append(heard)
        if not self._woken:  # set before the loop looks, so that what is added later than its look wakes it again
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        while self._done:
            heard = self._done.popleft()
            if not heard.done():
                heard.set_result(None)


def _cancel_beside(cancellation: Cancellation) -> None:
    """An engine may take a moment to hear it, and the event loop has none."""
    threading.Thread(target=cancellation.cancel, name="cancel", daemon=True).start()


def late(seconds: float) -> DeadlineExceeded:
    """What a caller hears whose call took too long."""
    return DeadlineExceeded(f"the call took longer than {seconds:g} s.", hint="Narrow the question.")
