"""`wellhead eval`: asks every evaluation case of the live edition and prints what held."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from evals import ask, gates, metricflow, run
from evals import live as live_edition
from semantic_layer.door import Door
from semantic_layer.errors import GateFailed, InvalidArgument, UnknownName

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("eval")
@click.argument("products", nargs=-1)
@click.option("--as-of", type=click.DateTime(), help="The clock of metric queries, in UTC; by default now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--cases", type=FILE, help="Recorded MetricFlow queries, a JSON object a line.")
@click.option("--truth", type=FOLDER, help="The folder of their tables and manifests.")
@click.pass_obj
def evaluate(
    door: Door,
    products: tuple[str, ...],
    as_of: datetime | None,
    as_json: bool,
    cases: Path | None,
    truth: Path | None,
) -> None:
    """Ask the evaluation cases of the live edition, all products or those named.

    Ends with exit code 6 when a golden value is off, a forbidden answer came back, or a score is below its floor.

    With --cases and --truth it asks MetricFlow's recorded queries instead, and needs no workspace.

    \b
    Examples:
      wellhead eval
      wellhead eval orders --json
      wellhead eval metricflow --cases cases.jsonl --truth metricflow
    """
    if cases is not None or truth is not None:
        evaluate_metricflow(products, cases, truth)
        return
    results = evaluate_live(door, products, (as_of or datetime.now(UTC)).replace(tzinfo=UTC))
    if as_json:
        click.echo(json.dumps([{**asdict(result), "below_floor": result.below_floor} for result in results]))
    else:
        _print(results)
    failed = failures(results)
    if failed:
        asked = sum(len(result.cases) for result in results)
        raise GateFailed(
            f"{len(failed)} of {asked} cases failed: {', '.join(failed[:8])}.",
            hint="The lines above say why.",
        )


def evaluate_metricflow(suites: Sequence[str], cases: Path | None, truth: Path | None) -> None:
    """Print each difference and, last, how many cases passed; ends the command with exit code 6 where one differs."""
    if list(suites) != ["metricflow"] or cases is None or truth is None:
        raise InvalidArgument(
            "--cases and --truth go together, with `metricflow`.",
            hint="Write wellhead eval metricflow --cases FILE.jsonl --truth FOLDER.",
        )
    for path in (cases, truth):
        if not path.exists():
            raise InvalidArgument(
                f"there is no {path}.", hint="Give the recorded cases and the folder of their data."
            )
    results = metricflow.run_cases(cases, truth, said=click.echo)
    click.echo(metricflow.summary(results))
    sys.exit(GateFailed.exit_code if any(one.difference for one in results) else 0)


def evaluate_live(door: Door, products: Sequence[str], as_of: datetime) -> list[run.SuiteResult]:
    """The results of the live edition's suites, in the order of product names."""
    with live_edition.opened(door, os.environ) as (library, live), library.pin() as snapshot:
        for name in products:
            if name not in snapshot.generations:
                raise UnknownName("product", name, snapshot.generations)
        asker = ask.Asker(snapshot, as_of=as_of, open_live=live.open)
        return [
            run.run_suite(asker, gates.sealed_suite(snapshot, name))
            for name in products or sorted(snapshot.generations)
        ]


def failures(results: Sequence[run.SuiteResult]) -> list[str]:
    """What fails an evaluation: golden values, forbidden answers, and scores below their floor."""
    failed = [
        f"{case.product}/{case.id}"
        for result in results
        for case in result.cases
        if not case.passed and case.kind != "retrieval"
    ]
    return failed + [f"{result.product}/{measure}" for result in results for measure in result.below_floor]


def _print(results: Sequence[run.SuiteResult]) -> None:
    console = Console()
    for result in results:
        if not result.cases:
            continue
        held = sum(case.passed for case in result.cases)
        scores = "  ".join(f"{name} {value:.3f}" for name, value in result.scores.items())
        console.print(f"[bold]{result.product}[/bold]  {held}/{len(result.cases)} held  {scores}")
        table = Table(box=None, padding=(0, 2), show_header=False)
        for case in result.cases:
            if not case.passed:
                table.add_row(
                    "", "missed" if case.kind == "retrieval" else "[red]failed[/red]", case.id, case.detail
                )
        if table.row_count:
            console.print(table)
