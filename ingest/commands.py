"""The commands that build: `wellhead ingest`, and `wellhead work`, which runs jobs in a process of its own."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Generator
from contextlib import contextmanager

import click
from rich.console import Console

from indexes import jobs
from ingest import products as runs
from ingest import progress as progresses
from ingest import settings as ingest_settings
from ingest import turns
from ingest import work as workers
from ingest.report import failure_of
from semantic_layer import workspace as workspaces
from semantic_layer.door import Door
from semantic_layer.errors import WellheadError


@click.command()
@click.argument("products", nargs=-1, metavar="[PRODUCT]…")
@click.option("--force", is_flag=True, help="Read every source and build again, also where nothing changed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one report a product.")
@click.pass_obj
def ingest(door: Door, products: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Build, check and publish what the sources hold now; all products, or those named.

    What did not change is not built again. A product that fails keeps its live generation and does not stop
    the others; the exit code is that of the first failure.

    \b
    Examples:
      wellhead ingest
      wellhead ingest orders handbook
      wellhead ingest --json | jq '.[].state'
    """
    workspace = workspaces.load_workspace(door.root, settings=door.settings)
    settings = ingest_settings.IngestSettings(os.environ, device=door.device, force=force)
    failures: list[WellheadError] = []
    reports: list[object] = []
    with _progress(as_json) as progress:
        for name, outcome in runs.ingest_all(workspace, products, settings, by=_operator(), progress=progress):
            if isinstance(outcome, WellheadError):
                failures.append(outcome)
                reports.append({"product": name, "state": "failed", "failure": failure_of(outcome)})
            else:
                reports.append(outcome.entry())
            if not as_json:
                _tell(name, outcome)
    if as_json:
        click.echo(json.dumps(reports, default=str))
    if failures:
        click.get_current_context().exit(failures[0].exit_code)


@click.command()
@click.option("--once", is_flag=True, help="Run the jobs that wait, then end.")
@click.pass_obj
def work(door: Door, once: bool) -> None:
    """Run the jobs that operator tools submit: ingest, release, evaluate. `serve` starts one of these itself.

    \b
    Example:
      wellhead work --once
    """
    if once:
        worker = workers.Worker(door.root, os.environ)
        while worker.run_next():
            pass
    else:
        # What runs a job is loaded with the first one: 300 MB that most servers' workers never need.
        turns.take_turns(
            jobs.JobStore(door.home), lambda claim: workers.Worker(door.root, os.environ).run_claimed(claim)
        )


@contextmanager
def _progress(as_json: bool) -> Generator[progresses.Progress]:
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield progresses.Silent()
    else:
        with progresses.Terminal(console) as bars:
            yield bars


def _tell(name: str, outcome: runs.Outcome) -> None:
    if isinstance(outcome, WellheadError):
        click.echo(f"{name}: failed", err=True)
        click.echo(f"  {outcome}".replace("\n", "\n  "), err=True)
    else:
        click.echo("\n".join(outcome.lines()))


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
