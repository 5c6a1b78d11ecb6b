"""An Elasticsearch that fails is named, nothing waits past its deadline, and recovery needs no hand."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from indexes.cancellation import Cancellation, working_for
from indexes.document import Chunk, sha256_of
from indexes.elastic.breaker import Breaker
from indexes.elastic.connection import Cluster, searches
from indexes.elastic.index import check_index
from indexes.elastic.mapping import text_properties
from indexes.elastic.retention import sweep
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.servers import Servers
from semantic_layer.engine_settings import ElasticsearchSettings
from semantic_layer.errors import Cancelled, CorruptGeneration, EngineUnavailable, InvalidArgument
from tests.elastic_node import Node, running, send
from tests.elastic_proxy import Proxy, proxied
from tests.indexes.elastic_site import bare_product, cluster_at, rows_of, site_of, text_reader

pytestmark = pytest.mark.elasticsearch

PRODUCT = bare_product({"handbook": "en"})
TEXTS = ("Shoes may be returned within thirty days.", "Gift cards never expire.", "Returned jackets carry tags.")
CHUNKS = [
    Chunk(number, f"id{number}", "handbook", f"{number}.md", "", text, 0, len(text), sha256_of(text))
    for number, text in enumerate(TEXTS)
]


@pytest.fixture
def proxy(elastic_node: Node) -> Iterator[Proxy]:
    with proxied(elastic_node.port) as made:
        yield made


def built(cluster: Cluster) -> tuple[ElasticTextBuilder, dict[str, object]]:
    builder = ElasticTextBuilder(site_of(cluster, PRODUCT, rows_of(CHUNKS)))
    builder.add(CHUNKS)
    return builder, dict(builder.seal())


def found(reader: ElasticTextReader, question: str = "returned shoes") -> list[int]:
    return reader.search(question, 10)[0].tolist()


def test_a_node_that_is_down_is_named_long_before_the_deadline() -> None:
    cluster, started = cluster_at("http://127.0.0.1:1", seconds=60.0), time.monotonic()
    for _ in range(2):  # the first one also imports the client
        started = time.monotonic()
        with pytest.raises(EngineUnavailable, match=r"Elasticsearch at http://127\.0\.0\.1:1 cannot be reached"):
            cluster.version()
    assert time.monotonic() - started < 10


def test_a_question_to_a_node_that_hangs_ends_at_its_deadline(proxy: Proxy) -> None:
    reader = text_reader(cluster_at(proxy.url, seconds=2.0), PRODUCT, CHUNKS)
    proxy.hanging.set()
    started = time.monotonic()
    with pytest.raises(EngineUnavailable, match="did not answer in time"):
        found(reader)
    assert time.monotonic() - started < 6
    proxy.hanging.clear()
    assert found(reader) == [0, 2]


def test_a_node_that_refuses_for_a_moment_is_asked_again(proxy: Proxy) -> None:
    reader = text_reader(cluster_at(proxy.url), PRODUCT, CHUNKS)
    proxy.refusing = 2
    assert found(reader) == [0, 2]
    proxy.refusing = 1_000
    with pytest.raises(EngineUnavailable, match="overloaded"):
        found(reader)


def test_a_full_queue_slows_loading_down_and_loses_nothing(proxy: Proxy) -> None:
    proxy.refusing_bulk = 3
    _, facts = built(cluster_at(proxy.url))
    assert facts["count"] == len(TEXTS)
    assert proxy.refusing_bulk == 0


def test_after_several_failures_nobody_waits_until_it_answers_again(proxy: Proxy) -> None:
    now = [0.0]
    breaker = Breaker(failures=3, seconds=5, clock=lambda: now[0])
    reader = text_reader(cluster_at(proxy.url, seconds=1.0, breaker=breaker), PRODUCT, CHUNKS)
    proxy.hanging.set()
    for _ in range(3):
        with pytest.raises(EngineUnavailable, match="in time"):
            found(reader)
    asked = proxy.asked
    with pytest.raises(EngineUnavailable, match="given a moment"):
        found(reader)
    assert proxy.asked == asked
    now[0] = 6.0
    with pytest.raises(EngineUnavailable, match="in time"):
        found(reader)
    with pytest.raises(EngineUnavailable, match="given a moment"):
        found(reader)
    proxy.hanging.clear()
    now[0] = 12.0
    assert found(reader) == [0, 2]
    assert found(reader) == [0, 2]


def slow_query(patterns: int) -> dict[str, Any]:
    """A question that takes the node many seconds, without a script: the node of the tests has none."""
    asked = [{"wildcard": {"word.keyword": f"*{'*'.join(f'{n:08x}')}*"}} for n in range(patterns)]
    return {"bool": {"should": asked}}


def test_a_search_whose_caller_has_gone_is_ended_on_the_node(elastic_node: Node) -> None:
    cluster, cancellation = cluster_at(elastic_node.url), Cancellation()
    cluster.ask(lambda es: es.indices.create(index="slow", settings={"number_of_replicas": 0}))
    words = (hashlib.sha256(b"%d" % number).hexdigest() * 4 for number in range(20_000))
    cluster.load("slow", ({"number": n, "word": word[:250]} for n, word in enumerate(words)))
    cluster.ask(lambda es: es.indices.refresh(index="slow"), seconds=30)

    def ask() -> None:
        with working_for(cancellation):
            cluster.ask(lambda es: es.search(index="slow", query=slow_query(1_000), timeout="60s"), seconds=60)

    def searching() -> int:
        return sum(len(node["tasks"]) for node in cluster.ask(searches))

    with ThreadPoolExecutor(1) as pool:
        asking, until = pool.submit(ask), time.monotonic() + 30
        while not searching():
            assert time.monotonic() < until
        cancellation.cancel()
        with pytest.raises(Cancelled):
            asking.result(20)
    while searching():
        assert time.monotonic() < until
    cluster.ask(lambda es: es.indices.delete(index="slow"))
    assert not cluster.breaker.open
    cluster.close()


def test_a_call_that_was_cancelled_asks_nothing() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with working_for(cancellation), pytest.raises(Cancelled):
        cluster_at("http://127.0.0.1:1").ask(lambda es: es.info())


def test_wrong_credentials_are_named_and_right_ones_are_sent(proxy: Proxy) -> None:
    proxy.wanted_authorization = "ApiKey cmlnaHQ="
    with pytest.raises(EngineUnavailable, match=r"does not know these credentials \(401\)"):
        cluster_at(proxy.url, api_key="d3Jvbmc=").version()
    assert cluster_at(proxy.url, api_key="cmlnaHQ=").version().startswith(("8.", "9."))
    proxy.wanted_authorization = "Basic ZWxhc3RpYzpzM2NyZXQ="
    assert cluster_at(proxy.url, username="elastic", password="s3cret").version().startswith(("8.", "9."))


def test_credentials_come_from_the_environment(proxy: Proxy) -> None:
    proxy.wanted_authorization = "ApiKey cmlnaHQ="
    settings = ElasticsearchSettings((proxy.url,), api_key="${ELASTIC_KEY}")
    assert Cluster(settings, {"ELASTIC_KEY": "cmlnaHQ="}).version().startswith(("8.", "9."))
    with pytest.raises(
        InvalidArgument, match=r"elasticsearch\.api_key needs the environment variable ELASTIC_KEY"
    ):
        Cluster(settings, {}).version()
    assert "cmlnaHQ" not in repr(replace(settings, api_key="cmlnaHQ="))


@pytest.mark.parametrize("version", ["7.17.3", "8.9.0"])
def test_a_version_that_is_too_old_is_refused(proxy: Proxy, version: str) -> None:
    proxy.version = version
    with pytest.raises(EngineUnavailable, match=f"is version {version}"):
        cluster_at(proxy.url).version()


def test_a_newer_version_is_welcome(proxy: Proxy) -> None:
    proxy.version = "9.4.1"
    assert found(text_reader(cluster_at(proxy.url), PRODUCT, CHUNKS)) == [0, 2]


def test_what_is_not_elasticsearch_is_refused(proxy: Proxy) -> None:
    proxy.foreign = True
    with pytest.raises(EngineUnavailable, match="is not Elasticsearch"):
        cluster_at(proxy.url).version()


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate of its own authority for 127.0.0.1, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(form))
    (folder / "key.pem").write_bytes(key.private_bytes(form, *plain))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_tls_is_verified_against_the_authority_that_the_settings_name(elastic_node: Node, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    with proxied(elastic_node.port, files) as proxy:
        assert cluster_at(proxy.url, ca_certs=files[0]).version().startswith(("8.", "9."))
        with pytest.raises(EngineUnavailable, match=r"cannot be trusted: .*certificate"):
            cluster_at(proxy.url).version()


def test_an_index_that_is_gone_is_damage_and_one_built_again_serves_the_old_reader(elastic_node: Node) -> None:
    cluster = cluster_at(elastic_node.url)
    site = site_of(cluster, PRODUCT, rows_of(CHUNKS))

    def build() -> dict[str, object]:
        builder = ElasticTextBuilder(site)
        builder.add(CHUNKS)
        return dict(builder.seal())

    facts = build()
    reader = ElasticTextReader(cluster, facts, PRODUCT)
    concrete = next(iter(cluster.ask(lambda es: es.indices.get_alias(name=str(facts["index"])).body)))
    send(elastic_node, "DELETE", concrete)
    for question in (lambda: found(reader), lambda: ElasticTextReader(cluster, facts, PRODUCT)):
        with pytest.raises(CorruptGeneration, match="has not got an index that was built"):
            question()
    assert build() == facts
    assert found(reader) == [0, 2]


def test_an_index_that_is_not_the_sealed_one_is_refused(elastic_node: Node) -> None:
    cluster = cluster_at(elastic_node.url)
    _, facts = built(cluster)
    properties = text_properties(PRODUCT)
    check_index(cluster, facts, properties)
    with pytest.raises(CorruptGeneration, match="is not the one that was sealed"):
        check_index(cluster, {**facts, "digest": "0" * 64}, properties)
    with pytest.raises(CorruptGeneration, match="another mapping"):
        check_index(cluster, facts, text_properties(bare_product({"handbook": "da"})))
    name = str(facts["index"])
    send(elastic_node, "PUT", f"{name}/_settings", b'{"index.blocks.write": false}')
    send(elastic_node, "PUT", f"{name}/_doc/2?refresh", b'{"number": 2, "dataset": "handbook", "check_a": 1}')
    with pytest.raises(CorruptGeneration, match="other passages"):
        check_index(cluster, facts, properties)
    send(elastic_node, "DELETE", f"{name}/_doc/2?refresh")
    with pytest.raises(CorruptGeneration, match="2 passages instead of 3"):
        check_index(cluster, facts, properties)


def test_a_sealed_index_takes_nothing_more(elastic_node: Node) -> None:
    cluster = cluster_at(elastic_node.url)
    _, facts = built(cluster)
    with pytest.raises(EngineUnavailable, match="FORBIDDEN/8"):
        cluster.load(str(facts["index"]), [{"number": 9}])


def test_only_this_homes_indices_that_no_edition_names_are_dropped(elastic_node: Node, tmp_path: Path) -> None:
    cluster = cluster_at(elastic_node.url, prefix="swept")
    owner = "0123456789abcdef0123456789abcdef"
    (tmp_path / "elasticsearch-owner").write_text(owner)
    rows = rows_of(CHUNKS)
    generations = {}
    for name, of in (("live", owner), ("old", owner), ("foreign", "another"), ("unsealed", owner)):
        site = replace(site_of(cluster, PRODUCT, rows), owner=of)
        generations[name] = site.generation
        builder = ElasticTextBuilder(site)
        if name != "unsealed":
            builder.seal()
    dropped = sweep(cluster, tmp_path, PRODUCT.name, [generations["live"]])
    assert {name for name, one in generations.items() if any(one in index for index in dropped)} == {
        "old",
        "unsealed",
    }
    assert sweep(cluster, tmp_path, PRODUCT.name, [generations["live"]]) == []


def test_a_cluster_that_no_setting_names_is_said() -> None:
    with pytest.raises(EngineUnavailable, match="the settings name no cluster"):
        Servers().elasticsearch()


@pytest.fixture(scope="module")
def own_node(elastic_libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that a test may fill, kill and empty; it looks at its disk every ten seconds, not every thirty."""
    with running(elastic_libraries, tmp_path_factory.mktemp("own"), "cluster.info.update.interval=10s") as node:
        yield node


@contextmanager
def disk_full(node: Node) -> Generator[None]:
    """Watermarks that no disk satisfies: the node takes itself for full, as it would be."""
    disk = "cluster.routing.allocation.disk"
    wanted = {"low": "300tb", "high": "200tb", "flood_stage": "100tb"}
    marks = {f"{disk}.watermark.{name}": free for name, free in wanted.items()}
    stated = {"persistent": {f"{disk}.threshold_enabled": True, **marks}}
    send(node, "PUT", "_cluster/settings", json.dumps(stated).encode())
    try:
        yield
    finally:
        cleared = {"persistent": dict.fromkeys(stated["persistent"])}
        send(node, "PUT", "_cluster/settings", json.dumps(cleared).encode())


def finish(builder: ElasticTextBuilder) -> None:
    builder.add(CHUNKS[2:])
    builder.seal()


def test_a_node_whose_disk_is_full_is_named_in_time_serves_what_it_has_and_takes_more_when_there_is_room(
    own_node: Node,
) -> None:
    cluster = cluster_at(own_node.url)
    reader = text_reader(cluster, PRODUCT, CHUNKS)
    begun = ElasticTextBuilder(site_of(cluster, PRODUCT, rows_of(CHUNKS)))
    begun.add(CHUNKS[:2])
    with disk_full(own_node):
        end = time.monotonic() + 60
        while b"read_only_allow_delete" not in send(own_node, "GET", "wellhead-*/_settings"):
            assert time.monotonic() < end, "the node never noticed"
        assert found(reader) == [0, 2]
        with pytest.raises(EngineUnavailable, match="flood-stage watermark") as half:
            finish(begun)
        assert "free some space" in half.value.hint
        started = time.monotonic()
        with pytest.raises(EngineUnavailable, match=r"no place for a new index: .*high watermark") as anew:
            built(cluster)
        assert time.monotonic() - started < 30
        assert "Free space" in anew.value.hint
        assert found(reader) == [0, 2]
    assert built(cluster)[1]["count"] == len(TEXTS)


def test_a_node_restarted_with_an_emptied_disk_says_so_and_serves_what_is_built_again(own_node: Node) -> None:
    cluster = cluster_at(own_node.url)
    _, facts = built(cluster)
    reader = ElasticTextReader(cluster, facts, PRODUCT)
    own_node.kill()
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        found(reader)
    own_node.empty_disk()
    own_node.start()
    with pytest.raises(CorruptGeneration, match="has not got an index that was built"):
        found(reader)
    again = ElasticTextReader(cluster, built(cluster)[1], PRODUCT)
    assert found(again) == [0, 2]
