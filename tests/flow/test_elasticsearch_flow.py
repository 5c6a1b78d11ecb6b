"""A folder in, an answer out, with text and vectors in Elasticsearch by one setting each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from indexes.commands import rollback
from indexes.generation import generation_folder, read_manifest
from indexes.ledger import Ledger
from ingest.products import ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from mcp_server.health import readiness
from mcp_server.opening import serving
from mcp_server.settings import serving_settings
from semantic_layer.errors import EngineUnavailable, InvalidArgument, InvalidWorkspace, WellheadError
from semantic_layer.workspace import load_workspace
from tests.elastic_node import Node, send
from tests.elastic_proxy import Proxy, proxied
from tests.mcp_server.callers import EU, Asker
from tests.workspace_factory import BuiltWorkspace, copy_workspace

pytestmark = pytest.mark.elasticsearch

QUESTIONS = ("How long may shoes be returned?", "the boot squeaks", '"five working days"', "code word QUARTZEU")


@pytest.fixture
def proxy(elastic_node: Node) -> Iterator[Proxy]:
    with proxied(elastic_node.port) as made:
        yield made


def in_elasticsearch(built: BuiltWorkspace, url: str, **more: Any) -> None:
    """Set both engines; everything else stays as it is."""
    path = built.root / "wellhead.yaml"
    stated = yaml.safe_load(path.read_text())
    engines = {"text": "elasticsearch", "vectors": "elasticsearch"}
    cluster = {"url": url, "prefix": f"flow-{built.root.name[-8:].lower().strip('-_')}", **more}
    path.write_text(yaml.safe_dump({**stated, "engines": engines, "elasticsearch": cluster}))


def ingest(built: BuiltWorkspace, product: str = "handbook") -> RunReport | WellheadError:
    settings = IngestSettings(device="cpu")
    ((_, outcome),) = ingest_all(load_workspace(built.root), [product], settings, by="test", progress=Silent())
    return outcome


def asked(built: BuiltWorkspace) -> list[list[str]]:
    """The documents that each question finds, best first."""
    with serving(serving_settings(built.door), {}) as service:
        answers = [Asker(service).ok(EU, "search", question=question).data["hits"] for question in QUESTIONS]
    return [[hit["document"] for hit in hits] for hits in answers]


def indices(node: Node, built: BuiltWorkspace) -> list[str]:
    prefix = yaml.safe_load((built.root / "wellhead.yaml").read_text())["elasticsearch"]["prefix"]
    return sorted(one["index"] for one in json.loads(send(node, "GET", f"_cat/indices/{prefix}-*?format=json")))


def test_one_setting_switches_engines_and_the_answers_stay(
    tmp_path: Path, model_home: Path, elastic_node: Node
) -> None:
    built = copy_workspace("tiny", tmp_path / "switched", model_home)
    built.ingest()
    embedded, before = asked(built), Ledger(built.home).edition()
    in_elasticsearch(built, elastic_node.url)
    built.ingest()
    after = Ledger(built.home).edition()
    assert [sorted(one) for one in asked(built)] == [sorted(one) for one in embedded]
    assert [one[0] for one in asked(built)] == [one[0] for one in embedded]
    for product, generation in after.products.items():
        assert generation != before.products[product]
        facts = read_manifest(generation_folder(built.home, product, generation)).engines
        assert facts["text"]["engine"] == facts["vectors"]["engine"] == "elasticsearch"
        assert facts["text"]["index"].endswith(f"-{product}-{generation}")
    outcome = ingest(built)
    assert isinstance(outcome, RunReport)
    assert outcome.state == "unchanged"


def test_old_indices_go_when_no_retained_edition_names_them_and_nobody_goes_back_to_them(
    tmp_path: Path, model_home: Path, elastic_node: Node
) -> None:
    built = copy_workspace("tiny", tmp_path / "retained", model_home)
    in_elasticsearch(built, elastic_node.url, keep_editions=2)
    generations: list[str] = []
    for round_ in range(3):
        (built.root / "products" / "handbook" / "data" / "new.md").write_text(
            f"---\ntitle: New\naudience: public\n---\n# New\n\nWords of round {round_}.\n"
        )
        built.ingest("handbook")
        generations.append(Ledger(built.home).edition().products["handbook"])
    kept = indices(elastic_node, built)
    assert len(kept) == 4
    assert {name.split("-handbook-")[1][:16] for name in kept} == set(generations[1:])
    gone_back = partial(CliRunner().invoke, rollback, obj=built.door, catch_exceptions=False)
    with pytest.raises(
        InvalidArgument, match=r"edition 1 cannot be gone back to: Elasticsearch at .* index"
    ) as said:
        gone_back(["--to", "1"])
    assert said.value.hint == "The oldest edition that still stands is 2."
    assert Ledger(built.home).edition().number == 3
    assert gone_back(["--to", "2"]).exit_code == 0
    with serving(serving_settings(built.door), {}) as service:
        assert readiness(service) == []
        assert service.library.ledger.edition().products == {"handbook": generations[1]}


def test_readers_during_publishing_see_one_generation_or_the_other(
    tmp_path: Path, model_home: Path, elastic_node: Node
) -> None:
    built = copy_workspace("tiny", tmp_path / "publish", model_home)
    in_elasticsearch(built, elastic_node.url)
    page = built.root / "products" / "handbook" / "data" / "new.md"

    def publish(round_: int) -> None:
        page.write_text(f"---\ntitle: New\naudience: public\n---\n# New\n\nThe password is round {round_}.\n")
        built.ingest("handbook")

    publish(0)
    seen: set[tuple[str, str]] = set()
    ended = threading.Event()
    with serving(serving_settings(built.door), {}) as service:
        service.library.refresh()

        def read() -> None:
            while not ended.is_set():
                service.library.refresh()
                found = Asker(service).ok(EU, "search", question="what is the password, which round")
                generation = found.receipt.generations["handbook"]
                seen.update(
                    (generation, hit["text"][-8:]) for hit in found.data["hits"] if hit["document"] == "new.md"
                )

        readers = [threading.Thread(target=read) for _ in range(2)]
        for one in readers:
            one.start()
        for round_ in (1, 2):
            publish(round_)
        last = Ledger(built.home).edition().products["handbook"]
        while not any(generation == last for generation, _ in seen):
            ended.wait(0.05)
        ended.set()
        for one in readers:
            one.join()
    assert len({generation for generation, _ in seen}) == len(seen) == 3


def test_lost_indices_are_built_again_and_the_running_server_goes_on(
    tmp_path: Path, model_home: Path, elastic_node: Node
) -> None:
    built = copy_workspace("tiny", tmp_path / "lost", model_home)
    in_elasticsearch(built, elastic_node.url)
    built.ingest("handbook")
    with serving(serving_settings(built.door), {}) as service:
        ask = Asker(service)
        first = ask.ok(EU, "search", question=QUESTIONS[0]).data
        for name in indices(elastic_node, built):
            send(elastic_node, "DELETE", name)
        lost = ask(EU, "search", question=QUESTIONS[0])
        assert lost.error is not None
        assert lost.error.code == "corrupt_generation"
        outcome = ingest(built)
        assert isinstance(outcome, RunReport)
        assert ask.ok(EU, "search", question=QUESTIONS[0]).data == first
    assert Ledger(built.home).edition().number == 1


def test_a_cluster_that_hangs_is_named_and_nothing_is_half_published(
    tmp_path: Path, model_home: Path, elastic_node: Node, proxy: Proxy
) -> None:
    built = copy_workspace("tiny", tmp_path / "hangs", model_home)
    in_elasticsearch(built, proxy.url, timeout_seconds=3)
    built.ingest("handbook")
    kept = indices(elastic_node, built)
    with serving(serving_settings(built.door), {}) as service:
        ask = Asker(service)
        ask.ok(EU, "search", question=QUESTIONS[0])
        proxy.hanging.set()
        failed = ask(EU, "search", question=QUESTIONS[0])
        assert failed.error is not None
        assert (failed.error.code, failed.status) == ("engine_unavailable", "failed")
        assert "Elasticsearch at" in failed.error.message
        assert readiness(service) == ["engine_unavailable"]
        ask.ok(EU, "discover")
        outcome = ingest(built)
        assert isinstance(outcome, EngineUnavailable)
        assert Ledger(built.home).edition().number == 1
        assert list((built.home / "stages").iterdir()) == []
        proxy.hanging.clear()
        ask.ok(EU, "search", question=QUESTIONS[0])
    assert indices(elastic_node, built) == kept


def test_an_engine_without_its_cluster_is_a_mistake_in_the_file(tmp_path: Path, model_home: Path) -> None:
    built = copy_workspace("tiny", tmp_path / "mistake", model_home)
    path = built.root / "wellhead.yaml"
    path.write_text(path.read_text() + "engines: {text: elasticsearch}\n")
    with pytest.raises(InvalidWorkspace, match="needs the section `elasticsearch`"):
        built.ingest()
