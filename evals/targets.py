"""What a benchmark's figure is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A bound on one figure: not above `at_most`, not below `at_least`."""

    at_most: float | None = None
    at_least: float | None = None

    def judged(self, figure: float | None) -> dict[str, Any]:
        """The figure beside its bound, and whether it is `met`; a figure that could not be had is `not_checked`."""
        bounds = {"at_most": self.at_most, "at_least": self.at_least}
        stated = {name: bound for name, bound in bounds.items() if bound is not None}
        if figure is None:
            return {"figure": "not_checked", **stated, "met": False}
        return {"figure": round(figure, 4), **stated, "met": self._met(figure)}

    def _met(self, figure: float) -> bool:
        above = self.at_most is not None and figure > self.at_most
        below = self.at_least is not None and figure < self.at_least
        return not above and not below
