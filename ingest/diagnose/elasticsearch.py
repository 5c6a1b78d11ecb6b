"""Elasticsearch: whether it answers, is new enough and sound, lets us work, and holds what was sealed."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexes.elastic.connection import BULK_SECONDS, Cluster
from indexes.elastic.index import create_index
from indexes.generation import Manifest, generation_folder
from indexes.servers import Servers
from indexes.standing import ON_SERVERS, check_servers
from ingest.diagnose.clock import clock_of
from ingest.diagnose.finding import Finding, attempt, failed
from semantic_layer.errors import WellheadError
from semantic_layer.settings import WorkspaceSettings

CHECK = "engine elasticsearch"
_LITTLE_SHARE = 0.15
"""Elasticsearch moves copies away at 10 % of free disk and takes no more at 5 %."""


def look_at_elasticsearch(settings: WorkspaceSettings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Reachable, version, health, disks, clocks and rights of the cluster that the settings name."""
    if settings.engines.elasticsearch is None:
        return
    with contextlib.closing(Servers(settings.engines, environment)) as servers:
        cluster = servers.elasticsearch()
        try:
            version = cluster.version()
        except WellheadError as error:
            yield failed(CHECK, error)
            return
        yield Finding(CHECK, "ok", f"{cluster.name} answers: version {version}")
        yield _health(cluster)
        yield from _machines(cluster)
        yield attempt(f"{CHECK}: rights", lambda: _worked(cluster))


def look_at_matter(
    home: Path, manifests: list[Manifest], settings: WorkspaceSettings, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Whether the live generations' indices on servers are those that were sealed."""
    with contextlib.closing(Servers(settings.engines, environment)) as servers:
        for manifest in manifests:
            if any(facts.get("engine") in ON_SERVERS for facts in manifest.engines.values()):
                folder = generation_folder(home, manifest.product, manifest.generation)
                yield attempt(f"index {manifest.product}", lambda m=manifest, f=folder: _whole(f, m, servers))


def _whole(folder: Path, manifest: Manifest, servers: Servers) -> str:
    check_servers(folder, manifest, servers)
    return f"{manifest.generation}: count and digest are those that were sealed"


def _health(cluster: Cluster) -> Finding:
    check = f"{CHECK}: health"
    try:
        told: dict[str, Any] = cluster.ask(lambda es: es.cluster.health().body)
    except WellheadError as error:
        return failed(check, error)
    said = f"{told['status']}, {told['number_of_nodes']} nodes, {told['unassigned_shards']} shards without a place"
    if told["status"] == "red":
        return Finding(check, "fail", said, "Some data has no node: look at its own log.", exit_code=5)
    return Finding(check, "ok", said)


def _machines(cluster: Cluster) -> Iterator[Finding]:
    """The fullest disk of its nodes, and the clock that is furthest from ours."""
    try:
        told: dict[str, Any] = cluster.ask(lambda es: es.nodes.stats(metric="fs").body)
    except WellheadError:
        said = "its disks and clocks may not be looked at."
        yield Finding(f"{CHECK}: disk", "warn", said, "Grant `monitor` on the cluster.")
        return
    nodes: list[dict[str, Any]] = list(told["nodes"].values())
    now = datetime.now(UTC)
    yield _disk([node["fs"]["total"] for node in nodes if node.get("fs", {}).get("total")])
    clocks = [datetime.fromtimestamp(node["timestamp"] / 1000, UTC) for node in nodes]
    yield clock_of(f"{CHECK}: clock", cluster.name, max(clocks, key=lambda clock: abs(clock - now)))


def _disk(disks: list[dict[str, int]]) -> Finding:
    check = f"{CHECK}: disk"
    share = min((one["available_in_bytes"] / one["total_in_bytes"] for one in disks), default=1.0)
    said = f"{share:.0%} free on its fullest node"
    if share < _LITTLE_SHARE:
        return Finding(check, "warn", said, "Free some space: below 5 % it takes nothing more.")
    return Finding(check, "ok", said)


def _worked(cluster: Cluster) -> str:
    """Create, fill, search and drop an index, as an ingest does. Raises EngineUnavailable naming what may not be."""
    name = f"{cluster.settings.prefix}-doctor-{uuid.uuid4().hex[:8]}"
    alone = {"number_of_shards": 1, "number_of_replicas": 0}
    try:
        create_index(cluster, name, alone, {})
        cluster.load(name, [{"number": 1}])
        cluster.ask(lambda es: es.indices.refresh(index=name), seconds=BULK_SECONDS)
        cluster.ask(lambda es: es.search(index=name, size=1))
        cluster.ask(lambda es: es.indices.put_alias(index=name, name=f"{name}-alias"), seconds=BULK_SECONDS)
    finally:
        cluster.ask(lambda es: es.indices.delete(index=name, ignore_unavailable=True), seconds=BULK_SECONDS)
    return f"may create, fill, search and drop {cluster.settings.prefix}-*"
