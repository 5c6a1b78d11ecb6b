"""Each text engine beside each vector engine, tables and nested records in it, through the life of a generation.

Built, opened again, filtered, read while the next is published, rows deleted by it, damaged, and mended by an ingest.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from indexes import vector_layout, vectors_faiss
from indexes.generation import generation_folder, read_manifest
from indexes.library import Snapshot
from indexes.question import Mode, Question
from indexes.retrieve import retrieve
from indexes.standing import ON_SERVERS
from mcp_server.opening import serving
from mcp_server.service import Service
from mcp_server.settings import serving_settings
from semantic_layer.errors import CorruptGeneration
from semantic_layer.policy import Action
from semantic_layer.predicate import Compare, all_of
from semantic_layer.principal import Principal
from tests.elastic_node import Node, send
from tests.workspace_factory import BuiltWorkspace

ROWS, SHELVES = 120, 6
ASKED = (0, 4)
WORDS = ("boot", "coat", "hat", "lamp", "rope", "tent", "stove")
EUROPEAN = Principal("eve", frozenset({"buyer"}), {"regions": ("EU",)})
MODES: tuple[Mode, ...] = ("text", "vector", "hybrid")
LAYOUTS = {"flat": "Flat", "hnsw": "HNSW32_SQfp16", "ivf": "IVF.*,SQ8,.*", "ivf_pq": "IVF.*,PQ.*"}
"""What FAISS calls an index of each layout."""

MARKS = {"elasticsearch": "elasticsearch", "pgvector": "postgres"}
EACH_RUN = {
    ("tantivy", "hnsw"),
    ("tantivy", "ivf_pq"),
    ("tantivy", "pgvector"),
    ("elasticsearch", "elasticsearch"),
}
"""Each engine once; the other pairs of them are `soak`."""

SHELF = {"notes": "shelf", "goods": "place_shelf"}
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: stock
version: 1.0.0
status: active
servers: [{server: files, type: local, path: data}]
schema:
  - name: notes
    physicalType: table
    customProperties: [{property: wellhead, value: {path: notes.csv}}]
    properties:
      - {name: id, logicalType: string, primaryKey: true}
      - {name: region, logicalType: string}
      - {name: shelf, logicalType: integer}
      - {name: story, logicalType: string, customProperties: [{property: wellhead, value: {text: true}}]}
  - name: goods
    physicalType: record
    customProperties: [{property: wellhead, value: {path: goods.jsonl}}]
    properties:
      - {name: id, logicalType: string, primaryKey: true}
      - {name: story, logicalType: string, customProperties: [{property: wellhead, value: {text: true}}]}
      - name: place
        logicalType: object
        properties:
          - {name: region, logicalType: string}
          - {name: shelf, logicalType: integer}
"""
POLICY = """
version: 1
rules:
  - {name: notes, roles: [buyer], actions: [search], datasets: [notes], columns: "*",
     rows: {field: region, op: in, value: {principal: regions}}}
  - {name: goods, roles: [buyer], actions: [search], datasets: [goods], columns: "*",
     rows: {field: place_region, op: in, value: {principal: regions}}}
"""


def kept(number: int, round_: int) -> bool:
    """Whether a row is there: the second round deletes every fifth."""
    return round_ == 0 or number % 5 != 0


def write(data: Path, round_: int) -> None:
    """The rows of one round, as a table and as nested records."""
    data.mkdir(parents=True, exist_ok=True)
    notes, goods = ["id,region,shelf,story"], list[str]()
    for number in (one for one in range(ROWS) if kept(one, round_)):
        region, shelf = ("EU", "US")[number % 2], number // 2 % SHELVES
        story = f"A {WORDS[number % 7]} of kind {number} is kept on the shelf by the {WORDS[number % 5]}."
        notes.append(f"n{number},{region},{shelf},{story}")
        place = {"region": region, "shelf": shelf}
        goods.append(json.dumps({"id": f"g{number}", "story": f"Also: {story}", "place": place}))
    (data / "notes.csv").write_text("\n".join(notes))
    (data / "goods.jsonl").write_text("\n".join(goods))


def allowed(dataset: str, shelf: int, round_: int) -> set[str]:
    """What the European may find of a dataset on a shelf."""
    numbers = range(0, ROWS, 2)
    return {f"{dataset[0]}{one}" for one in numbers if one // 2 % SHELVES == shelf and kept(one, round_)}


def found(snapshot: Snapshot, dataset: str, shelf: int, mode: Mode) -> set[str]:
    grants = {"stock": snapshot.grant(EUROPEAN, "stock", Action.SEARCH)}
    where = all_of(Compare(SHELF[dataset], "eq", shelf))
    asked = Question("what is kept on the shelf", ("stock",), (dataset,), where, mode, k=50)
    return {hit.document for hit in retrieve(snapshot, asked, grants).hits}


def everything(snapshot: Snapshot) -> dict[tuple[str, int, Mode], set[str]]:
    return {
        (name, shelf, mode): found(snapshot, name, shelf, mode)
        for name in SHELF
        for shelf in ASKED
        for mode in MODES
    }


def expected(round_: int) -> dict[tuple[str, int, Mode], set[str]]:
    return {
        (name, shelf, mode): allowed(name, shelf, round_) for name in SHELF for shelf in ASKED for mode in MODES
    }


@contextmanager
def opened(built: BuiltWorkspace) -> Generator[Service]:
    with serving(serving_settings(built.door), {}) as service:
        yield service


def answers(built: BuiltWorkspace) -> dict[tuple[str, int, Mode], set[str]]:
    """What a process that has just started finds."""
    with opened(built) as service, service.library.pin() as snapshot:
        return everything(snapshot)


@contextmanager
def read_meanwhile(service: Service) -> Generator[set[tuple[str, int]]]:
    """Two readers ask while the block runs; gives which generations showed the rows of which round."""
    ended, seen = threading.Event(), set[tuple[str, int]]()
    failures: list[BaseException] = []

    def read(mode: Mode) -> None:
        try:
            while not ended.is_set():
                service.library.refresh()
                with service.library.pin() as snapshot:
                    got = found(snapshot, "goods", 0, mode)
                    round_ = [allowed("goods", 0, one) for one in (0, 1)].index(got)
                    seen.add((snapshot.generations["stock"].id, round_))
        except BaseException as failure:
            failures.append(failure)

    readers = [threading.Thread(target=read, args=(mode,)) for mode in ("text", "vector")]
    for one in readers:
        one.start()
    try:
        yield seen
    finally:
        ended.set()
        for one in readers:
            one.join()
    assert failures == []


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    """The first round's files, and both rounds' vectors in the embedding cache."""
    root = tmp_path_factory.mktemp("stock")
    product = root / "products" / "stock"
    write(product / "data", 0)
    (product / "contract.yaml").write_text(CONTRACT)
    (product / "policy.yaml").write_text(POLICY)
    (root / "wellhead.yaml").write_text("version: 1\nname: stock\n")
    (root / ".wellhead").mkdir()
    (root / ".wellhead" / "models").symlink_to(model_home / "models")
    built = BuiltWorkspace(root)
    built.ingest()
    return built


def pair(text: str, vectors: str) -> Any:
    """A pair of engines as a case, marked with the servers that it needs."""
    marks = [getattr(pytest.mark, MARKS[one]) for one in {text, vectors} if one in MARKS]
    soaked = [] if (text, vectors) in EACH_RUN else [pytest.mark.soak]
    return pytest.param(text, vectors, id=f"{text}-{vectors}", marks=[*marks, *soaked])


PAIRS = [
    pair(text, vectors)
    for text in ("tantivy", "elasticsearch")
    for vectors in (*LAYOUTS, "elasticsearch", "pgvector")
]


@pytest.fixture
def built(
    workspace: BuiltWorkspace, tmp_path: Path, text: str, vectors: str, request: pytest.FixtureRequest
) -> BuiltWorkspace:
    """A workspace of one's own with these engines set, nothing built yet."""
    root = tmp_path / "stock"
    shutil.copytree(workspace.root / "products", root / "products")
    shutil.copytree(workspace.home / "cache", root / ".wellhead" / "cache")
    (root / ".wellhead" / "models").symlink_to(workspace.home / "models")
    layout = vectors if vectors in LAYOUTS else "auto"
    stated: dict[str, Any] = {"version": 1, "name": "stock", "faiss": {"index": layout}}
    stated["engines"] = {"text": text, "vectors": "faiss" if layout == vectors else vectors}
    if "elasticsearch" in (text, vectors):
        node: Node = request.getfixturevalue("elastic_node")
        stated["elasticsearch"] = {"url": node.url, "prefix": f"both-{text[:2]}-{vectors[:2]}-{layout[:3]}"}
    if vectors == "pgvector":
        stated["postgres"] = {"dsn": request.getfixturevalue("postgres_dsn"), "schema": f"vectors_{text}"}
    (root / "wellhead.yaml").write_text(yaml.safe_dump(stated))
    return BuiltWorkspace(root)


def facts_of(built: BuiltWorkspace) -> tuple[Path, Mapping[str, Mapping[str, Any]]]:
    """The live generation's folder, and what its engines said when they were sealed."""
    with opened(built) as service:
        generation = service.library.ledger.edition().products["stock"]
    folder = generation_folder(built.home, "stock", generation)
    return folder, read_manifest(folder).engines


def flip(folder: Path) -> None:
    """Change one byte in the middle of the largest file."""
    largest = max((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)


def lose_passage(node: Node, index: str) -> None:
    """Delete one document of a sealed index, past what guards it."""
    send(node, "PUT", f"{index}/_settings", b'{"index.blocks.write": false}')
    send(node, "DELETE", f"{index}/_doc/0?refresh=true")


def lose_vector(dsn: str, schema: str, table: str) -> None:
    with psycopg.connect(dsn) as owner:
        owner.execute(sql.SQL("DELETE FROM {} WHERE n = 0").format(sql.Identifier(schema, table)))


def damage(built: BuiltWorkspace, kind: str, request: pytest.FixtureRequest) -> None:
    """Damage the live generation's text or vectors, wherever they lie."""
    folder, facts = facts_of(built)
    one = facts[kind]
    if one["engine"] == "elasticsearch":
        lose_passage(request.getfixturevalue("elastic_node"), one["index"])
    elif one["engine"] == "pgvector":
        at = yaml.safe_load((built.root / "wellhead.yaml").read_text())["postgres"]
        lose_vector(at["dsn"], at["schema"], one["table"])
    else:
        flip(folder / kind)


@pytest.mark.parametrize(("text", "vectors"), PAIRS)
def test_every_pair_of_engines_lives_the_same_life(
    built: BuiltWorkspace, text: str, vectors: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few passages would be scanned, whatever the settings say: let the indexes themselves be built and asked.
    monkeypatch.setattr(vector_layout, "FEWEST", 100)
    monkeypatch.setattr(vectors_faiss, "HELD_OUT", 40)
    monkeypatch.setattr(vectors_faiss, "EXACT_ALLOWED", 0)
    built.ingest()
    _, facts = facts_of(built)
    assert facts["text"]["engine"] == text
    assert facts["vectors"]["engine"] == ("faiss" if vectors in LAYOUTS else vectors)
    assert re.fullmatch(LAYOUTS.get(vectors, ".*"), facts["vectors"]["index"])
    assert answers(built) == answers(built) == expected(0)

    write(built.root / "products" / "stock" / "data", 1)
    with opened(built) as service:
        with read_meanwhile(service) as seen:
            built.ingest()
        service.library.refresh()
        with service.library.pin() as snapshot:
            assert everything(snapshot) == expected(1)
        with service.library.at(1) as before:
            assert everything(before) == expected(0)
            first = before.generations["stock"].id
    assert (first, 0) in seen
    assert len({generation for generation, _ in seen}) == len(seen)

    for kind in ("text", "vectors"):
        with opened(built) as running, running.library.pin() as before:
            damage(built, kind, request)
            with opened(built) as service, pytest.raises(CorruptGeneration), service.library.pin():
                pass
            built.ingest()
            assert answers(built) == expected(1), f"after the {kind} were built again"
            if facts[kind]["engine"] in ON_SERVERS:
                assert everything(before) == expected(1), f"in a server that runs on over damaged {kind}"
