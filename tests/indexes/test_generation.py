"""Sealing, verifying and damaging generations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from indexes.generation import (
    Input,
    Manifest,
    Stage,
    building,
    generation_folder,
    generation_id,
    new_manifest_moment,
    sealed_generations,
    verify,
)
from semantic_layer.errors import Busy, CorruptGeneration


def manifest(generation: str = "g1") -> Manifest:
    return Manifest(
        product="orders",
        generation=generation,
        created_at=new_manifest_moment(),
        inputs=(Input("a.csv", "00", 3),),
        recipe={"parser": "1"},
        contract_fingerprint="c",
        watermark="",
        counts={"chunks": 0},
        engines={},
        gates=(),
        set_aside=(),
        build={"seconds": 0.1},
        files={},
    )


def sealed(home: Path, generation: str = "g1") -> Path:
    stage = Stage(home, "orders")
    (stage.folder / "tables.duckdb").write_bytes(b"tables" * 100)
    (stage.folder / "vectors" / "flat.index").write_bytes(b"vectors" * 100)
    stage.seal(manifest(generation))
    return generation_folder(home, "orders", generation)


def test_a_sealed_generation_verifies_and_reads_back(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    read = verify(folder)
    assert read.inputs == (Input("a.csv", "00", 3),)
    assert set(read.files) == {"tables.duckdb", "vectors/flat.index"}
    assert [one.generation for one in sealed_generations(tmp_path, "orders")] == ["g1"]
    assert list((tmp_path / "stages").iterdir()) == []


@pytest.mark.parametrize("name", ["tables.duckdb", "vectors/flat.index"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_to_any_file_is_found_and_named(tmp_path: Path, name: str, damage: str) -> None:
    folder = sealed(tmp_path)
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[57] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with pytest.raises(CorruptGeneration, match=name):
        verify(folder)


def test_a_file_that_was_not_sealed_is_refused(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    (folder / "vectors" / "extra").write_text("x")
    with pytest.raises(CorruptGeneration, match="extra"):
        verify(folder)


def test_a_damaged_generation_is_replaced_by_building_it_again(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    (folder / "tables.duckdb").write_bytes(b"bad")
    assert verify(sealed(tmp_path)).generation == "g1"


def test_one_built_again_replaces_a_whole_folder_only_where_it_names_other_matter_on_a_server(
    tmp_path: Path,
) -> None:
    def built(digest: str, moment: str) -> Manifest:
        facts = {"vectors": {"engine": "pgvector", "table": "vectors_1", "digest": digest}}
        return Stage(tmp_path, "orders").seal(replace(manifest(), engines=facts, created_at=moment))

    folder = generation_folder(tmp_path, "orders", "g1")
    built("a", "first")
    assert built("a", "again").created_at == verify(folder).created_at == "first"
    assert built("b", "other").created_at == verify(folder).created_at == "other"
    assert list((tmp_path / "stages").iterdir()) == []


def test_what_a_kill_left_in_the_stages_is_removed_by_the_next_build(tmp_path: Path) -> None:
    left = Stage(tmp_path, "orders").folder
    other = Stage(tmp_path, "orders-eu").folder
    stage = Stage(tmp_path, "orders")
    assert not left.exists()
    assert other.exists()
    shutil.rmtree(stage.folder)


def test_two_builds_of_one_product_do_not_run_at_once(tmp_path: Path) -> None:
    with building(tmp_path, "orders"):
        with pytest.raises(Busy, match="orders"), building(tmp_path, "orders"):
            pass
        with building(tmp_path, "handbook"):
            pass
    with building(tmp_path, "orders"):
        pass


def test_the_id_follows_inputs_recipe_and_contract_and_not_their_order() -> None:
    one, two = Input("a", "1"), Input("b", "2")
    base = generation_id("p", [one, two], {"parser": "1"}, "c")
    assert base == generation_id("p", [two, one], {"parser": "1"}, "c")
    assert base != generation_id("p", [one], {"parser": "1"}, "c")
    assert base != generation_id("p", [one, two], {"parser": "2"}, "c")
    assert base != generation_id("p", [one, two], {"parser": "1"}, "d")
    assert base != generation_id("q", [one, two], {"parser": "1"}, "c")
