"""`wellhead promote`: a sealed generation made live, once the edition it makes has passed the gates of a publish."""

from __future__ import annotations

import os

import click

from evals import live as live_edition
from indexes import ledger as entries
from indexes import library as libraries
from indexes import lookup as lookups
from indexes import release as releases
from indexes.commands import as_json, operator, tell_edition
from indexes.generation import generation_folder, verify
from ingest import gates as release_gates
from semantic_layer.door import Door


def promote_judged(
    library: libraries.Library,
    product: str,
    generation: str,
    *,
    open_live: lookups.OpenLive,
    by: str,
    note: str = "",
) -> entries.Edition:
    """Make a sealed generation live. The golden values and forbidden answers of every product are asked of the edition
    that it would make, since products that each pass can break a metric together.

    Raises what `promote` raises, and GateFailed: then nothing has changed.
    """
    gates = (release_gates.catalogue_gate({}), release_gates.evaluation_gate(open_live))

    def judge(base: entries.Edition) -> None:
        folder = generation_folder(library.home, product, generation)
        with library.candidate(base, folder, verify(folder), {}) as candidate:
            release_gates.judged(gates, candidate, product)

    return releases.promote(library.ledger, product, generation, by=by, note=note, judge=judge)


@click.command()
@click.argument("product")
@click.argument("generation")
@click.option("--note", default="", help="Why; kept in the ledger.")
@as_json
@click.pass_obj
def promote(door: Door, product: str, generation: str, note: str, as_json: bool) -> None:
    """Make a sealed generation of a product live, once it has passed the gates of a publish.

    Ends with exit code 6 where a golden value of any product would be off. To go back at once, whatever the gates say,
    use `wellhead rollback`.

    \b
    Example:
      wellhead promote orders 1f0c9a2b77d04e51 --note "approved by finance"
    """
    with live_edition.opened(door, os.environ) as (library, live):
        edition = promote_judged(library, product, generation, open_live=live.open, by=operator(), note=note)
    tell_edition(edition, as_json)
