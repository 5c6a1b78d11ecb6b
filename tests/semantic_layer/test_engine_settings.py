"""What wellhead.yaml may say about engines and a cluster, and every mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from semantic_layer.door import Door
from semantic_layer.engine_settings import EngineSettings
from semantic_layer.errors import InvalidWorkspace


def settings(folder: Path, text: str, environment: dict[str, str] | None = None) -> EngineSettings:
    (folder / "wellhead.yaml").write_text("version: 1\nname: shop\n" + text)
    return Door(folder, environment or {}).settings.engines


def test_embedded_engines_are_the_default(tmp_path: Path) -> None:
    found = settings(tmp_path, "")
    assert (found.text, found.vectors, found.elasticsearch) == ("tantivy", "faiss", None)


def test_a_cluster_of_several_nodes_with_a_key_and_an_authority(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        "engines: {text: elasticsearch, vectors: elasticsearch}\n"
        "elasticsearch: {url: ['https://a:9200', 'https://b:9200'], api_key: '${KEY}', ca_certs: ca.pem, "
        "timeout_seconds: 2.5, prefix: team-a, shards: 2, replicas: 0, keep_text: true, keep_editions: 3}\n",
    )
    assert (found.text, found.vectors) == ("elasticsearch", "elasticsearch")
    cluster = found.elasticsearch
    assert cluster is not None
    assert cluster.url == ("https://a:9200", "https://b:9200")
    assert (cluster.api_key, cluster.ca_certs) == ("${KEY}", str(tmp_path / "ca.pem"))
    assert (cluster.timeout_seconds, cluster.prefix, cluster.shards, cluster.replicas) == (2.5, "team-a", 2, 0)
    assert (cluster.keep_text, cluster.keep_editions) == (True, 3)


def test_variables_alone_switch_the_engine(tmp_path: Path) -> None:
    environment = {
        "WELLHEAD_ENGINES_TEXT": "elasticsearch",
        "WELLHEAD_ELASTICSEARCH_URL": "http://localhost:9200",
        "WELLHEAD_ELASTICSEARCH_USERNAME": "elastic",
        "WELLHEAD_ELASTICSEARCH_PASSWORD": "s3cret",
    }
    found = settings(tmp_path, "", environment)
    assert found.text == "elasticsearch"
    assert found.elasticsearch is not None
    assert found.elasticsearch.url == ("http://localhost:9200",)
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engines: {text: elasticsearch}", "needs the section `elasticsearch`"),
        ("engines: {text: lucene}", "`text` cannot be 'lucene'"),
        ("elasticsearch: {prefix: a}", "needs `url`"),
        ("elasticsearch: {url: 'localhost:9200'}", "is not an address"),
        ("elasticsearch: {url: 'https://host'}", "is not an address"),
        ("elasticsearch: {url: 'https://me:secret@host:9200'}", "is not an address"),
        ("elasticsearch: {url: 'http://a:9200', api_key: x, username: y, password: z}", "not both"),
        ("elasticsearch: {url: 'http://a:9200', username: y}", "go together"),
        ("elasticsearch: {url: 'http://a:9200', prefix: Wells}", "cannot begin an index's name"),
        ("elasticsearch: {url: 'http://a:9200', timeout_seconds: -1}", "more than 0"),
        ("elasticsearch: {url: 'http://a:9200', timeout: 1}", "has no key 'timeout'"),
    ],
)
def test_every_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidWorkspace) as failure:
        settings(tmp_path, text + "\n")
    assert said in str(failure.value)
