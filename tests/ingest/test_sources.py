"""Which files and rows a dataset is made of, and what a user is told when they are not as promised."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.sources.fingerprint import Fingerprints
from ingest.sources.local import find_files
from ingest.sources.opened import open_sources
from ingest.sources.rows import file_rows
from semantic_layer.errors import InvalidArgument, SourceFailed
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, DatasetKind, Server

LONG_AGO = 1_600_000_000


def dataset(*columns: Column, kind: DatasetKind = "table", path: str = "", name: str = "sales") -> Dataset:
    declared = columns or (Column("id", ColumnType.STRING), Column("region", ColumnType.STRING))
    return Dataset(name, kind, declared, physical_name=name, path=path, server="files")


def product(folder: Path, one: Dataset, path: str = "data", kind: str = "local") -> DataProduct:
    server = Server("files", kind, path)
    return DataProduct("shop", "1", "c", "active", "1", datasets=(one,), servers=(server,), folder=str(folder))


def write(path: Path, text: str = "id,region\n1,EU\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows_in(path: Path, one: Dataset, notes: list[str] | None = None) -> list[dict[str, Any]]:
    [file] = find_files(one, path)
    return list(file_rows(one, file, Server("files", "local"), (notes if notes is not None else []).append))


@pytest.mark.parametrize("name", ["sales.csv", "sales.parquet", "sales.jsonl", "sales", "sales/2025.csv"])
def test_a_dataset_finds_its_file_by_its_physical_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert [file.name for file in find_files(dataset(), tmp_path)] == [name]


def test_a_pattern_takes_every_file_that_matches_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b/2.csv", "a/1.csv", "a/1.txt", ".hidden.csv", "a/~$1.csv"):
        write(tmp_path / name)
    assert [file.name for file in find_files(dataset(path="**/*.csv"), tmp_path)] == ["a/1.csv", "b/2.csv"]


def test_documents_without_a_pattern_are_all_files_below_the_folder(tmp_path: Path) -> None:
    for name in ("returns.md", "de/umtausch.md", ".git/config"):
        write(tmp_path / name)
    found = find_files(dataset(kind="document", name="handbook"), tmp_path)
    assert [file.name for file in found] == ["de/umtausch.md", "returns.md"]


def test_a_server_may_name_one_file_or_a_pattern_itself(tmp_path: Path) -> None:
    write(tmp_path / "[2025]" / "x.csv")
    assert [file.name for file in find_files(dataset(), tmp_path / "[2025]" / "x.csv")] == ["x.csv"]
    assert [file.name for file in find_files(dataset(), tmp_path / "*" / "*.csv")] == ["[2025]/x.csv"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match=f"'sales': the folder {tmp_path / 'gone'} is not there"):
        find_files(dataset(), tmp_path / "gone")


def test_a_pattern_that_matches_nothing_is_named_with_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "seles.csv")
    with pytest.raises(SourceFailed) as failure:
        find_files(dataset(path="sales.csv"), tmp_path)
    assert "no file in" in failure.value.message
    assert "There is 'seles.csv'" in failure.value.hint


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "a/../../b"])
def test_a_path_never_leaves_the_servers_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceFailed, match="leaves the server's folder"):
        find_files(dataset(path=path), tmp_path)


def test_an_empty_field_of_a_csv_is_null(tmp_path: Path) -> None:
    write(tmp_path / "sales.csv", "id,region\n1,\n")
    assert rows_in(tmp_path, dataset()) == [{"id": "1", "region": None}]


def test_a_column_of_another_name_in_the_file_is_read_under_the_contracts_name(tmp_path: Path) -> None:
    write(tmp_path / "sales.csv", "ID,area\n1,EU\n")
    columns = (
        Column("id", ColumnType.STRING, physical_name="ID"),
        Column("region", ColumnType.STRING, physical_name="area"),
    )
    assert rows_in(tmp_path, dataset(*columns)) == [{"id": "1", "region": "EU"}]


def test_every_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path / "sales.csv", "key,regoin\n1,EU\n")
    with pytest.raises(SourceFailed) as failure:
        rows_in(tmp_path, dataset())
    assert failure.value.message.startswith(f"{path} lacks the columns 'id', 'region' (there is 'regoin')")


def test_a_column_the_contract_does_not_declare_is_noted_and_left_out(tmp_path: Path) -> None:
    write(tmp_path / "sales.csv", "id,region,salary\n1,EU,9\n")
    notes: list[str] = []
    assert rows_in(tmp_path, dataset(), notes) == [{"id": "1", "region": "EU"}]
    assert notes == ["sales.csv: column 'salary' is not in the contract of 'sales' and is not sealed"]


def test_nested_records_are_flattened_by_the_contracts_paths(tmp_path: Path) -> None:
    write(tmp_path / "items.jsonl", '{"id": 1, "attributes": {"colour": "red"}, "secret": 2}\n')
    columns = (
        Column("id", ColumnType.INTEGER),
        Column("colour", ColumnType.STRING, path="$.attributes.colour"),
        Column("size", ColumnType.STRING),
    )
    notes: list[str] = []
    found = rows_in(tmp_path, dataset(*columns, kind="record", name="items"), notes)
    assert found == [{"id": 1, "colour": "red", "size": None}]
    assert any("'secret' is not in the contract" in note for note in notes)
    assert any("no record has the key 'size'" in note for note in notes)


def test_a_server_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    opened = open_sources(product(tmp_path, dataset(), kind="s3"), Fingerprints(tmp_path / "f.json"), {})
    with pytest.raises(SourceFailed, match="a server of type 's3' cannot be read"), opened:
        pass


def test_a_variable_in_a_path_is_filled_in_or_named(tmp_path: Path) -> None:
    write(tmp_path / "here" / "sales.csv")
    one = product(tmp_path, dataset(), path="${PLACE}")
    with open_sources(one, Fingerprints(tmp_path / "f.json"), {"PLACE": "here"}) as sources:
        assert [entry.name for entry in sources.inputs] == ["files:sales/sales.csv"]
    with pytest.raises(InvalidArgument, match="PLACE"), open_sources(one, Fingerprints(tmp_path / "f.json"), {}):
        pass


def test_a_file_that_changes_while_it_is_read_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "data" / "sales.csv", "id,region\n" + "1,EU\n" * 5)
    with open_sources(product(tmp_path, dataset()), Fingerprints(tmp_path / "f.json"), {}) as sources:
        [group] = sources.groups(dataset(), print)
        rows = group.read()
        next(rows)
        path.write_text("id,region\n2,US\n")
        with pytest.raises(SourceFailed, match="changed while it was read"):
            list(rows)


def digests(root: Path, memory: Path, counted: Callable[[Path], str] | None = None) -> dict[str, str]:
    fingerprints = Fingerprints(memory)
    found = fingerprints.of(find_files(dataset(path="*.csv"), root))
    fingerprints.remember()
    return found


def test_a_settled_file_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "sales.csv")
    os.utime(path, (LONG_AGO, LONG_AGO))
    monkeypatch.setattr("ingest.sources.fingerprint._SETTLED_NS", -1)
    first = digests(tmp_path, tmp_path / "memory.json")
    monkeypatch.setattr("ingest.sources.fingerprint.sha256_of_file", lambda path: pytest.fail("read again"))
    assert digests(tmp_path, tmp_path / "memory.json") == first


def test_a_file_written_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "sales.csv")
    first = digests(tmp_path, tmp_path / "memory.json")
    status = path.stat()
    path.write_text("id,region\n2,EU\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digests(tmp_path, tmp_path / "memory.json") != first


def test_a_damaged_memory_of_digests_is_only_slow(tmp_path: Path) -> None:
    write(tmp_path / "sales.csv")
    (tmp_path / "memory.json").write_text("{")
    assert list(digests(tmp_path, tmp_path / "memory.json")) == ["sales.csv"]
