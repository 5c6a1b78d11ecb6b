"""`wellhead doctor`: what it finds on a sound workspace, and how each fault is named with its exit code."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from indexes.generation import generation_folder
from indexes.ledger import Ledger
from ingest.diagnose import home
from ingest.doctor import doctor
from semantic_layer.door import Door
from tests.workspace_factory import BuiltWorkspace, build_workspace


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    return build_workspace("tiny", tmp_path_factory.mktemp("doctor") / "shop", model_home)


@pytest.fixture
def shop(tmp_path: Path, built: BuiltWorkspace) -> BuiltWorkspace:
    return BuiltWorkspace(Path(shutil.copytree(built.root, tmp_path / "shop", symlinks=True)))


def look(root: Path | None, expected: int, environment: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(doctor, ["--json"], obj=Door(root, environment or {}), standalone_mode=False)
    assert result.exception is None, result.exception
    report = json.loads(result.stdout)
    faults = [finding for finding in report["findings"] if finding["state"] != "ok"]
    assert result.return_value == expected, faults
    assert report["ok"] == (expected == 0)
    assert all(finding["fix"] for finding in faults)
    return {finding["check"]: finding for finding in report["findings"]}


def test_a_sound_workspace_has_only_good_findings(shop: BuiltWorkspace) -> None:
    found = look(shop.root, 0)
    assert "duckdb" in found["engine tables"]["said"]
    assert found["ledger"]["said"].startswith("edition ")
    assert "match their checksums" in found["generation handbook"]["said"]
    assert any(check.startswith("model ") and "opens" in one["said"] for check, one in found.items())
    assert any(check.startswith("source ") for check in found)


def test_without_a_workspace_the_machine_alone_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = look(None, 0)
    assert found["workspace"]["state"] == "warn"
    assert "wellhead init" in found["workspace"]["fix"]
    assert "ledger" not in found


def test_a_damaged_generation_is_named_with_exit_code_7(shop: BuiltWorkspace) -> None:
    folder = generation_folder(shop.home, "handbook", Ledger(shop.home).edition().products["handbook"])
    tables = folder / "tables.duckdb"
    tables.chmod(0o644)
    tables.write_bytes(tables.read_bytes()[:-1] + b"x")
    found = look(shop.root, 7)
    assert "tables.duckdb" in found["generation handbook"]["said"]
    assert "wellhead ingest handbook" in found["generation handbook"]["fix"]


def test_a_generation_that_is_gone_is_named_with_exit_code_7(shop: BuiltWorkspace) -> None:
    folder = generation_folder(shop.home, "handbook", Ledger(shop.home).edition().products["handbook"])
    folder.rename(folder.with_name("elsewhere"))
    assert "is missing" in look(shop.root, 7)["generation handbook"]["said"]


def test_a_mistake_in_a_file_gives_exit_code_3(shop: BuiltWorkspace) -> None:
    policy = shop.root / "products" / "handbook" / "policy.yaml"
    policy.write_text(policy.read_text() + "surprise: 1\n")
    assert "surprise" in look(shop.root, 3)["workspace"]["said"]


def test_a_mistake_in_the_evaluations_is_found_too(shop: BuiltWorkspace) -> None:
    (shop.root / "products" / "handbook" / "evals.yaml").write_text("version: 1\nretrieval: [{id: a}]\n")
    assert "evals.yaml:2" in look(shop.root, 3)["workspace"]["said"]


def test_an_unknown_setting_gives_exit_code_3(shop: BuiltWorkspace) -> None:
    assert "WELLHEAD_SERVER_PORTT" in look(shop.root, 3, {"WELLHEAD_SERVER_PORTT": "1"})["settings"]["said"]


def test_an_environment_variable_that_is_not_set_is_named(
    shop: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_postgres(shop.root, "${SHOP_TEST_DSN}")
    monkeypatch.delenv("SHOP_TEST_DSN", raising=False)
    assert "SHOP_TEST_DSN" in look(shop.root, 1)["variable SHOP_TEST_DSN"]["said"]


def test_a_postgres_server_that_is_down_gives_exit_code_5(
    shop: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_postgres(shop.root, "${SHOP_TEST_DSN}")
    monkeypatch.setenv("SHOP_TEST_DSN", "postgresql://nobody:secret@127.0.0.1:1/shop")
    finding = look(shop.root, 5)["source extra.db"]
    assert "127.0.0.1:1" in finding["said"]
    assert "secret" not in json.dumps(finding)


def add_postgres(root: Path, dsn: str) -> None:
    folder = root / "products" / "extra"
    folder.mkdir()
    (folder / "contract.yaml").write_text(
        "apiVersion: v3.1.0\nkind: DataContract\nid: extra\nversion: 1.0.0\nstatus: active\n"
        "servers:\n  - server: db\n    type: postgres\n    host: x\n    port: 1\n    database: x\n    schema: s\n"
        f'    customProperties: [{{property: wellhead, value: {{dsn: "{dsn}"}}}}]\n'
        "schema:\n  - name: t\n    properties: [{name: id, logicalType: integer}]\n"
    )
    (folder / "policy.yaml").write_text("version: 1\nrules: []\n")


def test_a_source_folder_that_is_gone_is_named(shop: BuiltWorkspace) -> None:
    data = next(path for path in (shop.root / "products" / "handbook").iterdir() if path.is_dir())
    data.rename(data.with_name("moved"))
    found = look(shop.root, 1)
    assert any(one["state"] == "fail" and "is not there" in one["said"] for one in found.values())


def test_a_clock_before_the_newest_edition_is_told(shop: BuiltWorkspace) -> None:
    newest = max((shop.home / "ledger" / "editions").iterdir())
    entry = json.loads(newest.read_text())
    newest.chmod(0o644)
    newest.write_text(json.dumps({**entry, "at": "2999-01-01T00:00:00+00:00"}))
    assert look(shop.root, 0)["clock"]["state"] == "warn"


def test_a_shared_file_system_with_another_clock_is_told(
    shop: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "written_at", lambda path: path.stat().st_mtime - 90)
    assert "-90 s from this machine's" in look(shop.root, 0)["home"]["said"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_written_is_named(shop: BuiltWorkspace) -> None:
    shop.home.chmod(0o555)
    try:
        assert "cannot be written" in look(shop.root, 1)["home"]["said"]
    finally:
        shop.home.chmod(0o755)
