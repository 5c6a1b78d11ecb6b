"""The environment over wellhead.yaml: what is a setting, what a contract asked for, and what is a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from semantic_layer.door import Door
from semantic_layer.errors import InvalidWorkspace
from semantic_layer.settings import PostgresSettings
from tests.semantic_layer.conftest import CONTRACT, SETTINGS, Write

BY_DSN = CONTRACT.replace(
    "{server: files, type: local, path: data, format: csv}",
    '{server: files, type: postgres, customProperties: [{property: wellhead, value: {dsn: "${WELLHEAD_SHOP_DSN}"}}]}',
)


def test_a_variable_that_a_contract_names_is_no_slip(workspace: Write) -> None:
    door = Door(workspace(contract=BY_DSN), {"WELLHEAD_SHOP_DSN": "postgresql:///shop"})
    assert door.settings.name == "shop"


def test_a_variable_that_a_sealed_contract_names_is_no_slip_where_products_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "wellhead.yaml").write_text(SETTINGS)
    sealed = tmp_path / ".wellhead/generations/orders/0123456789abcdef/descriptors"
    sealed.mkdir(parents=True)
    (sealed / "contract.yaml").write_text(BY_DSN)
    assert Door(tmp_path, {"WELLHEAD_SHOP_DSN": "postgresql:///shop"}).settings.name == "shop"


def test_a_variable_near_one_that_a_contract_names_is_a_slip(workspace: Write) -> None:
    with pytest.raises(InvalidWorkspace, match="no setting WELLHEAD_SHOP_DNS"):
        _ = Door(workspace(contract=BY_DSN), {"WELLHEAD_SHOP_DNS": "postgresql:///shop"}).settings


def test_the_ledger_is_chosen_by_the_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "wellhead.yaml").write_text(SETTINGS + 'postgres: {dsn: "${TEAM_DSN}"}\n')
    assert Door(tmp_path, {}).settings.ledger == "files"
    chosen = Door(tmp_path, {"WELLHEAD_LEDGER": "postgres", "WELLHEAD_POSTGRES_SCHEMA": "shop"}).settings
    assert (chosen.ledger, chosen.postgres) == ("postgres", PostgresSettings("${TEAM_DSN}", "shop"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ledger: redis", "`ledger` cannot be 'redis'"),
        ("postgres: {dsn: 'postgresql://me:secret@db/shop'}", "`dsn` holds a password"),
        ("postgres: {dsn: 'host=db password=secret'}", "`dsn` holds a password"),
        ("postgres: {schema: 'a b'}", "'a b' cannot name a schema"),
        ("postgres: {port: 5432}", "has no key 'port'"),
    ],
)
def test_a_mistake_about_the_ledger_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "wellhead.yaml").write_text(f"{SETTINGS}{line}\n")
    with pytest.raises(InvalidWorkspace) as mistakes:
        _ = Door(tmp_path, {}).settings
    assert said in mistakes.value.message
    assert "secret" not in mistakes.value.message
