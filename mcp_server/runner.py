"""Runs calls beside the event loop: a few at a time, a short queue, and never past their deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from indexes.duck.workers import Cancellation
from mcp_server.answer import Answer
from mcp_server.service import Service
from mcp_server.session import Caller, Deadline
from semantic_layer.errors import Busy, DeadlineExceeded, WellheadError

T = TypeVar("T")
GRACE_SECONDS = 0.5
"""A verb that honours its deadline gets this long to say so itself before the door says it."""


class CallRunner:
    """The async side of a Service. One per event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @cached_property
    def _limiter(self) -> CapacityLimiter:
        return CapacityLimiter(self.service.settings.concurrent_calls)

    @property
    def full(self) -> bool:
        """Whether the queue of waiting calls is as long as it may be."""
        return self._limiter.statistics().tasks_waiting >= self.service.settings.waiting_calls

    async def call(self, caller: Caller, tool: str, arguments: Mapping[str, Any] | None) -> Answer:
        """The answer of one call, within its deadline. A full queue answers Busy at once.

        A caller that goes away cancels its call: the work that runs for it is stopped.
        """
        if self.full:
            return await self._refused(caller, tool, arguments, busy())
        seconds = self.service.settings.deadline_seconds
        deadline, cancellation = Deadline.after(seconds), Cancellation()

        def work() -> Answer:
            return self.service.call(caller, tool, arguments, deadline=deadline, cancellation=cancellation)

        answer: Answer | None = None
        try:
            with anyio.move_on_after(seconds + GRACE_SECONDS):
                answer = await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        finally:
            if answer is None:
                cancellation.cancel()
        if answer is not None:
            return answer
        late = DeadlineExceeded(f"the call took longer than {seconds:g} s.", hint="Narrow the question.")
        return await self._refused(caller, tool, arguments, late)

    async def beside(self, work: Callable[[], T]) -> T:
        """Other short reading work (lists, completions) under the same limit."""
        return await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)

    async def _refused(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any] | None, error: WellheadError
    ) -> Answer:
        return await to_thread.run_sync(lambda: self.service.refuse(caller, tool, arguments, error))


def busy() -> Busy:
    """What a caller hears when too many wait already."""
    return Busy("too many calls are waiting.", hint="Try again in a second.")
