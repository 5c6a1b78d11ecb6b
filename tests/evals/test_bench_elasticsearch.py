"""The benchmark runs, small, against a real node, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.bench_elasticsearch import TARGETS, run
from semantic_layer.engine_settings import ElasticsearchSettings
from tests.elastic_node import Node, send


@pytest.mark.elasticsearch
def test_loading_and_asking_stand_beside_the_bare_client(elastic_node: Node, tmp_path: Path) -> None:
    report = run(ElasticsearchSettings((elastic_node.url,), prefix="bench-test", replicas=0), tmp_path, 300, 1, 3)
    assert report["load"]["documents_a_second"] > 0 < report["load"]["bare_documents_a_second"]
    assert set(report["retrieve"]) == {"none", "region (30 %)"}
    assert report["targets"].keys() == TARGETS.keys()
    assert json.loads(send(elastic_node, "GET", "_cat/indices/bench-test-*?format=json")) == []
