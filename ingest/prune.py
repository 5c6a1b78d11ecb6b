"""`wellhead prune`: removes the generations that retention no longer keeps, or shows which these are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing

import click

from indexes import ledger as entries
from indexes import ledgers
from indexes import retention as keeping
from indexes import servers as engine_servers
from indexes.commands import as_json
from indexes.generation import building
from ingest import on_servers
from semantic_layer.door import Door
from semantic_layer.errors import UnknownName
from semantic_layer.settings import WorkspaceSettings

_SAID = {"removed": "removed", "surplus": "would be removed", "held": "kept: a process is reading it"}


@click.command()
@click.argument("products", nargs=-1, metavar="[PRODUCT]…")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; touch nothing.")
@as_json
@click.pass_obj
def prune(door: Door, products: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Remove sealed generations that no edition within `retention` names and that no process is reading.

    Each ingest does the same for its product, unless `retention.automatic` is false. What was removed cannot be rolled
    back to, promoted or replayed. Policies, tombstones and the list of editions stay.

    \b
    Examples:
      wellhead prune --dry-run
      wellhead prune orders
    """
    settings = door.settings
    engines = engine_servers.Servers(settings.engines.below(door.root), os.environ, settings.postgres)
    with (
        closing(ledgers.open_ledger(door.home, settings.ledger, settings.postgres, os.environ)) as ledger,
        closing(engines) as servers,
    ):
        names = _names(ledger, products)
        found = [one for name in names for one in _pruned(ledger, name, settings, servers, dry_run=dry_run)]
    if as_json:
        click.echo(json.dumps([one.entry() for one in found]))
        return
    for one in found:
        click.echo(f"{one.product}/{one.generation}: {_SAID[one.fate]} ({one.bytes / 2**20:,.1f} MiB)")
    freed = sum(one.bytes for one in found if one.fate != "held") / 2**20
    click.echo(f"{freed:,.1f} MiB {'would be' if dry_run else 'were'} freed")


def _names(ledger: entries.Ledger, asked: Sequence[str]) -> list[str]:
    """The products to look at: those asked for, or all that have generations."""
    known = sorted(path.name for path in (ledger.home / "generations").glob("*") if path.is_dir())
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UnknownName("product", unknown[0], known)
    return list(asked) or known


def _pruned(
    ledger: entries.Ledger,
    product: str,
    settings: WorkspaceSettings,
    servers: engine_servers.Servers,
    *,
    dry_run: bool,
) -> Iterator[keeping.Surplus]:
    if dry_run:
        yield from keeping.surplus(ledger, product, settings.retention, keeping.utc_now())
        return
    with building(ledger.home, product):
        yield from keeping.collect(ledger, product, settings.retention, keeping.utc_now())
        on_servers.sweep_tables(ledger.home, product, servers)
        on_servers.sweep_servers(ledger, product, servers)
