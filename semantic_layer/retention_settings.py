"""`retention:` of wellhead.yaml: how far back generations are kept, and whether an ingest removes older ones."""

from __future__ import annotations

from dataclasses import dataclass

from semantic_layer.section import Section

RETENTION_KEYS = ("editions", "days", "automatic")


@dataclass(frozen=True)
class RetentionSettings:
    """A generation stays while one of the newest `editions`, or one that was live in the last `days`, names it.

    `automatic` has each ingest remove the others; else `wellhead prune` does it, and nothing else.
    """

    editions: int = 20
    days: int = 30
    automatic: bool = True


def read_retention(section: Section) -> RetentionSettings:
    """The settings of `retention:` (keys RETENTION_KEYS); mistakes are noted."""
    default = RetentionSettings()
    return RetentionSettings(
        editions=section.integer("editions", default.editions, low=1),
        days=section.integer("days", default.days, low=0, high=36_500),
        automatic=section.flag("automatic", default.automatic),
    )
