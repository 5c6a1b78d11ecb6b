"""`wellhead doctor` looks at the Elasticsearch that the settings name, and at the indices that are live."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.elastic_node import Node, send
from tests.elastic_proxy import Proxy, proxied
from tests.ingest.test_doctor import look
from tests.workspace_factory import BuiltWorkspace, copy_workspace

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
def proxy(elastic_node: Node) -> Iterator[Proxy]:
    with proxied(elastic_node.port) as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, model_home: Path, proxy: Proxy) -> BuiltWorkspace:
    """A workspace with its handbook live in Elasticsearch, behind a proxy."""
    built = copy_workspace("tiny", tmp_path / "shop", model_home)
    path = built.root / "wellhead.yaml"
    stated = yaml.safe_load(path.read_text())
    cluster = {"url": proxy.url, "timeout_seconds": 2, "prefix": "doctored", "api_key": "cmlnaHQ="}
    path.write_text(yaml.safe_dump({**stated, "engines": {"text": "elasticsearch"}, "elasticsearch": cluster}))
    built.ingest("handbook")
    return built


def test_a_sound_cluster_has_only_good_findings(shop: BuiltWorkspace, elastic_node: Node) -> None:
    found = look(shop.root, 0)
    assert "answers: version " in found["engine elasticsearch"]["said"]
    assert found["engine elasticsearch: health"]["said"].startswith(("green", "yellow"))
    assert "free" in found["engine elasticsearch: disk"]["said"]
    assert "clock agrees" in found["engine elasticsearch: clock"]["said"]
    assert "doctored-*" in found["engine elasticsearch: rights"]["said"]
    assert "those that were sealed" in found["index handbook"]["said"]
    left = json.loads(send(elastic_node, "GET", "_cat/indices/doctored-doctor-*?format=json"))
    assert left == []


def test_another_clock_of_a_node_is_told(shop: BuiltWorkspace, proxy: Proxy) -> None:
    proxy.clock_seconds = -7_200
    found = look(shop.root, 0)["engine elasticsearch: clock"]
    assert found["state"] == "warn"
    assert re.search(r"clock is 7,\d{3} s behind this machine's", found["said"])


def test_a_cluster_that_is_down_or_refuses_is_named(shop: BuiltWorkspace, proxy: Proxy) -> None:
    proxy.wanted_authorization = "ApiKey other"
    found = look(shop.root, 5)
    assert "does not know these credentials" in found["engine elasticsearch"]["said"]
    assert "elasticsearch.api_key" in found["engine elasticsearch"]["fix"]
    proxy.wanted_authorization, proxy.version = None, "7.10.2"
    assert "7.10.2" in look(shop.root, 5)["engine elasticsearch"]["said"]
    proxy.version = None
    proxy.hanging.set()
    assert "did not answer in time" in look(shop.root, 5)["engine elasticsearch"]["said"]
    proxy.released.set()


def test_a_lost_index_is_named_with_what_brings_it_back(shop: BuiltWorkspace, elastic_node: Node) -> None:
    for one in json.loads(send(elastic_node, "GET", "_cat/indices/doctored-handbook-*?format=json")):
        send(elastic_node, "DELETE", one["index"])
    found = look(shop.root, 7)
    assert found["index handbook"]["state"] == "fail"
    assert "wellhead ingest" in found["index handbook"]["fix"]
