"""What one ingest did: written beside the ledger for every run, shown in a few lines on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from indexes.durable import disk_full_named, json_bytes, replace_atomically
from semantic_layer.errors import WellheadError

FORMAT = 1
KEPT_RUNS = 200
State = Literal["published", "policy", "unchanged", "failed"]
"""`policy`: only the policy changed, so nothing was built."""


@dataclass(frozen=True)
class RunReport:
    """One product's run. `steps` are seconds by step; `reused` counts what came from the caches.

    `set_aside` names each file or row that could not be read and was left out as the contract allows;
    `failure` is empty, or code, message and hint of what stopped the run. `collected` are the generations that
    retention no longer keeps: removed, or held by a process that reads them still.
    """

    product: str
    state: State
    generation: str
    edition: int
    policy_revision: int
    started_at: str
    seconds: float
    by: str
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    reused: Mapping[str, int] = field(default_factory=dict[str, int])
    steps: Mapping[str, float] = field(default_factory=dict[str, float])
    peak_bytes: int = 0
    watermark: str = ""
    gates: tuple[Mapping[str, Any], ...] = ()
    set_aside: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    failure: Mapping[str, Any] = field(default_factory=dict[str, Any])
    collected: tuple[Mapping[str, Any], ...] = ()

    def entry(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "format": FORMAT}

    def lines(self) -> list[str]:
        """What a person reads first."""
        lines = [self._headline()]
        lines += [f"  set aside: {one['name']}: {one['reason']}" for one in self.set_aside]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        removed = [one["bytes"] for one in self.collected if one["fate"] == "removed"]
        if removed:
            freed = f"{sum(removed) / 2**20:,.1f} MiB freed"
            lines.append(f"  removed: {len(removed)} generations that retention no longer keeps, {freed}")
        lines += [
            f"  kept: {one['generation']} is still being read" for one in self.collected if one["fate"] == "held"
        ]
        return lines

    def _headline(self) -> str:
        if self.state == "failed":
            return f"{self.product}: failed after {self.seconds:.1f} s"
        if self.state == "unchanged":
            return f"{self.product}: unchanged, {self.generation} is live ({self.seconds:.2f} s)"
        if self.state == "policy":
            return f"{self.product}: policy revision {self.policy_revision} is in force; nothing to build"
        counts = ", ".join(
            f"{self.counts[name]:,} {name}" for name in ("documents", "rows", "chunks") if self.counts.get(name)
        )
        return (
            f"{self.product}: {counts or 'nothing'} sealed as {self.generation}, live in edition "
            f"{self.edition} ({self.seconds:.1f} s)"
        )


def failure_of(error: WellheadError) -> dict[str, Any]:
    """An error as a report keeps it."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}


def write_report(home: Path, report: RunReport) -> Path:
    """Write the report to `home`/runs; the oldest beyond KEPT_RUNS are removed."""
    runs = home / "runs"
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    path = runs / f"{moment}-{report.product}.json"
    with disk_full_named(runs):
        runs.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, json_bytes(report.entry()))
    for old in sorted(runs.glob("[0-9]*.json"))[:-KEPT_RUNS]:
        old.unlink(missing_ok=True)
    return path
