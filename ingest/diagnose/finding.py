"""A finding: one thing that was checked, how it stands, and what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from semantic_layer.errors import WellheadError

State = Literal["ok", "warn", "fail"]
_FIRST_CODES = (7, 5, 3)
"""Exit codes in the order that they matter: damaged files, an engine that is down, mistakes in the workspace."""


@dataclass(frozen=True)
class Finding:
    """`check` names what was looked at, `said` what was seen, `fix` the next step where it is not `ok`."""

    check: str
    state: State
    said: str
    fix: str = ""
    exit_code: int = 1

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        form = {"check": self.check, "state": self.state, "said": self.said}
        return {**form, "fix": self.fix} if self.fix else form


def failed(check: str, error: WellheadError) -> Finding:
    """The finding of a check that raised: its sentence, its next step, its exit code."""
    return Finding(check, "fail", error.message, error.hint, error.exit_code)


def attempt(check: str, look: Callable[[], str]) -> Finding:
    """The finding of a check that tells what it saw, or raises a WellheadError."""
    try:
        return Finding(check, "ok", look())
    except WellheadError as error:
        return failed(check, error)


def exit_code_of(findings: Iterable[Finding]) -> int:
    """0 where nothing failed, else the code of what matters most."""
    codes = {finding.exit_code for finding in findings if finding.state == "fail"}
    return next((code for code in _FIRST_CODES if code in codes), 1) if codes else 0
