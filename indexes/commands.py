"""The commands of whoever operates a workspace: what is live, how it came to be, and moving it."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from indexes import ledger as entries
from indexes import ledgers, release, retention, servers
from indexes.generation import MANIFEST, generations_folder, sealed_generations
from indexes.jobs import JobStore
from semantic_layer.door import Door

MOST_COLUMNS = 10_000

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@as_json
@click.pass_obj
def status(door: Door, as_json: bool) -> None:
    """What is live: the edition, each product's generation, and the newest jobs.

    \b
    Examples:
      wellhead status
      wellhead status --json | jq .products
    """
    with _ledger(door) as ledger:
        edition = ledger.edition()
        live = sorted(edition.products.items())
        products = [{**_product_row(door, name, one), **_kept(door, ledger, name)} for name, one in live]
    jobs = [
        {"job": job.id, "state": job.state, "by": job.principal, "submitted_at": job.submitted_at}
        for job in JobStore(door.home).jobs(limit=5)
    ]
    if as_json:
        click.echo(json.dumps({"edition": edition.number, "at": edition.at, "products": products, "jobs": jobs}))
        return
    if not edition.number:
        click.echo("Nothing is live yet. Run `wellhead ingest`.")
        return
    click.echo(f"edition {edition.number}, {edition.action} by {edition.by} at {edition.at}")
    _print_table(products)
    if jobs:
        _print_table(jobs)


def _product_row(door: Door, product: str, generation: str) -> dict[str, Any]:
    manifest = next((one for one in sealed_generations(door.home, product) if one.generation == generation), None)
    if manifest is None:
        return {"product": product, "generation": generation, "state": "missing"}
    return {
        "product": product,
        "generation": generation,
        "sealed_at": manifest.created_at,
        "watermark": manifest.watermark or "not declared",
        "documents": manifest.counts.get("documents", 0),
        "chunks": manifest.counts.get("chunks", 0),
        "rows": manifest.counts.get("rows", 0),
        "set_aside": len(manifest.set_aside),
    }


def _kept(door: Door, ledger: entries.Ledger, product: str) -> dict[str, Any]:
    """How many generations lie in the home, their size, and how many `wellhead prune` would remove."""
    sealed = [path.parent for path in generations_folder(door.home, product).glob("*/" + MANIFEST)]
    could_go = retention.surplus(ledger, product, door.settings.retention, retention.utc_now())
    mebibytes = round(sum(retention.size_of(folder) for folder in sealed) / 2**20, 1)
    return {"kept": len(sealed), "kept_mib": mebibytes, "surplus": len(could_go)}


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--diff", nargs=2, type=int, help="Show what changed between two editions.")
@as_json
@click.pass_obj
def history(door: Door, limit: int, diff: tuple[int, int] | None, as_json: bool) -> None:
    """The editions, newest first: what changed, when and by whom.

    \b
    Examples:
      wellhead history
      wellhead history --diff 3 5
    """
    with _ledger(door) as ledger:
        if diff:
            rows = release.differences(ledger, *diff)
        else:
            rows = [_edition_row(edition) for edition in ledger.editions(limit)]
    click.echo(json.dumps(rows)) if as_json else _print_table(rows)


@click.command()
@click.argument("products", nargs=-1)
@click.option("--to", type=click.IntRange(min=1), help="The edition to go back to; by default the one before.")
@click.option("--note", default="", help="Why; kept in the ledger.")
@as_json
@click.pass_obj
def rollback(door: Door, products: tuple[str, ...], to: int | None, note: str, as_json: bool) -> None:
    """Make an earlier edition's generations live again. Rights are not rolled back.

    Refused where one of them is no longer kept, naming the oldest edition that still stands.

    \b
    Examples:
      wellhead rollback
      wellhead rollback orders --to 12 --note "bad feed"
    """
    settings = door.settings
    engines = servers.Servers(settings.engines.below(door.root), os.environ, settings.postgres)
    with closing(engines), _ledger(door) as ledger:
        edition = release.rollback(ledger, to, products=products, by=operator(), note=note, servers=engines)
        changes = release.differences(ledger, edition.number - 1, edition.number)
    tell_edition(edition, as_json)
    for change in () if as_json else changes:
        click.echo(f"  {change['product']}: {change['from'] or 'not live'} → {change['to'] or 'no longer live'}")


@contextmanager
def _ledger(door: Door) -> Generator[entries.Ledger]:
    """The workspace's ledger, for one command."""
    settings = door.settings
    with closing(ledgers.open_ledger(door.home, settings.ledger, settings.postgres, os.environ)) as ledger:
        yield ledger


def tell_edition(edition: entries.Edition, as_json: bool) -> None:
    """Print which edition is live now."""
    if as_json:
        click.echo(json.dumps(_edition_row(edition)))
    else:
        click.echo(f"edition {edition.number} is live: {edition.action}")


def _edition_row(edition: entries.Edition) -> dict[str, Any]:
    return {
        "edition": edition.number,
        "at": edition.at,
        "action": edition.action,
        "by": edition.by,
        "note": edition.note,
        "products": dict(edition.products),
    }


def operator() -> str:
    """Who runs the command on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        click.echo("nothing")
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(row.get(name, "")) for name in rows[0]))
    console = Console()
    whole = Measurement.get(console, console.options.update(max_width=MOST_COLUMNS), table).maximum
    # A value that is cut cannot be copied: a narrow terminal wraps the line, and a pipe gets it whole.
    Console(width=max(console.width, whole)).print(table, crop=False)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return str(value)
