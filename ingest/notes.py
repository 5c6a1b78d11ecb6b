"""What a user should know of a run that did not stop it: warnings, and what was set aside and why."""

from __future__ import annotations

from typing import Any

MOST_LISTED = 1_000


class Notes:
    """Collects both in the order found; a warning said twice is kept once."""

    def __init__(self) -> None:
        self._warnings: dict[str, None] = {}
        self._set_aside: list[dict[str, Any]] = []
        self._more = 0

    def warn(self, message: str) -> None:
        """Keep a warning."""
        if len(self._warnings) < MOST_LISTED:
            self._warnings.setdefault(message)

    def set_aside(self, dataset: str, name: str, reason: str) -> None:
        """Keep what was left out; beyond MOST_LISTED only their number."""
        if len(self._set_aside) < MOST_LISTED:
            self._set_aside.append({"dataset": dataset, "name": name, "reason": reason})
        else:
            self._more += 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning."""
        return tuple(self._warnings)

    @property
    def left_out(self) -> tuple[dict[str, Any], ...]:
        """Everything set aside: dataset, name and reason."""
        if not self._more:
            return tuple(self._set_aside)
        more = {"dataset": "", "name": f"{self._more} more", "reason": "as those listed"}
        return (*self._set_aside, more)
