"""Tries to make a running server tell what it must not: canaries for every tenant and column, through every door."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.front_door import FrontDoor
from evals.leak_calls import Calls
from evals.leak_doors import Door, Doors, Probe, Reply
from evals.leak_timing import Timing, time_names
from evals.leak_twin import TwinReport, Twins
from evals.leak_world import TENANTS, WATCHED, Canaries, write_world
from semantic_layer.errors import WellheadError

COMMANDS_SHARE = 0.005
COMPARED_SHARE = 0.1
_CANARY = re.compile(r"zq[bcdfghjklmnpqrstvwxz]{9}")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """How long to try. `calls` count all doors; the comparison with the twin and the timing come on top."""

    calls: int = 10_000
    pairs: int = 2_000
    seed: int = 1


@dataclass(frozen=True)
class Leak:
    """A canary that came out: in which reply, or in which log."""

    canary: str
    to: str
    where: str
    reply: str = ""


@dataclass(frozen=True)
class LeakReport:
    """What was tried and what came out. `seen` counts the canaries each tenant saw of its own, so that none is blind.

    `faults` are replies with a status of 500 or more, or with a stack in them.
    """

    seed: int
    calls: Mapping[str, int]
    answered: int
    seen: Mapping[str, int]
    leaks: tuple[Leak, ...]
    faults: tuple[str, ...]
    twin: TwinReport
    timing: Timing

    @property
    def clean(self) -> bool:
        """Whether nothing came out, nothing broke and the twins could not be told apart."""
        return not self.leaks and not self.faults and self.twin.held

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {"clean": self.clean, **asdict(self)}


class Watch:
    """Reads every reply for words that its caller must not be told."""

    def __init__(self, canaries: Canaries) -> None:
        self._hidden = {caller: canaries.hidden_from(caller) for caller in (*TENANTS, "nobody", "anonymous")}
        self._own = {tenant: frozenset(canaries.tenant[tenant]) for tenant in TENANTS}
        self._canaries = canaries
        self._seen: dict[str, set[str]] = {tenant: set() for tenant in TENANTS}
        self.leaks: list[Leak] = []
        self.faults: list[str] = []
        self.answered = 0

    def read(self, probe: Probe, reply: Reply) -> None:
        """Note what a reply gives away. A word that the caller said itself is no news to it."""
        self.answered += reply.answer.get("status") == "ok"
        found = set(_CANARY.findall(reply.seen.lower())) - set(_CANARY.findall(probe.text.lower()))
        for word in sorted(found & self._hidden[probe.caller]):
            self.leaks.append(Leak(word, probe.caller, f"{probe.door} {probe.text[:500]}", reply.body[-1_000:]))
        if probe.caller in self._seen:
            self._seen[probe.caller] |= found & self._own[probe.caller]
        broken = probe.door != "cli" and reply.status >= 500 and reply.status != 503
        if broken or "Traceback (most recent" in reply.body:
            self.faults.append(f"{probe.caller} {probe.door} {probe.text[:300]}: {reply.body[-300:]}")

    def read_logs(self, files: Mapping[str, Path]) -> None:
        """Note every value that stands in a log."""
        for name, path in files.items():
            for word in sorted(
                set(_CANARY.findall(path.read_text("utf-8", "replace").lower())) & self._canaries.values
            ):
                self.leaks.append(Leak(word, "the log", name))

    @property
    def seen(self) -> dict[str, int]:
        """How many canaries of its own each tenant was shown."""
        return {tenant: len(words) for tenant, words in self._seen.items()}


def leak_test(
    into: Path, options: Options, models: Path | None = None, progress: Progress | None = None
) -> LeakReport:
    """Plant, serve and pry, in the empty folder `into`; `models` holds the embedding model where it is there already.

    Raises WellheadError where a tenant saw nothing of its own: a test that sees nothing proves nothing.
    """
    told = progress or (lambda what, done, of: None)
    with contextlib.ExitStack() as stack:
        told("building", 0, 2)
        canaries, doors = stack.enter_context(_world(into / "world", options.seed, models, twin=False))
        told("building", 1, 2)
        _, twin_doors = stack.enter_context(_world(into / "twin", options.seed, models, twin=True))
        watch, counts = Watch(canaries), Counter[str]()
        calls = Calls(options.seed, canaries)
        for number in range(options.calls):
            probe = calls.next(_door(number, options.calls))
            reply = doors.knock(probe)
            watch.read(probe, reply)
            calls.learn(probe, reply)
            counts[probe.door] += 1
            if number % 100 == 0:
                told("calls", number, options.calls)
        twin = _compared(options, canaries, doors, twin_doors, watch, told)
        told("timing", 0, options.pairs)
        timing = time_names(doors, canaries, options.seed, options.pairs)
    watch.read_logs(_logs(into / "world"))
    blind = [tenant for tenant, seen in watch.seen.items() if not seen]
    if blind and options.calls >= 200:
        raise WellheadError(
            f"{', '.join(blind)} saw nothing of its own: the test is blind.", hint="Report the seed."
        )
    return LeakReport(
        options.seed,
        dict(counts),
        watch.answered,
        watch.seen,
        tuple(watch.leaks),
        tuple(watch.faults),
        twin,
        timing,
    )


def _compared(
    options: Options, canaries: Canaries, doors: Doors, twin: Doors, watch: Watch, told: Progress
) -> TwinReport:
    """The watched tenant's calls, asked of both worlds; none of them uses what an earlier reply handed out."""
    calls, twins = Calls(options.seed + 1, canaries), Twins()
    count = max(20, int(options.calls * COMPARED_SHARE))
    for number in range(count):
        probe = calls.next("mcp" if number % 2 else "rest", WATCHED)
        one, other = doors.knock(probe), twin.knock(probe)
        watch.read(probe, one)
        twins.compare(probe.text, one, other)
        if number % 100 == 0:
            told("comparing", number, count)
    return twins.report()


def _door(number: int, calls: int) -> Door:
    """Mostly both HTTP doors in turn; the command line, which starts a process each time, now and then."""
    every = max(1, min(calls // 4, int(1 / COMMANDS_SHARE)))
    return "cli" if number % every == every - 1 else "mcp" if number % 2 else "rest"


@contextlib.contextmanager
def _world(root: Path, seed: int, models: Path | None, *, twin: bool) -> Generator[tuple[Canaries, Doors]]:
    """A world, ingested and served. Both have the same key for masks, so that masked values can be compared."""
    canaries = write_world(root, seed, twin=twin)
    home = root / ".wellhead"
    home.mkdir()
    if models is not None:
        (home / "models").symlink_to(models.resolve())
    key = base64.b64encode(hashlib.sha256(str(seed).encode()).digest()).decode()
    front = FrontDoor(root, {"WELLHEAD_DEVICE": "cpu", "WELLHEAD_KEYS_MASKS": f"leak:{key}"})
    front.run("ingest", "--json")
    with front.serving(root / "server.log") as serving:
        doors = Doors(front, serving)
        try:
            yield canaries, doors
        finally:
            doors.close()


def _logs(root: Path) -> dict[str, Path]:
    """The server's log and the audit log."""
    audit = {f"audit {path.name}": path for path in (root / ".wellhead" / "audit").glob("*.jsonl")}
    return {"server.log": root / "server.log", **audit}
