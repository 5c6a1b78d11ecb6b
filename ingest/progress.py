"""How far an ingest is: bars with rate and time left on a terminal, nothing where nobody looks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

Advance = Callable[[int], None]
"""Hears how many more items are done."""


class Progress(Protocol):
    """Shows the steps of a build. `product` is the one being built."""

    product: str

    def step(self, name: str, unit: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """One step over `total` items of `unit` (chunks, files …), None where nobody knows how many."""
        ...


class Silent:
    """Shows nothing: for --json, pipes and tests."""

    product = ""

    @contextlib.contextmanager
    def step(self, name: str, unit: str, total: int | None = None) -> Generator[Advance]:
        """A step that nobody sees."""
        yield lambda count: None


class Terminal:
    """Bars on a terminal, one a step, under the product's name. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.product = ""

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def step(self, name: str, unit: str, total: int | None = None) -> Generator[Advance]:
        """A bar that stands while the step runs."""
        task = self._bars.add_task(f"{self.product} {name}".strip(), total=total, unit=unit)
        try:
            yield lambda count: self._bars.advance(task, count)
        finally:
            self._bars.remove_task(task)


class Steps:
    """The steps of one run, shown as they go, with the seconds that each took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str, unit: str, total: int | None = None) -> Generator[Advance]:
        """One step; a name that comes twice adds up."""
        started = time.monotonic()
        with self._progress.step(name, unit, total) as advance:
            yield advance
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)


class _Rate(ProgressColumn):
    """Items a second, as measured lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "")
