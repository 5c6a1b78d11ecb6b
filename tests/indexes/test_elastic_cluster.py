"""Two nodes and a copy of each index: one may die in the middle of a question, and the answers go on."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from indexes.document import Chunk, sha256_of
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.elastic.vectors import ElasticVectorBuilder, ElasticVectorReader
from semantic_layer.errors import WellheadError
from tests.elastic_node import Node, NodeMissing
from tests.indexes.elastic_site import bare_product, cluster_at, rows_of, site_of

pytestmark = pytest.mark.elasticsearch

PRODUCT = bare_product({"handbook": "en"})
COUNT = 300
TEXTS = [f"Shoes of kind {number} may be returned within {number % 30} days." for number in range(COUNT)]
CHUNKS = [
    Chunk(number, f"id{number}", "handbook", f"{number}.md", "", text, 0, len(text), sha256_of(text))
    for number, text in enumerate(TEXTS)
]


def two_nodes(libraries: Path, folder: Path) -> tuple[Node, Node]:
    """A node that may lead and one that only holds copies."""
    first, second = Node(libraries, folder / "one"), Node(libraries, folder / "two")
    hosts = f"discovery.seed_hosts=127.0.0.1:{first.transport},127.0.0.1:{second.transport}"
    common = ("discovery.type=multi-node", "cluster.initial_master_nodes=one", hosts)
    first.settings = (*common, "node.name=one")
    second.settings = (*common, "node.name=two", "node.roles=data")
    starting = threading.Thread(target=first.start)
    starting.start()
    try:
        second.start()
    finally:
        starting.join()
    return first, second


def test_a_node_killed_in_the_middle_of_questions_changes_no_answer(
    elastic_libraries: Path, tmp_path: Path
) -> None:
    try:
        first, second = two_nodes(elastic_libraries, tmp_path)
    except NodeMissing as missing:
        pytest.fail(str(missing))
    cluster = cluster_at(first.url, second.url)
    try:
        cluster.ask(lambda es: es.cluster.health(wait_for_nodes="2", timeout="60s"), seconds=65)
        text_builder = ElasticTextBuilder(site_of(cluster, PRODUCT, rows_of(CHUNKS)))
        text_builder.add(CHUNKS)
        text = ElasticTextReader(cluster, text_builder.seal(), PRODUCT)
        angles = np.linspace(0, 1, COUNT)
        given = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
        vector_builder = ElasticVectorBuilder(tmp_path, 2, site_of(cluster, PRODUCT, rows_of(CHUNKS)))
        vector_builder.add(given)
        vectors = ElasticVectorReader(cluster, vector_builder.seal(), PRODUCT)
        cluster.ask(lambda es: es.cluster.health(wait_for_status="green", timeout="60s"), seconds=65)

        def ask() -> tuple[list[int], list[int]]:
            return text.search("returned shoes kind 7", 10)[0].tolist(), vectors.search(given[7], 5)[0].tolist()

        expected = ask()
        failures: list[WellheadError] = []
        answered = [0, 0]
        killed, enough = threading.Event(), threading.Event()

        def asker() -> None:
            while not enough.is_set():
                try:
                    assert ask() == expected
                except WellheadError as failure:
                    failures.append(failure)
                answered[killed.is_set()] += 1
                if answered[1] >= 60:
                    enough.set()

        askers = [threading.Thread(target=asker) for _ in range(4)]
        for one in askers:
            one.start()
        while answered[0] < 20:
            enough.wait(0.01)
        second.kill()
        killed.set()
        for one in askers:
            one.join(60)
        assert enough.is_set()
        assert failures == []
        assert ask() == expected
    finally:
        cluster.close()
        first.kill()
        second.kill()
