"""`wellhead leak-test`: plants canaries in a world of its own, serves it, pries, and says what came out."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from evals.leak import LeakReport, Options, leak_test
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument


@click.command("leak-test")
@click.option("--calls", type=click.IntRange(min=1), default=Options.calls, show_default=True)
@click.option("--pairs", type=click.IntRange(min=1), default=Options.pairs, show_default=True,
              help="Pairs of a hidden and an absent name that are timed.")  # fmt: skip
@click.option(
    "--seed", type=int, default=Options.seed, show_default=True, help="The same seed makes the same calls."
)
@click.option("--models", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="A folder that holds the embedding model; else the workspace's, or a new export.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def leak_test_command(door: Door, calls: int, pairs: int, seed: int, models: Path | None, as_json: bool) -> None:
    """Try to make a server tell what it must not, over MCP, REST and the command line.

    Plants a canary for each tenant and each forbidden column in a workspace of its own, then sends random and
    adversarial calls. Ends with exit code 1 where anything came out, a reply was a server error, or the answers to one
    tenant depended on what others own.

    \b
    Examples:
      wellhead leak-test
      wellhead leak-test --calls 500 --pairs 100 --seed 7 --json
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="wellhead-leak-") as folder, console.status("") as status:
        report = leak_test(
            Path(folder),
            Options(calls, pairs, seed),
            models or _models(door),
            lambda what, done, of: status.update(f"seed {seed}: {what} {done:,} of {of:,}"),
        )
    if as_json:
        click.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        _print(report)
    sys.exit(0 if report.clean else 1)


def _models(door: Door) -> Path | None:
    """The models of the workspace one stands in, if there is one."""
    try:
        models = door.home / "models"
    except InvalidArgument:
        return None
    return models if models.is_dir() else None


def _print(report: LeakReport) -> None:
    doors = ", ".join(f"{count:,} {door}" for door, count in sorted(report.calls.items()))
    click.echo(f"seed {report.seed}: {sum(report.calls.values()):,} calls ({doors}), {report.answered:,} answered")
    click.echo(f"own canaries seen: {', '.join(f'{name} {count}' for name, count in report.seen.items())}")
    for leak in report.leaks[:20]:
        click.echo(f"LEAK  {leak.canary} to {leak.to}: {leak.where}")
    for fault in report.faults[:20]:
        click.echo(f"FAULT {fault}")
    for difference in report.twin.different[:20]:
        click.echo(f"TWIN  {difference}")
    twin, timing = report.twin, report.timing
    click.echo(
        f"twin worlds: {twin.compared:,} answers compared, {len(twin.different)} differ; "
        f"{twin.lists} result lists overlap {twin.overlap:.3f}, {twin.same_order:.3f} of their pairs in order"
    )
    click.echo(
        f"timing of hidden against absent names: {timing.difference:+.0f} µs in the median of {timing.pairs:,} pairs "
        f"(95 %: {timing.low:+.0f} to {timing.high:+.0f}; medians {timing.hidden_median:.0f} and "
        f"{timing.absent_median:.0f})"
    )
    click.echo(f"{len(report.leaks)} leaks" if not report.clean else "clean: 0 leaks")
