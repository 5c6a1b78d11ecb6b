"""`wellhead certify`: a named person stands behind a live metric, at exactly the content it has."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import click

from indexes import ledger as entries
from indexes import ledgers
from indexes.commands import operator
from indexes.generation import DESCRIPTORS, generation_folder
from semantic_layer import certification, descriptors
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.metric import Metric, SemanticModel

OPERATE = "operate"
_PERSON = re.compile(r"\w.*\w", re.DOTALL)


@click.command()
@click.argument("metric", required=False)
@click.option("--by", metavar="NAME", help="The person who stands behind it.")
@click.option("--note", default="", help="Why; kept in the ledger.")
@click.option("--withdraw", is_flag=True, help="Take the certificate of the metric's content back.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def certify(door: Door, metric: str | None, by: str | None, note: str, withdraw: bool, as_json: bool) -> None:
    """Certify a live METRIC in a person's name; without METRIC, list the state of every metric.

    The certificate holds for the metric's content as it is: the formula, what it is computed from, its filters, and
    how its datasets are joined. An edit of any of it makes the metric proposed again. The ledger keeps every
    certificate; a generation that is rolled back to finds its own again. Only this command certifies, as a principal of
    wellhead.yaml (`cli.principal`) with the scope operate; no tool does. Refused, it ends with exit code 4.

    \b
    Examples:
      wellhead certify
      wellhead certify orders.net_revenue --by "Mara Lindqvist" --note "as in the annual report"
      wellhead certify net_revenue --by "Mara Lindqvist" --withdraw
    """
    settings = door.settings
    ledger = ledgers.open_ledger(door.home, settings.ledger, settings.postgres, os.environ)
    try:
        models = _live_models(door, ledger)
        if metric is None:
            _tell(
                [_row(model, one, models, ledger) for model in models.values() for one in model.metrics], as_json
            )
            return
        _require(door, by)
        model, found = _named(models, metric)
        entry = certification.Certificate(
            product=model.product,
            metric=found.name,
            sha256=certification.content_hash(model, found, models),
            by=str(by).strip(),
            note=note,
            withdrawn=withdraw,
            operator=operator(),
        )
        ledger.certify(entry)
        _tell([_row(model, found, models, ledger)], as_json)
    finally:
        ledger.close()


def _require(door: Door, by: str | None) -> None:
    """Raises where nobody is named, or where the command line may not operate."""
    if by is None or not _PERSON.fullmatch(by.strip()):
        raise InvalidArgument("a certificate needs the name of a person.", hint="Pass --by NAME.")
    if OPERATE not in door.settings.cli.scopes:
        raise Refused(
            f"{door.settings.cli.subject} may not certify.",
            rule="scope",
            hint="Give cli.principal of wellhead.yaml `scopes: [read, operate]`.",
        )


def _live_models(door: Door, ledger: entries.Ledger) -> dict[str, SemanticModel]:
    """The semantic model of each live product that has one, as its generation sealed it."""
    found: dict[str, SemanticModel] = {}
    for product, generation in sorted(ledger.edition().products.items()):
        _, model = descriptors.read_descriptors(
            generation_folder(door.home, product, generation) / DESCRIPTORS, product
        )
        if model is not None:
            found[product] = model
    return found


def _named(models: Mapping[str, SemanticModel], asked: str) -> tuple[SemanticModel, Metric]:
    """The metric of this name, or of `product.name`."""
    asked = asked.removeprefix("metric://").replace("/", ".")
    named = [
        (model, one)
        for model in models.values()
        for one in model.metrics
        if asked in (one.name, f"{model.product}.{one.name}")
    ]
    if not named:
        known = [one.name for model in models.values() for one in model.metrics]
        raise UnknownName("live metric", asked, known, hint="`wellhead certify` lists them.")
    if len(named) > 1:
        choices = ", ".join(f"{model.product}.{one.name}" for model, one in named)
        raise InvalidArgument(f"the metric {asked!r} is in several products.", hint=f"Say which: {choices}.")
    return named[0]


def _row(
    model: SemanticModel, metric: Metric, models: Mapping[str, SemanticModel], ledger: entries.Ledger
) -> dict[str, Any]:
    standing = certification.certified(model, models, ledger.certificates()).metric(metric.name) or metric
    state, sha256 = standing.certification, certification.content_hash(model, metric, models)
    return {
        "product": model.product,
        "metric": metric.name,
        "state": state.state,
        "by": state.by,
        "at": state.at,
        "sha256": sha256,
        "changed_since": state.state == "proposed" and bool(state.by) and state.sha256 != sha256,
    }


def _tell(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        who = f" by {row['by']}, {row['at'][:10]}" if row["state"] == "certified" else ""
        since = f" (changed since {row['by']} certified it)" if row["changed_since"] else ""
        click.echo(f"{row['product']}.{row['metric']}: {row['state']}{who}{since}  {row['sha256'][:12]}")
    if not rows:
        click.echo("No live product has metrics.")
