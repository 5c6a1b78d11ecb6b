"""What reading a workspace's files brought to light: mistakes that stop, and warnings that do not."""

from __future__ import annotations

from dataclasses import dataclass, field

from semantic_layer.errors import Problem


@dataclass
class Findings:
    """Collected while reading. `problems` make the workspace invalid; `warnings` are shown by `validate`."""

    problems: list[Problem] = field(default_factory=list[Problem])
    warnings: list[Problem] = field(default_factory=list[Problem])
