"""One generation's index on the server: built aside, checked, sealed under its name, and checked when it is opened."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from indexes.elastic.connection import BULK_SECONDS, Cluster
from indexes.elastic.digest import Digest
from indexes.elastic.encoding import grams as grams_of
from indexes.elastic.encoding import stored_cell
from indexes.elastic.mapping import FORMAT, PIECES, analysis, carried_fields, flat_types, languages_of
from indexes.ports import CarriedRow, CarriedRows
from semantic_layer.errors import CorruptGeneration, EngineUnavailable
from semantic_layer.product import DataProduct

Kind = Literal["text", "vectors"]

MORE_FIELDS = 64
_PLACED = "5s"
"""A new, empty index has its place at once, unless there is none."""

_AGAIN = "Run `wellhead ingest`: it builds the index again."


@dataclass(frozen=True)
class Site:
    """Where an engine on a server builds: the cluster, the generation, whose home it is, and what chunks carry."""

    cluster: Cluster
    product: DataProduct
    generation: str
    owner: str
    carried: CarriedRows


def index_name(cluster: Cluster, product: str, generation: str, kind: Kind) -> str:
    """The name that a generation's index is asked by: an alias, so that building it again disturbs nobody."""
    name = f"{cluster.settings.prefix}-{product.lower()}-{generation}"
    return name if kind == "text" else f"{name}-vectors"


def create_index(cluster: Cluster, name: str, settings: Mapping[str, Any], mappings: Mapping[str, Any]) -> None:
    """Create an index and see it placed on a node.

    Raises EngineUnavailable where no node takes it, as where their disks are full, with the cluster's own reason.
    """
    made: Mapping[str, Any] = cluster.ask(
        lambda es: es.indices.create(index=name, settings=settings, mappings=mappings, timeout=_PLACED).body,
        seconds=BULK_SECONDS,
    )
    if made["shards_acknowledged"]:
        return
    refused = _refusal(cluster, name)
    placed = not refused and not cluster.ask(
        lambda es: es.cluster.health(index=name, wait_for_status="yellow", timeout=f"{BULK_SECONDS:.0f}s").body,
        seconds=BULK_SECONDS + 5,
    ).get("timed_out")
    if not placed:
        raise EngineUnavailable(
            f"{cluster.name} has no place for a new index: {refused or 'it did not say why'}.",
            hint="Free space on its disks, or add a node; `wellhead doctor` shows both.",
        )


def _refusal(cluster: Cluster, name: str) -> str:
    """Why no node takes the index's first shard; empty where one only takes its time."""
    told: Any = cluster.ask(lambda es: es.cluster.allocation_explain(index=name, shard=0, primary=True).body)
    if told.get("can_allocate") != "no":
        return ""
    reasons = [
        str(decider.get("explanation", ""))
        for node in told.get("node_allocation_decisions", ())
        for decider in node.get("deciders", ())
        if decider.get("decision") == "NO"
    ]
    return (reasons or [str(told.get("allocate_explanation", ""))])[0].rstrip(".")[:300]


@dataclass
class IndexBuilder:
    """Builds an index that nobody asks before it is sealed. What is never sealed is swept away later."""

    site: Site
    kind: Kind
    properties: Mapping[str, Any]
    excluded: Sequence[str] = ()
    _digest: Digest = field(default_factory=Digest)
    _sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PIECES, 0))

    def __post_init__(self) -> None:
        self.name = index_name(self.cluster, self.site.product.name, self.site.generation, self.kind)
        self.concrete = f"{self.name}-{uuid.uuid4().hex[:8]}"
        self._fields = carried_fields(self.site.product)

    @property
    def cluster(self) -> Cluster:
        return self.site.cluster

    def create(self) -> None:
        """Create the empty index, without copies and without refreshing while it is filled."""
        settings: dict[str, Any] = {
            "number_of_shards": self.cluster.settings.shards,
            "number_of_replicas": 0,
            "refresh_interval": "-1",
            "mapping.total_fields.limit": len(flat_types(self.properties)) + len(self._fields) + MORE_FIELDS,
        }
        if self.kind == "text":
            settings["analysis"] = analysis(languages_of(self.site.product))
        mappings = {
            "dynamic": "strict",
            "_meta": {"wellhead": self._meta()},
            "_source": {"excludes": list(self.excluded)},
            "properties": self.properties,
        }
        create_index(self.cluster, self.concrete, settings, mappings)

    def document(self, row: CarriedRow, text_sha256: str) -> dict[str, Any]:
        """A chunk's document without its text or vector; counts into the digest."""
        values: dict[str, Any] = {}
        grams: dict[str, Any] = {}
        place = ""
        for name, one in self._fields[row.dataset].items():
            place, _, held_as = one.name.partition(".")
            cell = stored_cell(one.column, row.columns.get(name))
            if cell:
                values[held_as] = cell if len(cell) > 1 else cell[0]
                if one.grams is not None:
                    grams[one.grams.partition(".")[2]] = _grams(row.columns[name])
        pieces = self._digest.add(row.chunk_id, text_sha256, values)
        for piece, value in pieces.items():
            self._sums[piece] += value
        document: dict[str, Any] = {"number": row.number, "chunk": row.chunk_id, "dataset": row.dataset, **pieces}
        if values:
            document[place] = {**values, **grams}
        return document

    def write(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Send documents; see Cluster.load."""
        self.cluster.load(self.concrete, documents)

    def seal(self) -> dict[str, Any]:
        """Make all that was written searchable, check that it is all there, copy it, and give it its name.

        Returns what the manifest records. Raises EngineUnavailable where the server holds less than was sent.
        """
        settings = self.cluster.settings
        self.cluster.ask(lambda es: es.indices.refresh(index=self.concrete), seconds=BULK_SECONDS)
        held = _held(self.cluster, self.concrete, BULK_SECONDS)
        if held != (self._digest.count, self._sums):
            raise EngineUnavailable(
                f"{self.cluster.name} holds {held[0]} of {self._digest.count} passages that it took.",
                hint="Ingest again; its own log says more.",
            )
        changed: dict[str, Any] = {
            "auto_expand_replicas": f"0-{settings.replicas}" if settings.replicas else False
        }
        facts = {"index": self.name, "count": self._digest.count, "digest": self._digest.hexadecimal}
        meta = {"wellhead": {**self._meta(), **facts, "sums": self._sums, "sealed": True}}
        swap = [
            {"remove": {"index": f"{self.name}-*", "alias": self.name, "must_exist": False}},
            {"add": {"index": self.concrete, "alias": self.name}},
        ]
        ask = self.cluster.ask
        ask(lambda es: es.indices.put_mapping(index=self.concrete, meta=meta), seconds=BULK_SECONDS)
        changed["blocks.write"] = True
        ask(lambda es: es.indices.put_settings(index=self.concrete, settings=changed), seconds=BULK_SECONDS)
        ask(
            lambda es: es.cluster.health(
                index=self.concrete, wait_for_no_initializing_shards=True, timeout=f"{BULK_SECONDS:.0f}s"
            ),
            seconds=BULK_SECONDS + 5,
        )
        ask(lambda es: es.indices.update_aliases(actions=swap), seconds=BULK_SECONDS)
        shown = {"server": self.cluster.version(), "shards": settings.shards}
        return {"engine": "elasticsearch", "format": FORMAT, **facts, "sums": self._sums, **shown}

    def _meta(self) -> dict[str, Any]:
        names = {one.name: f"{of}.{name}" for of, fields in self._fields.items() for name, one in fields.items()}
        return {
            "format": FORMAT,
            "product": self.site.product.name,
            "generation": self.site.generation,
            "kind": self.kind,
            "owner": self.site.owner,
            "columns": names,
        }


def _grams(cell: Any) -> Any:
    items = [one for one in cell if one is not None] if isinstance(cell, (list, tuple)) else [cell]
    return [grams_of(one) for one in items] if len(items) > 1 else grams_of(items[0])


def check_index(cluster: Cluster, facts: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    """Whether the index is the one that was sealed: its mapping, what it says of itself, and all its chunks.

    Raises CorruptGeneration where it is not, or is not there; EngineUnavailable.
    """
    name: str = facts["index"]
    shown: dict[str, Any] = cluster.ask(lambda es: es.indices.get(index=name).body)
    if len(shown) != 1:
        raise _corrupt(cluster, name, f"stands for {len(shown)} indices")
    mapping: Mapping[str, Any] = next(iter(shown.values()))["mappings"]
    meta: Mapping[str, Any] = mapping.get("_meta", {}).get("wellhead", {})
    sealed = [meta.get(key) == facts[key] for key in ("format", "index", "count", "digest", "sums")]
    if not (all(sealed) and meta.get("sealed")):
        raise _corrupt(cluster, name, "is not the one that was sealed")
    if mapping.get("dynamic") != "strict" or flat_types(mapping["properties"]) != flat_types(properties):
        raise _corrupt(cluster, name, "has another mapping than the one that was sealed")
    held = _held(cluster, name)
    if held[0] != facts["count"]:
        raise _corrupt(cluster, name, f"holds {held[0]} passages instead of {facts['count']}")
    if held[1] != facts["sums"]:
        raise _corrupt(cluster, name, "holds other passages than were sealed")


def _held(cluster: Cluster, name: str, seconds: float | None = None) -> tuple[int, dict[str, int]]:
    """How many chunks an index holds, and the sums of their digests' pieces."""
    summed = {piece: {"sum": {"field": piece}} for piece in PIECES}
    answer: dict[str, Any] = cluster.ask(
        lambda es: (
            es.search(
                index=name, size=0, track_total_hits=True, aggregations=summed, allow_partial_search_results=False
            ).body
        ),
        seconds=seconds,
    )
    sums = {piece: round(answer["aggregations"][piece]["value"]) for piece in PIECES}
    return answer["hits"]["total"]["value"], sums


def _corrupt(cluster: Cluster, name: str, what: str) -> CorruptGeneration:
    return CorruptGeneration(f"{cluster.name}: {name} {what}.", hint=_AGAIN)
