"""The engines beside the embedded ones that `wellhead.yaml` names: each kind's check, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ingest.diagnose.elasticsearch import look_at_elasticsearch
from ingest.diagnose.finding import Finding
from ingest.diagnose.postgres import look_at_postgres
from semantic_layer.settings import WorkspaceSettings

EngineCheck = Callable[[WorkspaceSettings, Mapping[str, str]], Iterator[Finding]]
"""Looks at one engine: reachable, version, rights, disk, clock. Yields nothing where the settings do not name it.

The mapping is the environment, which fills the `${NAME}` of the settings.
"""

ENGINE_CHECKS: tuple[EngineCheck, ...] = (look_at_elasticsearch, look_at_postgres)


def look_at_engines(settings: WorkspaceSettings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Every finding about the engines that the settings name."""
    for check in ENGINE_CHECKS:
        yield from check(settings, environment)
