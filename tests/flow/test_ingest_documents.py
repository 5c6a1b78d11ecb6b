"""The same nested documents from a file, Redis and MongoDB: one source feeds tables, text, vectors and lookups."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from click.testing import CliRunner
from elasticsearch import Elasticsearch
from pymongo import MongoClient

from indexes.embedder import open_identified
from indexes.library import Library, Snapshot
from indexes.live import LiveRecords
from indexes.lookup import RecordQuestion, lookup
from indexes.postgres.connection import connect
from indexes.postgres.load import load_tables
from indexes.question import Question
from indexes.retrieve import retrieve
from ingest.doctor import doctor
from ingest.products import Outcome, ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.door import Door
from semantic_layer.filter_form import parse_filter
from semantic_layer.policy import Action
from semantic_layer.predicate import TRUE, Predicate, bind
from semantic_layer.principal import Principal
from semantic_layer.workspace import load_workspace
from tests.document_servers import RedisServer

DOCUMENTS: tuple[dict[str, Any], ...] = (
    {
        "sku": "B-7",
        "name": "Trail boot",
        "story": "A waterproof boot for muddy mountain paths.",
        "price": "129.90",
        "stock": 12,
        "tags": ["shoes", "outdoor"],
        "attributes": {"colour": "moss", "supplier": {"region": "EU", "email": "ann@boots.example"}},
        "variants": [{"size": 41}, {"size": 42}, {"note": "no size"}],
        "added": "2025-03-01T12:00:00+00:00",
    },
    {
        "sku": "C-1",
        "name": "Rain coat",
        "story": "Keeps the city rain away on a bicycle.",
        "price": "89.00",
        "stock": 0,
        "tags": [],
        "attributes": {"colour": "amber", "supplier": {"region": "US", "email": "bob@coats.example"}},
        "variants": [],
        "added": "2025-03-02T12:00:00+00:00",
    },
    {
        "sku": "é/ü:9",
        "name": "Wool hat",
        "story": "Warm wool for cold winter ears.",
        "price": "19.00",
        "attributes": {"colour": "moss", "supplier": {"region": "EU"}},
        "added": "2025-03-03T12:00:00+00:00",
    },
)
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop-catalogue
version: 1.0.0
status: active
servers: [{server}]
schema:
  - name: goods
    physicalType: record
    customProperties: [{{property: wellhead, value: {{{hints}}}}}]
    properties:
      - {{name: sku, logicalType: string, primaryKey: true}}
      - {{name: name, logicalType: string, customProperties: [{{property: wellhead, value: {{title: true}}}}]}}
      - {{name: story, logicalType: string, customProperties: [{{property: wellhead, value: {{text: true}}}}]}}
      - {{name: price, logicalType: number, physicalType: "decimal(8,2)"}}
      - {{name: stock, logicalType: integer}}
      - {{name: tags, logicalType: array, items: {{logicalType: string}}}}
      - name: attributes
        logicalType: object
        properties:
          - {{name: colour, logicalType: string}}
          - name: supplier
            logicalType: object
            properties:
              - {{name: region, logicalType: string}}
              - {{name: email, logicalType: string, classification: personal}}
      - name: sizes
        logicalType: array
        items: {{logicalType: integer}}
        customProperties: [{{property: wellhead, value: {{path: "$.variants[*].size"}}}}]
      - {{name: added, logicalType: timestamp}}
"""
POLICY = """
version: 1
rules:
  - name: own-regions
    roles: [buyer]
    actions: [discover, search, lookup]
    columns: {except: [attributes_supplier_email]}
    mask: {attributes_supplier_email: hash}
    rows: {field: attributes_supplier_region, op: in, value: {principal: regions}}
"""
BUYER = Principal("bea", frozenset({"buyer"}), {"regions": ("EU", "US")})
EUROPEAN = Principal("eve", frozenset({"buyer"}), {"regions": ("EU",)})
FIELDS = ("sku", "price", "stock", "tags", "attributes_colour", "sizes", "added")


class Catalogue:
    """A workspace whose only product lives on one document server."""

    def __init__(
        self, root: Path, model_home: Path, server: str, hints: str, environment: Mapping[str, str]
    ) -> None:
        self.root, self.home, self.environment = root, root / ".wellhead", environment
        product = root / "products" / "catalogue"
        product.mkdir(parents=True)
        self.home.mkdir()
        (self.home / "models").symlink_to(model_home / "models")
        (root / "wellhead.yaml").write_text("version: 1\nname: shop\n")
        (product / "contract.yaml").write_text(CONTRACT.format(server=server, hints=hints))
        (product / "policy.yaml").write_text(POLICY)

    def outcome(self) -> Outcome:
        settings = IngestSettings({**os.environ, **self.environment}, "cpu")
        [(_, outcome)] = ingest_all(load_workspace(self.root), (), settings, by="test", progress=Silent())
        return outcome

    def ingest(self) -> RunReport:
        outcome = self.outcome()
        if not isinstance(outcome, RunReport):
            raise outcome
        return outcome

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        library = Library(self.home, lambda identity: open_identified(self.home, identity))
        try:
            with library.pin() as snapshot:
                yield snapshot
        finally:
            library.close()

    def looked_up(
        self, who: Principal = BUYER, seconds: float = 5.0, columns: Sequence[str] = (), **asked: Any
    ) -> list[dict[str, Any]]:
        question = RecordQuestion("catalogue", "goods", columns=tuple(columns), **asked)
        with self.snapshot() as snapshot, contextlib.closing(LiveRecords(self.environment)) as live:
            grants = {"catalogue": snapshot.grant(who, "catalogue", Action.LOOKUP)}
            found = lookup(snapshot, question, grants, deadline_seconds=seconds, open_live=live.open)
            return [dict(row) for row in found.rows]


def hash_fields(document: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in document.items()}


def bson(document: Mapping[str, Any]) -> dict[str, Any]:
    typed = {"price": Decimal128(document["price"]), "added": datetime.fromisoformat(document["added"])}
    return {**document, **typed, "_id": ObjectId()}


def catalogue(kind: str, root: Path, model_home: Path, request: pytest.FixtureRequest) -> Catalogue:
    """The workspace with DOCUMENTS on a fresh server of this kind."""
    if kind == "jsonl":
        made = Catalogue(root, model_home, "{server: files, type: local, path: data}", "path: goods.jsonl", {})
        data = root / "products" / "catalogue" / "data"
        data.mkdir()
        (data / "goods.jsonl").write_text("\n".join(json.dumps(one) for one in DOCUMENTS))
        return made
    dsn = '{{server: db, type: {}, {}customProperties: [{{property: wellhead, value: {{dsn: "${{SHOP_URL}}"}}}}]}}'
    if kind == "mongodb":
        url = request.getfixturevalue("mongodb_node").url
        with MongoClient[Any](url) as client:
            client.drop_database("shop")
            client["shop"]["goods"].insert_many([bson(one) for one in DOCUMENTS])
        return Catalogue(
            root, model_home, dsn.format("mongodb", "database: shop, "), "live: true", {"SHOP_URL": url}
        )
    if kind == "elasticsearch":
        url = request.getfixturevalue("elastic_node").url
        with Elasticsearch(url) as client:
            client.options(ignore_status=404).indices.delete(index="goods")
            client.indices.create(index="goods", mappings={"properties": {"sku": {"type": "keyword"}}})
            for one in DOCUMENTS:
                client.index(index="goods", id=f"id of {one['sku']}", document=one, refresh=True)
        return Catalogue(root, model_home, dsn.format("elasticsearch", ""), "live: true", {"SHOP_URL": url})
    if kind == "jsonb":
        url = request.getfixturevalue("postgres_dsn")
        load_jsonb(url)
        return Catalogue(
            root, model_home, dsn.format("postgres", "schema: public, "), "live: true", {"SHOP_URL": url}
        )
    node: RedisServer = request.getfixturevalue("redis_node")
    with contextlib.closing(node.client) as client:
        client.flushall()
        for one in DOCUMENTS:
            key, document = f"goods:{one['sku']}", {name: one[name] for name in one if name != "sku"}
            if kind == "redis-hash":
                client.hset(key, mapping=hash_fields(document))
            else:
                client.set(key, json.dumps(one))
        client.set("other", "not of this dataset")
    return Catalogue(
        root, model_home, dsn.format("redis", ""), 'live: true, path: "goods:*"', {"SHOP_URL": node.url}
    )


def load_jsonb(dsn: str) -> None:
    """DOCUMENTS as a table: scalars in columns, what is nested in JSONB."""
    table = (
        "DROP TABLE IF EXISTS goods; CREATE TABLE goods (sku text PRIMARY KEY, name text, story text, "
        "price numeric(8, 2), stock int, tags text[], attributes jsonb, variants jsonb, added timestamptz)"
    )
    names = ("sku", "name", "story", "price", "stock", "tags", "attributes", "variants", "added")
    rows = [
        tuple(
            json.dumps(one[name]) if name in one and name in ("attributes", "variants") else one.get(name)
            for name in names
        )
        for one in DOCUMENTS
    ]
    load_tables(dsn, table, [("goods", names, rows)])


KINDS = (
    "jsonl",
    pytest.param("jsonb", marks=pytest.mark.postgres),
    pytest.param("redis-json", marks=pytest.mark.redis),
    pytest.param("redis-hash", marks=pytest.mark.redis),
    pytest.param("mongodb", marks=pytest.mark.mongodb),
    pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
)
LIVE = KINDS[1:]


@pytest.fixture(params=KINDS)
def goods(request: pytest.FixtureRequest, tmp_path: Path, model_home: Path) -> Catalogue:
    return catalogue(request.param, tmp_path / "shop", model_home, request)


@pytest.fixture(params=LIVE)
def live_goods(request: pytest.FixtureRequest, tmp_path: Path, model_home: Path) -> Catalogue:
    return catalogue(request.param, tmp_path / "shop", model_home, request)


def test_one_source_feeds_tables_and_search_and_lookup_alike(goods: Catalogue) -> None:
    report = goods.ingest()
    assert report.counts["rows"] == 3
    assert goods.ingest().state == "unchanged"
    with goods.snapshot() as snapshot:
        live = snapshot.generations["catalogue"]
        rows = live.tables.rows("goods", FIELDS, TRUE, ("sku",))
        grants = {"catalogue": snapshot.grant(EUROPEAN, "catalogue", Action.SEARCH)}
        found = retrieve(snapshot, Question("dry shoes for wet hills", products=("catalogue",)), grants)
    boot, coat, hat = rows
    assert boot == {
        "sku": "B-7",
        "price": Decimal("129.90"),
        "stock": 12,
        "tags": ["shoes", "outdoor"],
        "attributes_colour": "moss",
        "sizes": [41, 42],
        "added": datetime(2025, 3, 1, 12, tzinfo=UTC),
    }
    assert (coat["sku"], coat["tags"], hat["tags"], hat["stock"]) == ("C-1", [], None, None)
    assert [hit.document for hit in found.hits] == ["B-7", "é/ü:9"]
    assert [row["sku"] for row in goods.looked_up(order=("-price",))] == ["B-7", "C-1", "é/ü:9"]


def test_a_live_lookup_answers_what_the_sealed_one_does(live_goods: Catalogue) -> None:
    live_goods.ingest()
    filters: tuple[Any, ...] = (
        [],
        {"field": "attributes_colour", "op": "eq", "value": "moss"},
        {"not": {"field": "attributes_colour", "op": "eq", "value": "moss"}},
        {"field": "sizes", "op": "in", "value": [42, 7]},
        {"field": "stock", "op": "le", "value": 12},
        {"field": "stock", "op": "is_null", "value": True},
        {"field": "added", "op": "between", "value": ["2025-03-02", "2025-03-04"]},
        {"field": "price", "op": "eq", "value": "89.00"},
        {
            "any": [
                {"field": "sku", "op": "eq", "value": "C-1"},
                {"field": "tags", "op": "contains", "value": "out"},
            ]
        },
    )
    with live_goods.snapshot() as snapshot:
        tables = snapshot.generations["catalogue"].tables
        for form in filters:
            where = parse_filter(form)
            expected = [
                one["sku"] for one in tables.rows("goods", ["sku"], bound(snapshot, where), ("-stock", "sku"))
            ]
            assert [row["sku"] for row in live_goods.looked_up(where=where, order=("-stock",))] == expected, form


def bound(snapshot: Snapshot, where: Predicate) -> Predicate:
    [dataset] = snapshot.generations["catalogue"].product.datasets
    return bind(where, {column.name: column for column in dataset.columns})


def test_a_lookup_by_key_is_live_masked_and_under_the_grant(
    live_goods: Catalogue, request: pytest.FixtureRequest
) -> None:
    live_goods.ingest()
    [boot] = live_goods.looked_up(key="B-7")
    assert boot["attributes_supplier_email"] not in ("ann@boots.example", None)
    assert live_goods.looked_up(EUROPEAN, key="C-1") == []
    assert live_goods.looked_up(key="C-2") == []
    assert [row["name"] for row in live_goods.looked_up(key="é/ü:9")] == ["Wool hat"]
    changed(live_goods, request)
    [boot] = live_goods.looked_up(key="B-7", columns=["sku", "stock"])
    assert boot == {"sku": "B-7", "stock": 3}


def changed(goods: Catalogue, request: pytest.FixtureRequest) -> None:
    """Somebody sells nine boots after the ingest."""
    kind = request.node.callspec.params["live_goods"]
    if kind == "mongodb":
        with MongoClient[Any](goods.environment["SHOP_URL"]) as client:
            client["shop"]["goods"].update_one({"sku": "B-7"}, {"$set": {"stock": 3}})
        return
    if kind == "elasticsearch":
        with Elasticsearch(goods.environment["SHOP_URL"]) as client:
            client.update(index="goods", id="id of B-7", doc={"stock": 3}, refresh=True)
        return
    if kind == "jsonb":
        with connect(goods.environment["SHOP_URL"]) as connection:
            connection.execute("UPDATE goods SET stock = 3 WHERE sku = 'B-7'")
        return
    with contextlib.closing(request.getfixturevalue("redis_node").client) as client:
        if kind == "redis-hash":
            client.hset("goods:B-7", "stock", "3")
        else:
            client.set("goods:B-7", json.dumps({**DOCUMENTS[0], "stock": 3}))


@pytest.mark.redis
def test_the_doctor_tells_version_clock_and_documents_of_a_server(
    tmp_path: Path, model_home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    goods = catalogue("redis-json", tmp_path / "shop", model_home, request)
    monkeypatch.setenv("SHOP_URL", goods.environment["SHOP_URL"])
    found = doctored(goods)
    assert "answers, version" in found["source catalogue.db"]["said"]
    assert found["clock catalogue.db"]["state"] == "ok"
    assert found["source catalogue.db.goods"]["said"] == "3 documents"
    with contextlib.closing(request.getfixturevalue("redis_node").client) as client:
        client.flushall()
    empty = doctored(goods)["source catalogue.db.goods"]
    assert (empty["state"], "path" in empty["fix"]) == ("warn", True)
    monkeypatch.setenv("SHOP_URL", "redis://ann:secret@127.0.0.1:1/0")
    down = doctored(goods)
    assert down["source catalogue.db"]["state"] == "fail"
    assert "127.0.0.1:1/0" in down["source catalogue.db"]["said"]
    assert "secret" not in json.dumps(down)


def doctored(goods: Catalogue) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(doctor, ["--json"], obj=Door(goods.root, {}), standalone_mode=False)
    assert result.exception is None, result.exception
    return {finding["check"]: finding for finding in json.loads(result.stdout)["findings"]}
