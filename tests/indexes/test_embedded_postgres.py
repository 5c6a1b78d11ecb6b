"""The embedded PostgreSQL starts on its folder, or says in a sentence why not and what to do."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.postgres.connection import connect
from indexes.postgres.embedded import embedded_postgres
from semantic_layer.errors import EngineUnavailable

pytestmark = pytest.mark.postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside pytest's own, which root alone reads."""
    made = Path(tempfile.mkdtemp(prefix="wellhead-postgres-"))
    try:
        yield made / "data"
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_data_of_another_user_are_named_with_the_command_that_hands_them_over(folder: Path) -> None:
    with embedded_postgres(folder) as dsn, connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, 0)  # what a copy made by root looks like
    with pytest.raises(EngineUnavailable) as failure, embedded_postgres(folder):
        pass
    assert failure.value.message == (
        f"the embedded PostgreSQL runs as pgserver, and its data in {folder} belong to root."
    )
    assert f"`chown -R pgserver {folder}`" in failure.value.hint
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "pgserver")
    with embedded_postgres(folder) as dsn, connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchall() == [(0,)]


def test_what_keeps_it_from_starting_is_told_in_its_own_words(folder: Path) -> None:
    with embedded_postgres(folder):
        pass
    with (folder / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = 'much'\n")
    with pytest.raises(EngineUnavailable) as failure, embedded_postgres(folder):
        pass
    assert 'postgresql.conf" contains errors.' in failure.value.message
    assert str(folder / "log") in failure.value.hint
