"""Waits for jobs and hands over one at a time; light, because a worker waits far longer than it works."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from indexes.jobs import Claim, JobStore

POLL_SECONDS = 0.5


def claimed(store: JobStore) -> Claim | None:
    """The oldest job that waits, now held by this process; None where there is none."""
    return store.claim(f"{os.uname().nodename}:{os.getpid()}")


def take_turns(store: JobStore, run: Callable[[Claim], None]) -> None:
    """Run jobs as they come, until SIGTERM or SIGINT; a job that runs then is finished first."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.is_set():
        claim = claimed(store)
        if claim is None:
            stopping.wait(POLL_SECONDS)
        else:
            run(claim)
