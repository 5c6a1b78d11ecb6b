"""The commands over the audit log: is it whole, and does a recorded answer come out the same again."""

from __future__ import annotations

import json
import os
import sys

import click

from mcp_server import audit_opening, opening
from mcp_server import replay as replaying
from mcp_server.audit_verify import Verification, verify_log
from mcp_server.settings import serving_settings
from semantic_layer.door import Door
from semantic_layer.errors import AuditBroken

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("action", type=click.Choice(["verify"]))
@as_json
@click.pass_obj
def audit(door: Door, action: str, as_json: bool) -> None:
    """Verify the audit log: every record in its place, every segment as long as its anchor says.

    Ends with exit code 7 and names the first bad record where something was edited, deleted, reordered or cut off.
    Half a record that a killed writer left is named too; its call was never answered.

    \b
    Example:
      wellhead audit verify
    """
    settings = serving_settings(door)
    anchor = audit_opening.anchor_of(settings, os.environ)
    try:
        found = verify_log(settings.home / "audit", [anchor])
    finally:
        anchor.close()
    if as_json:
        click.echo(json.dumps(found.to_json()))
        sys.exit(0 if found.whole else AuditBroken.exit_code)
    _print(found)
    if found.bad:
        first = found.bad[0]
        raise AuditBroken(
            f"the first bad record is {first}", hint="Records before it in its segment are whole; keep the files."
        )


def _print(found: Verification) -> None:
    for one in found.bad:
        click.echo(f"bad   {one}")
    for one in found.torn:
        click.echo(f"torn  {one}")
    for name in found.unchained:
        click.echo(f"old   {name}: written before there was a chain")
    if found.whole:
        click.echo(f"whole: {found.records} records in {found.segments} segments")


@click.command("replay")
@click.argument("audit_id")
@click.option("--arguments", metavar="JSON", help="The call's arguments, where the log holds only their digest.")
@as_json
@click.pass_obj
def replay(door: Door, audit_id: str, arguments: str | None, as_json: bool) -> None:
    """Ask a recorded call again, of the same generations, with the recorded clock and the caller's rights of today.

    Prints same, differs, unsteady, erased, gone or live; ends with 0 only for the same answer. The last digits of
    floating sums do not count: rows are added up in no fixed order.

    \b
    Examples:
      wellhead replay a-20261122T101500-9f2c41d07b3e
      wellhead replay a-20261122T101500-9f2c41d07b3e --arguments '{"metrics": ["revenue"]}'
    """
    given = replaying.given_arguments(arguments)
    with opening.open_service(door) as service:
        found = replaying.replay(service, audit_id, given)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        click.echo(
            f"{found.outcome}: recorded {found.recorded_sha256[:16]}, now {found.replayed_sha256[:16] or '—'}"
        )
        for reason in found.reasons:
            click.echo(f"  {reason}")
    sys.exit(0 if found.outcome == "same" else 1)
