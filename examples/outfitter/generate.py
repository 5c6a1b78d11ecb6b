"""Writes the outfitter's data: `python -m examples.outfitter.generate TARGET [--seed 7] [--orders 20000]`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from examples.outfitter.customers import Customer
from examples.outfitter.files import write_csv, write_json_lines, write_parquet
from examples.outfitter.pages import read_pages
from examples.outfitter.postgres import SCHEMA, copy_script, tables_of
from examples.outfitter.render import render
from examples.outfitter.shop import Shop, make_shop
from examples.outfitter.stock import StockLevel
from examples.outfitter.tickets import Ticket
from examples.outfitter.visits import Visit

SEED = 7
ORDERS = 20_000
"""The evaluation cases hold for this seed and number of orders."""

POSTGRES_SCHEMA = SCHEMA


def generate(target: Path, seed: int = SEED, orders: int = ORDERS) -> None:
    """Write every product's data below `target/products/*/data` and the order database below `target/postgres`.

    The same seed and number of orders give the same bytes, PDF and DOCX included. No network, no clock.
    Files of an earlier run are overwritten, and others are left alone.
    """
    shop = make_shop(seed, orders)
    products = target / "products"
    _write_tables(products, shop)
    _write_handbook(products / "handbook" / "data")
    _write_postgres(target / "postgres", shop)


def postgres_tables(
    seed: int = SEED, orders: int = ORDERS
) -> Iterator[tuple[str, tuple[str, ...], Iterator[tuple[Any, ...]]]]:
    """(name, columns, rows) of each table that POSTGRES_SCHEMA declares, ready for COPY.

    Rows are tuples of str, int, timezone-aware datetime or None, in primary key order.
    """
    for table in tables_of(make_shop(seed, orders).sales):
        yield table.name, table.columns, iter(table.rows)


def _write_tables(products: Path, shop: Shop) -> None:
    write_csv(products / "customers" / "data" / "customers.csv", Customer._fields, shop.customers)
    write_json_lines(products / "catalogue" / "data" / "items.jsonl", (item.document() for item in shop.items))
    for month, rows in groupby(shop.stock, key=lambda level: level.day.strftime("%Y-%m")):
        write_csv(products / "inventory" / "data" / f"stock-{month}.csv", StockLevel._fields, rows)
    write_parquet(products / "web" / "data" / "visits.parquet", Visit._fields, shop.visits)
    write_csv(products / "support" / "data" / "tickets.csv", Ticket._fields, shop.tickets)


def _write_handbook(folder: Path) -> None:
    for page in read_pages():
        file = folder / page.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(render(page))


def _write_postgres(folder: Path, shop: Shop) -> None:
    for table in tables_of(shop.sales):
        write_csv(folder / f"{table.name}.csv", table.columns, table.rows)
    (folder / "schema.sql").write_text(copy_script(), encoding="utf-8")


def main() -> None:
    """Read the command line and generate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "target", type=Path, help="the workspace to fill, for example a copy of examples/outfitter"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--orders", type=int, default=ORDERS)
    arguments = parser.parse_args()
    generate(arguments.target, arguments.seed, arguments.orders)


if __name__ == "__main__":
    main()
