"""`wellhead policy`: why somebody may see what it sees, and whether the policies' own cases hold."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from indexes import ledgers
from indexes.generation import DESCRIPTORS, generation_folder
from semantic_layer import descriptors, policy_case, policy_explain, policy_file, product_folder
from semantic_layer import workspace as workspaces
from semantic_layer.door import Door
from semantic_layer.errors import GateFailed, UnknownName
from semantic_layer.policy import Policy
from semantic_layer.principal_form import principal_of_form
from semantic_layer.product import DataProduct

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def policy() -> None:
    """Explain and test who may see what."""


@policy.command()
@click.argument("product")
@click.option("--as", "as_form", metavar="JSON", help="""{"roles": [...], …} instead of cli.principal.""")
@click.option("--draft", is_flag=True, help="Decide by the workspace's files instead of what is live.")
@as_json
@click.pass_obj
def explain(door: Door, product: str, as_form: str | None, draft: bool, as_json: bool) -> None:
    """Why a principal may see what it sees of PRODUCT, rule by rule.

    Decided by the live generation and the newest policy revision, as every call is.

    \b
    Examples:
      wellhead policy explain orders --as '{"roles": ["analyst"], "attributes": {"regions": ["EU"]}}'
      wellhead policy explain orders --draft --json
    """
    principal = principal_of_form(as_form) if as_form else door.settings.cli
    described, rules, revision = _drafted(door, product) if draft else _in_force(door, product)
    found = policy_explain.explain(principal, described, rules, policy_revision=revision)
    if as_json:
        form = {
            "product": product,
            "principal": {"subject": principal.subject, "roles": sorted(principal.roles)},
            "policy_revision": revision,
            "actions": [one.form for one in found],
        }
        click.echo(json.dumps(form, ensure_ascii=False, default=str))
        return
    by = "the workspace's files" if draft else f"policy revision {revision}"
    click.echo(f"{product} as {principal.subject} ({', '.join(sorted(principal.roles)) or 'no role'}), by {by}")
    for one in found:
        for line in one.lines():
            click.echo(line)


def _in_force(door: Door, product: str) -> tuple[DataProduct, Policy | None, int]:
    settings = door.settings
    ledger = ledgers.open_ledger(door.home, settings.ledger, settings.postgres, os.environ)
    try:
        edition, revision = ledger.edition(), ledger.policies()
    finally:
        ledger.close()
    if product not in edition.products:
        raise UnknownName("product", product, edition.products, hint="`wellhead status` lists what is live.")
    folder = generation_folder(door.home, product, edition.products[product])
    described, _ = descriptors.read_descriptors(folder / DESCRIPTORS, product)
    document = revision.documents.get(product)
    return (
        described,
        None if document is None else policy_file.policy_from_json(product, document),
        revision.number,
    )


def _drafted(door: Door, product: str) -> tuple[DataProduct, Policy | None, int]:
    folders = _folders(door)
    if product not in folders:
        raise UnknownName("product", product, folders)
    return folders[product].product, folders[product].policy, 0


def _folders(door: Door) -> dict[str, product_folder.ProductFolder]:
    """The workspace's products, whether their policies' cases hold or not."""
    return dict(workspaces.load_workspace(door.root, settings=door.settings, policy_cases_hold=False).products)


@policy.command()
@click.argument("products", nargs=-1)
@as_json
@click.pass_obj
def test(door: Door, products: tuple[str, ...], as_json: bool) -> None:
    """Whether the `cases` of each policy.yaml hold. Ends with exit code 6 where one does not.

    `wellhead validate` and `wellhead ingest` refuse a workspace whose policy cases fail.

    \b
    Examples:
      wellhead policy test
      wellhead policy test orders --json
    """
    folders = _folders(door)
    for name in products:
        if name not in folders:
            raise UnknownName("product", name, folders)
    results = [one for name in products or folders for one in _results(folders[name])]
    failed = [one for one in results if one["failures"]]
    if as_json:
        click.echo(json.dumps({"ok": not failed, "cases": results}, ensure_ascii=False, default=str))
        sys.exit(GateFailed.exit_code if failed else 0)
    for one in results:
        mark = click.style("fail", fg="red") if one["failures"] else click.style("ok", fg="green")
        click.echo(f"{mark} {one['product']}: {one['case']}")
        for failure in one["failures"]:
            click.echo(f"     {failure}")
    without = [name for name in products or folders if not folders[name].policy_cases]
    click.echo(
        f"{len(results)} cases, {len(failed)} failed" + (f"; no cases: {', '.join(without)}" if without else "")
    )
    sys.exit(GateFailed.exit_code if failed else 0)


def _results(folder: product_folder.ProductFolder) -> list[dict[str, Any]]:
    return [
        {
            "product": folder.product.name,
            "case": case.name,
            "line": case.line,
            "failures": list(policy_case.failures(case, folder.product, folder.policy)),
        }
        for case in folder.policy_cases
    ]
