"""One product's ingest, from a folder to a live generation: what is built, and what a failure leaves."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.gates import GateResult
from indexes.generation import DESCRIPTORS, Manifest, building, generation_folder, read_manifest, verify
from indexes.ledger import Ledger
from indexes.library import Library, Snapshot
from ingest.embedding import SharedEmbedder
from ingest.gates import Gate
from ingest.report import RunReport
from ingest.run import ingest_product
from ingest.settings import IngestSettings
from semantic_layer.errors import (
    Busy,
    CorruptGeneration,
    GateFailed,
    InvalidWorkspace,
    SourceFailed,
    UnknownName,
    WellheadError,
)
from semantic_layer.settings import EmbeddingSettings
from semantic_layer.workspace import load_workspace

TINY = Path(__file__).parents[1] / "workspaces" / "tiny"


class Shop:
    """The tiny workspace in a folder of its own, and what a person does with it."""

    def __init__(self, root: Path, models: Path) -> None:
        shutil.copytree(TINY, root)
        self.root = root
        self.home = root / ".wellhead"
        self.home.mkdir()
        (self.home / "models").symlink_to(models)
        self.embedding = SharedEmbedder(self.home, EmbeddingSettings(), "cpu")

    def ingest(self, product: str = "handbook", gates: Sequence[Gate] = (), force: bool = False) -> RunReport:
        workspace = load_workspace(self.root)
        settings = IngestSettings(os.environ, "cpu", force)
        return ingest_product(
            workspace, product, settings=settings, by="test", embedding=self.embedding, gates=gates
        )

    def refused(self, product: str = "handbook", **rest: Any) -> WellheadError:
        """The failure of an ingest that must fail, after which the live edition is what it was."""
        before = Ledger(self.home).edition()
        with pytest.raises(WellheadError) as failure:
            self.ingest(product, **rest)
        assert Ledger(self.home).edition() == before
        assert list((self.home / "stages").glob("*")) == []
        return failure.value

    def file(self, name: str) -> Path:
        return self.root / "products" / name

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.file(name).read_text()
        assert old in text
        self.file(name).write_text(text.replace(old, new))

    def manifest(self, product: str = "handbook") -> Manifest:
        generation = Ledger(self.home).edition().products[product]
        return verify(generation_folder(self.home, product, generation))

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.home / "runs").iterdir())]


@pytest.fixture
def shop(tmp_path: Path, model_home: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "shop", model_home / "models")
    yield shop
    shop.embedding.close()


def test_a_first_ingest_is_live_with_its_counts_recipe_and_report(shop: Shop) -> None:
    report = shop.ingest()
    manifest = shop.manifest()
    assert report.state == "published"
    assert report.edition == 1
    assert manifest.counts == {"chunks": 4, "documents": 4, "rows:pages": 4, "rows": 4}
    assert manifest.recipe["embedder"]["model"]
    assert {one.name for one in manifest.inputs} >= {"files:pages/returns.md", "descriptors/contract.yaml"}
    assert manifest.build["peak_bytes"] > 1_000_000
    assert [one["state"] for one in shop.reports()] == ["published"]
    assert all(gate["passed"] for gate in manifest.gates)
    assert any(gate["gate"] == "edition" for gate in manifest.gates)


def test_an_ingest_of_what_did_not_change_builds_nothing(shop: Shop) -> None:
    first = shop.ingest()
    second = shop.ingest()
    assert second.state == "unchanged"
    assert (second.generation, second.edition) == (first.generation, first.edition)
    assert second.steps.keys() <= {"open the model"}


def test_a_touched_file_with_the_same_bytes_changes_nothing(shop: Shop) -> None:
    shop.ingest()
    os.utime(shop.file("handbook/data/returns.md"), (1, 1))
    assert shop.ingest().state == "unchanged"


def test_a_changed_file_is_a_new_generation_and_the_rest_is_not_parsed_again(shop: Shop) -> None:
    first = shop.ingest()
    shop.edit("handbook/data/returns.md", "30 days", "60 days")
    second = shop.ingest()
    assert second.generation != first.generation
    assert second.reused == {"files": 3, "vectors": 3}
    assert verify(generation_folder(shop.home, "handbook", first.generation))
    shop.edit("handbook/data/returns.md", "60 days", "30 days")
    third = shop.ingest()
    assert third.generation == first.generation
    assert third.steps.keys() <= {"open the model"}


def test_building_again_by_force_gives_the_same_generation(shop: Shop) -> None:
    first = shop.ingest()
    again = shop.ingest(force=True)
    assert again.generation == first.generation
    assert "embed" in again.steps


def test_policies_and_secrets_are_never_sealed_with_the_data(shop: Shop) -> None:
    shop.ingest()
    names = set(shop.manifest().files)
    assert f"{DESCRIPTORS}/contract.yaml" in names
    assert f"{DESCRIPTORS}/evals.yaml" in names
    assert not any("policy" in name for name in names)


def test_a_change_of_policy_alone_builds_nothing_and_is_in_force(shop: Shop) -> None:
    first = shop.ingest()
    shop.edit("handbook/policy.yaml", "roles: [operator]", "roles: [operator, editor]")
    second = shop.ingest()
    assert second.state == "policy"
    assert second.policy_revision == first.policy_revision + 1
    assert second.edition == first.edition
    assert shop.ingest().state == "unchanged"


def test_a_policy_that_lets_a_forbidden_answer_out_is_not_published(shop: Shop) -> None:
    shop.ingest()
    revision = Ledger(shop.home).policies().number
    shop.edit(
        "handbook/policy.yaml",
        "rows: {field: audience, op: eq, value: public}",
        "rows: {field: audience, op: in, value: [public, internal]}",
    )
    failure = shop.refused()
    assert isinstance(failure, GateFailed)
    assert "america-stays-home" in failure.message
    assert Ledger(shop.home).policies().number == revision


def test_a_product_whose_policy_went_away_shows_nothing(shop: Shop) -> None:
    shop.ingest()
    shop.file("handbook/policy.yaml").unlink()
    shop.file("handbook/evals.yaml").unlink()
    shop.ingest()
    assert Ledger(shop.home).policies().documents["handbook"]["rules"] == []


def test_a_product_that_the_workspace_does_not_have_is_named(shop: Shop) -> None:
    with pytest.raises(UnknownName, match="handbok"):
        shop.ingest("handbok")


def bad_pdf(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7\nnothing more")


def latin(path: Path) -> None:
    path.with_suffix(".md").write_bytes(b"# Gr\xfc\xdfe\n\n\x81\x8d\x8f\x90\x9d unlesbar\n" * 3)


BAD_FILES: list[tuple[str, Callable[[Path], None]]] = [
    ("broken.pdf", bad_pdf),
    ("empty.md", lambda path: path.write_text("") and None),
    ("matter.md", lambda path: path.write_text("---\naudience: [\n---\ntext\n") and None),
    ("program.exe", lambda path: path.write_bytes(b"MZ") and None),
    ("picture.pdf", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n") and None),
]


@pytest.mark.parametrize(("name", "write"), BAD_FILES)
def test_a_file_that_cannot_be_read_is_named_and_stops_or_is_set_aside_as_the_contract_says(
    shop: Shop, name: str, write: Callable[[Path], None]
) -> None:
    shop.edit("handbook/contract.yaml", 'path: "*.md"', 'path: "*"')
    shop.ingest()
    write(shop.file(f"handbook/data/{name}"))
    failure = shop.refused()
    assert isinstance(failure, SourceFailed)
    assert name in failure.message
    assert failure.hint
    assert shop.reports()[-1]["failure"]["code"] == "source_failed"
    shop.edit("handbook/contract.yaml", 'path: "*"', 'path: "*", on_error: set_aside')
    report = shop.ingest()
    assert [one["name"] for one in report.set_aside] == [name]
    assert name in "\n".join(report.lines())
    assert shop.manifest().counts["documents"] == 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "2,EU,bert@example.com,2025-02-10,20.00,\n",
            "2,EU,bert@example.com\n",
            "line 3: 6 fields expected, 3 found",
        ),
        ("20.00", "twenty", "orders.csv, row 2, column 'amount': 'twenty' is not"),
        ("2025-02-10", "10/02/2025", "column 'ordered_on': '10/02/2025' is not"),
        ("order_id,region", "order_id,regoin", "'region' (there is 'regoin')"),
        ("2,EU,bert", "1,EU,bert", "orders.order_id: the primary key is never doubled, but 1 row does not"),
        ("2,EU,bert", "2,,bert", "orders.region: is never empty, but 1 row does not (orders.csv row 2)"),
    ],
)
def test_a_table_that_breaks_its_contract_is_named_by_file_row_and_column(
    shop: Shop, old: str, new: str, said: str
) -> None:
    shop.ingest("sales")
    shop.edit("sales/data/orders.csv", old, new)
    assert said in shop.refused("sales").message


def test_an_undecodable_table_is_named(shop: Shop) -> None:
    shop.ingest("sales")
    path = shop.file("sales/data/orders.csv")
    path.write_bytes(path.read_bytes().replace(b"teal", b"t\x81\x8d\xff"))
    assert "orders.csv" in shop.refused("sales").message


def test_a_missing_folder_is_named(shop: Shop) -> None:
    shop.ingest("sales")
    shop.file("sales/data").rename(shop.file("sales/moved"))
    assert "the folder" in shop.refused("sales").message


def test_an_unknown_column_is_a_warning_and_is_not_sealed(shop: Shop) -> None:
    path = shop.file("sales/data/orders.csv")
    path.write_text(
        "\n".join(f"{line},{'salary' if n == 0 else n}" for n, line in enumerate(path.read_text().splitlines()))
    )
    report = shop.ingest("sales")
    assert any("'salary' is not in the contract" in warning for warning in report.warnings)
    with Library(shop.home, shop.embedding.open).pin() as snapshot:
        assert "salary" not in snapshot.generations["sales"].product.datasets[0].filterable_columns


def test_a_server_that_is_down_is_named_and_the_live_generation_stays(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ingest("sales")
    server = (
        "{server: files, type: postgres, customProperties: [{property: wellhead, value: {dsn: '${SHOP_DSN}'}}]}"
    )
    shop.edit("sales/contract.yaml", "{server: files, type: local, path: data, format: csv}", server)
    assert "SHOP_DSN" in shop.refused("sales").message
    monkeypatch.setenv("SHOP_DSN", f"postgresql:///shop?host={tmp_path}")
    failure = shop.refused("sales")
    assert failure.code == "engine_unavailable"
    assert failure.retryable
    assert str(tmp_path) in failure.message


def test_a_second_ingest_of_the_same_product_is_refused_while_the_first_runs(shop: Shop) -> None:
    with building(shop.home, "handbook"), pytest.raises(Busy, match="another ingest of 'handbook'"):
        shop.ingest()
    assert shop.ingest().state == "published"


def test_two_products_ingested_at_once_are_both_live(shop: Shop) -> None:
    shop.embedding.get()
    reports: dict[str, RunReport] = {}
    threads = [
        threading.Thread(target=lambda name=name: reports.setdefault(name, shop.ingest(name)))
        for name in ("handbook", "sales")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live = Ledger(shop.home).edition().products
    assert live == {name: report.generation for name, report in reports.items()}
    assert set(live) == {"handbook", "sales"}


def test_a_candidate_is_judged_again_when_another_product_was_published_meanwhile(shop: Shop) -> None:
    seen: list[set[str]] = []

    def gate(candidate: Snapshot, product: str) -> Sequence[GateResult]:
        seen.append(set(candidate.generations))
        if len(seen) == 1:
            shop.ingest("sales")
        return []

    shop.ingest("handbook", gates=[gate])
    assert seen == [{"handbook"}, {"handbook", "sales"}]
    assert set(Ledger(shop.home).edition().products) == {"handbook", "sales"}


def test_a_gate_that_fails_keeps_what_is_live_and_leaves_no_stage(shop: Shop) -> None:
    shop.ingest()
    shop.edit("handbook/data/returns.md", "30 days", "31 days")
    failure = shop.refused(gates=[lambda candidate, product: [GateResult("tone", False, "too rude")]])
    assert isinstance(failure, GateFailed)
    assert "tone: too rude" in failure.message


def test_a_wrong_golden_value_stops_the_build(shop: Shop) -> None:
    shop.ingest("sales")
    shop.edit("sales/data/orders.csv", "10.50", "11.50")
    failure = shop.refused("sales")
    assert isinstance(failure, GateFailed)
    assert "revenue-eu" in failure.message


def test_a_generation_that_was_sealed_but_not_published_is_published_without_building(shop: Shop) -> None:
    calls: list[str] = []

    def late(candidate: Snapshot, product: str) -> Sequence[GateResult]:
        calls.append(product)
        if len(calls) == 1:
            shop.ingest("sales")
        return [GateResult("late", len(calls) != 2, "the second edition does not please")]

    with pytest.raises(GateFailed):
        shop.ingest(gates=[late])
    assert set(Ledger(shop.home).edition().products) == {"sales"}
    report = shop.ingest()
    assert report.state == "published"
    assert report.steps.keys() <= {"open the model"}


def test_a_damaged_live_generation_is_built_anew_under_its_own_id(shop: Shop) -> None:
    first = shop.ingest()
    folder = generation_folder(shop.home, "handbook", first.generation)
    vectors = folder / "vectors" / "index.faiss"
    vectors.write_bytes(vectors.read_bytes()[:-9])
    with pytest.raises(CorruptGeneration, match=r"index\.faiss"), Library(shop.home, shop.embedding.open).pin():
        pass
    second = shop.ingest()
    assert second.generation == first.generation
    assert read_manifest(folder) == verify(folder)


def test_a_generation_rolled_back_from_goes_live_again_by_the_next_ingest(shop: Shop) -> None:
    first = shop.ingest()
    ledger = Ledger(shop.home)
    ledger.publish(replace(ledger.edition(), products={}), {}, action="rollback", by="test")
    report = shop.ingest()
    assert (report.state, report.generation) == ("published", first.generation)
    assert report.steps.keys() <= {"open the model"}


def test_the_watermark_is_the_newest_moment_of_the_column_that_the_service_level_names(shop: Shop) -> None:
    assert shop.ingest("sales").watermark == "2025-03-15T00:00:00+00:00"
    assert shop.ingest("handbook").watermark == ""


def test_rows_are_found_by_their_key_and_their_texts_are_searched(shop: Shop) -> None:
    shop.ingest("sales")
    with Library(shop.home, shop.embedding.open).pin() as snapshot:
        generation = snapshot.generations["sales"]
        assert generation.tables.numbers_of("orders", "3") != []
        [chunk] = generation.tables.texts(generation.tables.numbers_of("orders", "3"))
        assert chunk.text == "The left boot squeaks when it rains."
        assert chunk.text_column == "remark"


def test_a_column_with_the_table_engines_own_name_is_a_mistake_in_the_contract(shop: Shop) -> None:
    shop.edit(
        "sales/contract.yaml", "{name: amount,", "{name: rowid, logicalType: integer}\n      - {name: amount,"
    )
    with pytest.raises(InvalidWorkspace, match="physicalName: rowid"):
        shop.ingest("sales")
