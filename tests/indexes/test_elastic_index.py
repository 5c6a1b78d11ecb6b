"""How a generation's index on a node is laid out and filled: what is kept there, and how often it is refreshed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from indexes.document import Chunk, sha256_of
from indexes.elastic.text import ElasticTextBuilder
from indexes.visibility import TEXT_COLUMN, carried_columns
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from tests.elastic_node import Node, running, send
from tests.elastic_proxy import Proxy, proxied
from tests.indexes.elastic_site import bare_product, cluster_at, rows_of, site_of, text_reader

pytestmark = pytest.mark.elasticsearch

PRODUCT = bare_product({"handbook": "en"})
TEXT = "Shoes may be returned within thirty days."


def chunk(number: int, text: str = TEXT, dataset: str = "handbook") -> Chunk:
    return Chunk(number, f"id{number}", dataset, f"{number}.md", "", text, 0, len(text), sha256_of(text))


@pytest.fixture
def proxy(elastic_node: Node) -> Iterator[Proxy]:
    with proxied(elastic_node.port) as made:
        yield made


@pytest.mark.parametrize("kept", [False, True])
def test_texts_lie_in_the_source_only_where_the_settings_keep_them(kept: bool, elastic_node: Node) -> None:
    cluster = cluster_at(elastic_node.url, keep_text=kept)
    builder = ElasticTextBuilder(site_of(cluster, PRODUCT, rows_of([chunk(0)])))
    builder.add([chunk(0)])
    name = builder.seal()["index"]
    source: dict[str, Any] = json.loads(send(elastic_node, "GET", f"{name}/_doc/0"))["_source"]
    assert ("text_en" in source) is kept
    assert source["chunk"] == "id0"


def test_an_index_is_refreshed_once_when_all_of_it_is_there(proxy: Proxy) -> None:
    cluster = cluster_at(proxy.url)
    chunks = [chunk(number) for number in range(2_500)]
    builder = ElasticTextBuilder(site_of(cluster, PRODUCT, rows_of(chunks)))
    for start in range(0, len(chunks), 500):
        builder.add(chunks[start : start + 500])
    bulks = [path for path in proxy.paths if "/_bulk" in path]
    assert not [path for path in proxy.paths if "refresh" in path]
    proxy.paths.clear()
    builder.seal()
    assert len(bulks) >= 5
    assert len([path for path in proxy.paths if "_refresh" in path]) == 1
    assert not [path for path in proxy.paths if "_bulk" in path]


def test_every_filterable_column_has_a_field_of_its_kind(elastic_node: Node) -> None:
    kinds = {
        ColumnType.STRING: ("ab", "keyword"),
        ColumnType.INTEGER: (7, "long"),
        ColumnType.NUMBER: (0.5, "long"),
        ColumnType.DECIMAL: (Decimal("1.50"), "long"),
        ColumnType.BOOLEAN: (True, "boolean"),
        ColumnType.DATE: (date(2025, 1, 2), "date"),
        ColumnType.TIMESTAMP: (datetime(2025, 1, 2, tzinfo=UTC), "long"),
        ColumnType.TIME: (time(12, 30), "long"),
    }
    columns = tuple(Column(kind.value, kind, precision=10, scale=2) for kind in kinds)
    text = Column("body", ColumnType.STRING, is_text=True)
    dataset = Dataset("goods", "table", (*columns, text))
    product = DataProduct("typed", "1", "typed", "active", "v3.1.0", datasets=(dataset,))
    assert {one.name for one in columns} <= set(carried_columns(dataset))
    row = {kind.value: value for kind, (value, _) in kinds.items()} | {TEXT_COLUMN: "body"}
    cluster = cluster_at(elastic_node.url)
    reader = text_reader(cluster, product, [chunk(0, dataset="goods")], [row])
    assert reader.count == 1
    shown: dict[str, Any] = json.loads(send(elastic_node, "GET", f"{cluster.settings.prefix}-typed-*/_mapping"))
    mapping = next(iter(shown.values()))["mappings"]
    names = mapping["_meta"]["wellhead"]["columns"]
    assert mapping["dynamic"] == "strict"
    fields = mapping["properties"]["d0"]["properties"]
    found = {kind: fields[field_of(names, kind.value)]["type"] for kind in kinds}
    assert found == {kind: type_ for kind, (_, type_) in kinds.items()}


def field_of(names: dict[str, str], column: str) -> str:
    """The field, inside its dataset's object, that holds a column."""
    return next(field.partition(".")[2] for field, name in names.items() if name.endswith(f".{column}"))


@pytest.mark.soak
def test_a_node_that_really_has_no_room_for_bulks_slows_loading_down_and_loses_nothing(
    elastic_libraries: Path, tmp_path: Path
) -> None:
    # One bulk of a thousand fits, two at once do not.
    with running(elastic_libraries, tmp_path, "indexing_pressure.memory.limit=1500kb") as node:
        text = "Shoes may be returned. " * 40
        chunks = [chunk(number, f"{number} {text}") for number in range(4_000)]
        clusters = [cluster_at(node.url) for _ in range(4)]
        with ThreadPoolExecutor(len(clusters)) as threads:
            readers = list(threads.map(lambda cluster: text_reader(cluster, PRODUCT, chunks), clusters))
        assert [reader.count for reader in readers] == [len(chunks)] * len(clusters)
        (held,) = json.loads(send(node, "GET", "_nodes/stats/indexing_pressure"))["nodes"].values()
        assert held["indexing_pressure"]["memory"]["total"]["coordinating_rejections"] > 0
