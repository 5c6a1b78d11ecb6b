"""How long a live `lookup` takes beside bare psycopg on the same table: `python -m evals.bench_lookup`."""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from evals.targets import Target
from indexes.engines import build_tables, open_tables
from indexes.generation import Manifest
from indexes.ledger import Edition, Tombstones
from indexes.library import LiveGeneration, Snapshot
from indexes.live import LiveRecords
from indexes.lookup import RecordQuestion, lookup
from indexes.postgres.connection import connect
from indexes.postgres.embedded import embedded_postgres
from indexes.postgres.load import load_tables
from semantic_layer.catalog import Catalog, CatalogEntry
from semantic_layer.mask import Mask
from semantic_layer.policy import Action, ColumnChoice, Grants, Policy, Rule, decide
from semantic_layer.predicate import TRUE, Compare, Predicate
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, Server

SEED = 3
WARM = 50
TARGET = Target(at_most=3.0)
BARE = "SELECT id, region, team, email FROM tickets WHERE id = %s"
SCHEMA = "CREATE TABLE tickets (id int8 PRIMARY KEY, region text, team int4, email text);"
COLUMNS = ("id", "region", "team", "email")
TICKETS = Dataset(
    name="tickets",
    kind="table",
    columns=(
        Column("id", ColumnType.INTEGER, key_position=1),
        Column("region", ColumnType.STRING),
        Column("team", ColumnType.INTEGER),
        Column("email", ColumnType.STRING, classification="personal"),
    ),
    live=True,
)
CALLERS: Mapping[str, tuple[Predicate, Mapping[str, Mask]]] = {
    "every row": (TRUE, {}),
    "own region, email masked": (Compare("region", "eq", "EU"), {"email": Mask("last4")}),
}
"""What each caller's rule says of rows and masks."""


def product(dsn: str) -> DataProduct:
    """A product of one live table."""
    server = Server("db", "postgres", options={"dsn": dsn})
    return DataProduct("bench", "1", "bench", "active", "v3.1.0", datasets=(TICKETS,), servers=(server,))


def serve(folder: Path, bench: DataProduct) -> LiveGeneration:
    """A generation of the product with empty sealed tables: what is looked up is live."""
    counts = build_tables(folder, bench).seal()
    manifest = Manifest("bench", "bench", "", (), {}, "", "", counts, {}, (), (), {}, {})
    return LiveGeneration("bench", folder, manifest, bench, None, open_tables(folder, bench))


def measure(dsn: str, generation: LiveGeneration, keys: Sequence[int]) -> dict[str, Any]:
    """Milliseconds of `lookup` by key and of bare psycopg, turn by turn on the same keys."""
    catalog = Catalog({"bench": CatalogEntry(generation.product, None, generation.id)})
    edition = Edition(1, {"bench": generation.id}, "publish", "", "")
    snapshot = Snapshot(edition, {"bench": generation}, catalog, {}, 0, Tombstones())
    figures: dict[str, Any] = {}
    with closing(LiveRecords({})) as live, connect(dsn, autocommit=True) as bare:
        for name, (rows, masks) in CALLERS.items():
            grants = _grants(generation.product, rows, masks)

            def ask(key: int, grants: Grants = grants) -> None:
                asked = RecordQuestion("bench", "tickets", key=key)
                lookup(snapshot, asked, grants, deadline_seconds=10.0, open_live=live.open)

            pairs = [(_ms(lambda k=k: bare.execute(BARE, (k,)).fetchall()), _ms(lambda k=k: ask(k))) for k in keys]
            figures[name] = _figures(*zip(*pairs[WARM:], strict=True))
    return figures


def _figures(bare: Sequence[float], whole: Sequence[float]) -> dict[str, Any]:
    added = float(np.median(whole)) - float(np.median(bare))
    return {
        "p50_ms": round(float(np.median(whole)), 3),
        "p95_ms": round(float(np.percentile(whole, 95)), 3),
        "bare_p50_ms": round(float(np.median(bare)), 3),
        "added_p50_ms": TARGET.judged(added),
    }


def _grants(bench: DataProduct, rows: Predicate, masks: Mapping[str, Mask]) -> Grants:
    shown = ColumnChoice(excluded=frozenset(masks))
    actions = frozenset({Action.DISCOVER, Action.LOOKUP})
    rule = Rule("all", frozenset({"*"}), actions, columns=shown, masks=masks, rows=rows)
    return {"bench": decide(Principal("bench"), bench, Action.LOOKUP, Policy("bench", (rule,)))}


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Fill a table, measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--lookups", type=int, default=1_000)
    parser.add_argument("--dsn", help="a database to fill instead of the embedded server")
    options = parser.parse_args()
    chance = random.Random(SEED)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = options.dsn or stack.enter_context(embedded_postgres(folder / "postgres"))
        rows = (
            (n, "EU" if n % 10 < 3 else "US", n % 100, f"customer{n}@example.com") for n in range(options.rows)
        )
        load_tables(dsn, SCHEMA, [("tickets", COLUMNS, rows)])
        generation = serve(folder, product(dsn))
        keys = [chance.randrange(options.rows) for _ in range(options.lookups + WARM)]
        figures = measure(dsn, generation, keys)
        generation.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": options.rows, "lookup": figures, "peak_bytes": memory}, indent=2))


if __name__ == "__main__":
    main()
