"""Which engines hold what is searched, and where a server that one of them needs is found."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from semantic_layer.section import Section

TextEngineName = Literal["tantivy", "elasticsearch"]
VectorEngineName = Literal["faiss", "elasticsearch", "pgvector"]

VectorIndexName = Literal["auto", "flat", "hnsw", "ivf", "ivf_pq"]
ServeOn = Literal["cpu", "gpu"]

_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:]+\]|[^/@\s:\[\]]+):[0-9]{1,5}(/\S*)?")
_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class ElasticsearchSettings:
    """A cluster: its nodes, credentials (an API key, or a user and password), and how its indices are laid out.

    `url` holds each node's address. `ca_certs` is a PEM file. `timeout_seconds` bounds one question. `prefix` begins
    each index's name, so that workspaces share a cluster. `keep_text` stores passages' text there too;
    `keep_editions` is how many editions back an index is kept.
    """

    url: tuple[str, ...]
    api_key: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    ca_certs: str = ""
    timeout_seconds: float = 10.0
    prefix: str = "wellhead"
    shards: int = 1
    replicas: int = 1
    keep_text: bool = False
    keep_editions: int = 20


@dataclass(frozen=True)
class FaissSettings:
    """How FAISS lays an index out, the recall@10 that it must reach beside exact search, and where it is served.

    An approximate `index` that does not reach `recall` is replaced by an exact scan; the manifest says why.
    """

    index: VectorIndexName = "auto"
    recall: float = 0.95
    serve_on: ServeOn = "cpu"


@dataclass(frozen=True)
class EngineSettings:
    """The engine of each kind. `elasticsearch` is None where no cluster is named."""

    text: TextEngineName = "tantivy"
    vectors: VectorEngineName = "faiss"
    faiss: FaissSettings = FaissSettings()
    elasticsearch: ElasticsearchSettings | None = None

    @property
    def remote(self) -> bool:
        """Whether an engine may keep something of this home on a server."""
        return self.elasticsearch is not None or self.vectors == "pgvector"

    def below(self, root: Path) -> EngineSettings:
        """The settings with paths taken from the workspace's folder."""
        if self.elasticsearch is None or not self.elasticsearch.ca_certs:
            return self
        path = str(root / Path(self.elasticsearch.ca_certs).expanduser())
        return replace(self, elasticsearch=replace(self.elasticsearch, ca_certs=path))


def read_engine_settings(top: Section) -> EngineSettings:
    """The sections `engines`, `faiss` and `elasticsearch` of wellhead.yaml; mistakes are noted."""
    engines = top.section("engines", ("text", "vectors"))
    chosen = EngineSettings(
        text=engines.choice("text", get_args(TextEngineName), EngineSettings.text),
        vectors=engines.choice("vectors", get_args(VectorEngineName), EngineSettings.vectors),
        faiss=_faiss(top.section("faiss", ("index", "recall", "serve_on"))),
        elasticsearch=_elasticsearch(top),
    )
    if "elasticsearch" in (chosen.text, chosen.vectors) and chosen.elasticsearch is None:
        engines.wrong(
            "the engine elasticsearch needs the section `elasticsearch`.",
            "Add elasticsearch: {url: https://…:9200}.",
        )
    return chosen


def _faiss(section: Section) -> FaissSettings:
    default = FaissSettings()
    recall = section.number("recall") if section.node_of("recall") is not None else default.recall
    if recall is None or not 0 < recall <= 1:
        section.wrong("`recall` must be more than 0 and at most 1.", f"Write {default.recall}.", key="recall")
        recall = default.recall
    return FaissSettings(
        index=section.choice("index", get_args(VectorIndexName), default.index),
        recall=recall,
        serve_on=section.choice("serve_on", get_args(ServeOn), default.serve_on),
    )


def _elasticsearch(top: Section) -> ElasticsearchSettings | None:
    if top.node_of("elasticsearch") is None:
        return None
    keys = ("url", "api_key", "username", "password", "ca_certs", "timeout_seconds", "prefix")
    section = top.section("elasticsearch", (*keys, "shards", "replicas", "keep_text", "keep_editions"))
    section.required("url")
    default = ElasticsearchSettings(())
    found = ElasticsearchSettings(
        url=section.texts("url"),
        api_key=section.text("api_key"),
        username=section.text("username"),
        password=section.text("password"),
        ca_certs=section.text("ca_certs"),
        timeout_seconds=section.number("timeout_seconds") or default.timeout_seconds,
        prefix=section.text("prefix", default.prefix),
        shards=section.integer("shards", default.shards, low=1, high=64),
        replicas=section.integer("replicas", default.replicas, low=0, high=8),
        keep_text=section.flag("keep_text"),
        keep_editions=section.integer("keep_editions", default.keep_editions, low=2),
    )
    _check(section, found)
    return found


def _check(section: Section, found: ElasticsearchSettings) -> None:
    for address in found.url:
        if not _ADDRESS.fullmatch(address):
            said = f"{address!r} is not an address."
            section.wrong(said, "Write https://host:9200, with its port and without a password.", key="url")
    if found.api_key and (found.username or found.password):
        section.wrong("give `api_key` or a user and password, not both.", key="api_key")
    if bool(found.username) != bool(found.password):
        section.wrong("`username` and `password` go together.", key="username")
    if not _PREFIX.fullmatch(found.prefix):
        section.wrong(
            f"{found.prefix!r} cannot begin an index's name.", "Use small letters, digits and -.", key="prefix"
        )
    if found.timeout_seconds <= 0:
        section.wrong("`timeout_seconds` must be more than 0.", key="timeout_seconds")
