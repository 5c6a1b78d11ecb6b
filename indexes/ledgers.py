"""Which ledgers there are, and how the one that the settings name is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from indexes.ledger import Ledger
from indexes.postgres.ledger import PostgresLogs
from semantic_layer.environment import filled
from semantic_layer.settings import LedgerEngine, PostgresSettings


def open_ledger(
    home: Path, engine: LedgerEngine, postgres: PostgresSettings, environment: Mapping[str, str]
) -> Ledger:
    """The ledger of a home; in PostgreSQL it is connected to when first used.

    Raises InvalidArgument where a variable that the DSN names is not set, or where the home's ledger lies in
    PostgreSQL and the settings say files.
    """
    if engine == "files":
        return Ledger(home)
    dsn = filled(postgres.dsn, environment, where="`ledger: postgres`")
    return Ledger(home, PostgresLogs(home, dsn, postgres.schema))
