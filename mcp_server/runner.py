"""Runs calls beside the event loop: a few at a time, a short fair queue, and never past their deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from indexes.cancellation import Cancellation
from mcp_server.answer import Answer
from mcp_server.budget import account_of
from mcp_server.fairness import FairQueue
from mcp_server.service import Service
from mcp_server.session import Caller, Deadline
from mcp_server.stopping import stopping_now
from semantic_layer.errors import Busy, DeadlineExceeded, WellheadError

T = TypeVar("T")
GRACE_SECONDS = 0.5
"""A verb that honours its deadline gets this long to say so itself before the door says it."""
REFUSING_THREADS = 8
"""Refusals are recorded too, on threads of their own, so that they never wait for calls that run."""


class CallRunner:
    """The async side of a Service. One per event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._running: set[CancelScope] = set()
        self._stopped = False

    @cached_property
    def _queue(self) -> FairQueue:
        return FairQueue(self.service.settings.concurrent_calls, self.service.settings.waiting_calls)

    @cached_property
    def _threads(self) -> CapacityLimiter:
        """As many as turns; one more for each whose caller has gone while its thread still ends."""
        return CapacityLimiter(2 * self.service.settings.concurrent_calls)

    @cached_property
    def _refusing(self) -> CapacityLimiter:
        return CapacityLimiter(REFUSING_THREADS)

    async def call(self, caller: Caller, tool: str, arguments: Mapping[str, Any] | None) -> Answer:
        """The answer of one call, within its deadline. A full queue answers Busy at once.

        A caller that goes away cancels its call: the work that runs for it is stopped.
        """
        seconds = self.service.settings.deadline_seconds
        deadline, cancellation = Deadline.after(seconds), Cancellation()

        def work() -> Answer:
            return self.service.call(caller, tool, arguments, deadline=deadline, cancellation=cancellation)

        answer: Answer | None = None
        try:
            with anyio.move_on_after(seconds + GRACE_SECONDS) as scope:
                answer = await self._turn(caller, work, scope)
        except Busy as error:
            return await self._refused(caller, tool, arguments, error)
        finally:
            if answer is None:
                # An engine may take a moment to hear it, and the event loop has none.
                threading.Thread(target=cancellation.cancel, name="cancel", daemon=True).start()
        if answer is not None:
            return answer
        return await self._refused(caller, tool, arguments, stopping_now() if self._stopped else late(seconds))

    async def beside(self, caller: Caller, work: Callable[[], T]) -> T:
        """Other short reading work (lists, completions) under the same limits. Raises Busy, DeadlineExceeded."""
        seconds = self.service.settings.deadline_seconds
        with anyio.move_on_after(seconds + GRACE_SECONDS) as scope:
            return await self._turn(caller, work, scope)
        raise stopping_now() if self._stopped else late(seconds)

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
        return await to_thread.run_sync(
            lambda: self.service.refuse(caller, tool, arguments, error), limiter=self._refusing
        )


def late(seconds: float) -> DeadlineExceeded:
    """What a caller hears whose call took too long."""
    return DeadlineExceeded(f"the call took longer than {seconds:g} s.", hint="Narrow the question.")
