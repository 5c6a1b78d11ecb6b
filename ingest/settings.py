"""How a run of ingest is to be done; read at the door, handed in, never looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from indexes.device import Device


@dataclass(frozen=True)
class IngestSettings:
    """`environment` fills `${NAME}` in contracts. `force` reads and builds everything again, whatever is known.

    `device` is where vectors are computed: auto takes a GPU that is there.
    """

    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    device: Device = "auto"
    force: bool = False
