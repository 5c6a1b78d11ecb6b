"""`wellhead keys`: the workspace's signing keys, rotated with overlap and retired."""

from __future__ import annotations

import json
import os
from typing import cast

import click

from indexes.keys import VARIABLES, Purpose, keyring
from semantic_layer.door import Door

purpose_argument = click.argument("purpose", type=click.Choice(list(VARIABLES)))
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def keys() -> None:
    """List, rotate and retire the keys that sign tokens, cursors, hash masks and audit anchors."""


@keys.command("list")
@as_json
@click.pass_obj
def list_keys(door: Door, as_json: bool) -> None:
    """The ids of all keys; the first of each purpose signs, the others still verify.

    \b
    Example:
      wellhead keys list
    """
    found = {purpose: keyring(door.home, purpose, os.environ).ids() for purpose in VARIABLES}
    if as_json:
        click.echo(json.dumps(found))
        return
    for purpose, ids in found.items():
        click.echo(f"{purpose}: {', '.join(ids) or 'none yet'}")


@keys.command()
@purpose_argument
@as_json
@click.pass_obj
def rotate(door: Door, purpose: str, as_json: bool) -> None:
    """Make a new key, which signs from now on; what older keys signed still holds until they are retired.

    A new key for hash masks changes every hash that is shown, once the server starts again or a policy is published.

    \b
    Example:
      wellhead keys rotate tokens
    """
    made = keyring(door.home, cast("Purpose", purpose), os.environ).rotate().id
    click.echo(json.dumps({"purpose": purpose, "key": made}) if as_json else made)


@keys.command()
@purpose_argument
@click.argument("key_id")
@as_json
@click.pass_obj
def retire(door: Door, purpose: str, key_id: str, as_json: bool) -> None:
    """Remove a key: what it signed holds no longer, from the next call.

    \b
    Example:
      wellhead keys retire tokens 20261122T101500000000-1a2b3c4d
    """
    keyring(door.home, cast("Purpose", purpose), os.environ).retire(key_id)
    click.echo(json.dumps({"purpose": purpose, "retired": key_id}) if as_json else f"retired {key_id}")
