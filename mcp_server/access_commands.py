"""`wellhead access`: what was asked for, and the owner's decision."""

from __future__ import annotations

import json
from typing import Literal

import click

from mcp_server.access_requests import AccessRequest, AccessRequests
from mcp_server.fence import one_line
from semantic_layer.door import Door

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def access() -> None:
    """Requests for access: list them, approve or refuse one.

    An approval is a record. The right itself is a rule in the product's policy.yaml.

    \b
    Examples:
      wellhead access list
      wellhead access approve access-20261122T101500-9f2c41d0 --note "until March"
    """


@access.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that were decided too.")
@as_json
@click.pass_obj
def list_requests(door: Door, everything: bool, as_json: bool) -> None:
    """List the requests that wait for a decision.

    \b
    Example:
      wellhead access list --all
    """
    found = [one for one in AccessRequests(door.home).all() if everything or one.state == "pending"]
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found], ensure_ascii=False))
        return
    for one in found:
        click.echo(f"{one.id} {one.state} {one.subject} asks for {one.product}: {one_line(one.purpose)}")
    if not found:
        click.echo("no request waits")


@access.command()
@click.argument("request")
@click.option("--note", default="", help="Why, or until when.")
@as_json
@click.pass_obj
def approve(door: Door, request: str, note: str, as_json: bool) -> None:
    """Approve a request; then let policy.yaml say so and publish it.

    \b
    Example:
      wellhead access approve access-20261122T101500-9f2c41d0
    """
    _decide(door, request, "approved", note, as_json)


@access.command()
@click.argument("request")
@click.option("--note", default="", help="Why.")
@as_json
@click.pass_obj
def refuse(door: Door, request: str, note: str, as_json: bool) -> None:
    """Refuse a request.

    \b
    Example:
      wellhead access refuse access-20261122T101500-9f2c41d0 --note "ask for the aggregate instead"
    """
    _decide(door, request, "refused", note, as_json)


def _decide(door: Door, request: str, state: Literal["approved", "refused"], note: str, as_json: bool) -> None:
    decided = AccessRequests(door.home).decide(request, state, door.settings.cli.subject, note)
    click.echo(json.dumps(decided.to_json(), ensure_ascii=False) if as_json else _line(decided))


def _line(one: AccessRequest) -> str:
    step = f"; now add a rule for {one.subject} to {one.product}/policy.yaml" if one.state == "approved" else ""
    return f"{one.id}: {one.state}{step}"
