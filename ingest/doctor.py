"""`wellhead doctor`: looks at the machine, the home and the workspace, and says what to mend."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import click

from ingest.diagnose import engines, home, machine, workspace
from ingest.diagnose.finding import Finding, exit_code_of, failed
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, WellheadError

_WIDTH = 34
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check the machine, the engines, the home and every source; each finding that is not ok says what mends it.

    Without a workspace only the machine is looked at. Ends with 7 for damaged files, 5 for an engine that does not
    answer, 3 for mistakes in the workspace, 1 for anything else that failed; warnings do not count.

    \b
    Examples:
      wellhead doctor
      wellhead doctor --json | jq '.findings[] | select(.state != "ok")'
    """
    door = ctx.find_object(Door) or Door(None, os.environ)
    findings: list[Finding] = []
    for finding in _findings(door, named=ctx.find_root().params.get("workspace") is not None):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    code = exit_code_of(findings)
    if as_json:
        click.echo(json.dumps({"ok": not code, "findings": [finding.to_json() for finding in findings]}))
    else:
        count = {state: sum(one.state == state for one in findings) for state in _COLOURS}
        click.echo(f"{count['ok']} ok, {count['warn']} to look at, {count['fail']} failed")
    ctx.exit(code)


def _findings(door: Door, *, named: bool) -> Iterator[Finding]:
    try:
        yield from machine.look_at_machine(door.device)
    except InvalidArgument as error:
        yield failed("device", error)
    try:
        root = door.root
    except InvalidArgument as error:
        yield failed("workspace", error) if named else Finding("workspace", "warn", error.message, error.hint)
        return
    try:
        settings = door.settings
    except WellheadError as error:
        yield failed("settings", error)
        return
    yield Finding("settings", "ok", f"{root}: workspace {settings.name!r}")
    yield from home.look_at_home(door.home, settings, os.environ)
    yield from engines.look_at_engines(settings, os.environ)
    yield from workspace.look_at_workspace(root, settings, os.environ)


def _tell(finding: Finding) -> None:
    state = click.style(f"{finding.state:<4}", fg=_COLOURS[finding.state])
    click.echo(f"{state}  {finding.check:<{_WIDTH}} {finding.said}")
    if finding.state != "ok" and finding.fix:
        click.echo(f"{'':<{_WIDTH + 6}} {finding.fix}")
