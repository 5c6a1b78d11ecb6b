"""A check: one thing a contract promises about the built tables, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]
SAMPLE_ROWS = 5
"""How many row numbers a failed check names."""


@dataclass(frozen=True)
class Check:
    """`measured` is SQL that gives one number, `holds` whether that number keeps the promise.

    `failing` is a condition over the dataset's table that is TRUE for the rows at fault; empty where no single
    row is. `own_sql` marks SQL out of a contract, which must be one SELECT.
    """

    name: str
    dataset: str
    promise: str
    measured: str
    holds: Callable[[float], bool]
    column: str = ""
    severity: Severity = "error"
    failing: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    own_sql: bool = False
    line: int = 0


@dataclass(frozen=True)
class CheckResult:
    """What a check found. `found` says it in words, with the numbers of the first rows at fault."""

    name: str
    dataset: str
    column: str
    severity: Severity
    passed: bool
    promise: str
    found: str
    measured: float | None = None
    rows: tuple[str, ...] = ()
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.dataset}.{self.column}" if self.column else self.dataset
        rows = f" ({'; '.join(self.rows)})" if self.rows else ""
        return f"{where}: {self.promise}, but {self.found}{rows}; contract.yaml:{self.line}"

    def entry(self) -> dict[str, Any]:
        """The form that a manifest and a report keep."""
        return {"gate": "contract", **asdict(self), "rows": list(self.rows)}


def none_fail(count: float) -> bool:
    """The promise of a check whose number counts rows at fault."""
    return count == 0
