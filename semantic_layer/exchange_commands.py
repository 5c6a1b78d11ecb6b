"""`wellhead import` and `wellhead export`: what they read and write, and what they say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from semantic_layer import exchange, product_folder
from semantic_layer import workspace as workspaces
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, Problem
from semantic_layer.product import DataProduct

STDOUT = "-"


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--product", help="The product it is for; by default the one whose contract has the tables.")
@click.option(
    "--into", metavar="FILE", help="Where to write it, - for standard output; by default the product's own."
)
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def import_semantics(
    ctx: click.Context, files: tuple[Path, ...], product: str | None, into: str | None, force: bool, as_json: bool
) -> None:
    """Write semantic FILES of another tool as semantics.yaml, and say what could not be carried.

    Read are dbt (manifest, semantic_models:, model-embedded; files or a folder), Apache Ossie, a Snowflake semantic
    view and a Databricks metric view. Outside a workspace, names of columns are not checked. Ends with exit code 3
    where FILES hold a mistake.

    \b
    Examples:
      wellhead import target/semantic_manifest.json --product orders
      wellhead import metric_view.yaml --into - --json
    """
    folder = _folder(ctx, files, product, into)
    imported = exchange.import_files(
        files, folder.product if folder else DataProduct(_stem(files), "", "", "", "")
    )
    target = Path(into) if into else Path(folder.product.folder if folder else ".") / product_folder.SEMANTICS[0]
    if into != STDOUT:
        if target.exists() and not force:
            raise InvalidArgument(
                f"{target} is there already.", hint="Pass --force to replace it, or --into FILE."
            )
        target.write_text(imported.text, encoding="utf-8")
    _tell_import(imported, "" if into == STDOUT else str(target), folder, as_json)


def _folder(
    ctx: click.Context, files: Sequence[Path], product: str | None, into: str | None
) -> product_folder.ProductFolder | None:
    """The product's folder that the files are for; None outside a workspace, or where none has the tables and the
    result goes elsewhere."""
    try:
        products = workspaces.load_workspace((ctx.find_object(Door) or Door(None, {})).root).products
    except InvalidArgument:
        if product or ctx.find_root().params.get("workspace"):
            raise
        return None
    if product:
        if product not in products:
            raise InvalidArgument(
                f"no product {product!r}.", hint="There are: " + ", ".join(sorted(products)) + "."
            )
        return products[product]
    wanted = {
        one.table.casefold()
        for one in exchange.import_files(files, DataProduct("", "", "", "", "")).model.datasets
    }
    fitting = [one for one in products.values() if wanted <= _tables(one.product)]
    if len(fitting) == 1:
        return fitting[0]
    if into:
        return None
    said = "several products have" if fitting else "no product has"
    raise InvalidArgument(
        f"{said} the tables {', '.join(sorted(wanted))}.",
        hint="Say which with --product, or write it without a contract with --into FILE.",
    )


def _tables(product: DataProduct) -> set[str]:
    return {name.casefold() for one in product.datasets for name in (one.name, one.physical_name) if name}


def _stem(files: Sequence[Path]) -> str:
    return "".join(char if char.isalnum() else "_" for char in files[0].stem) or "model"


def _tell_import(
    imported: exchange.Imported, target: str, folder: product_folder.ProductFolder | None, as_json: bool
) -> None:
    model = imported.model
    if as_json:
        form = {
            "form": imported.form,
            "product": folder.product.name if folder else "",
            "into": target,
            "datasets": len(model.datasets),
            "metrics": len(model.metrics),
            "not_carried": [_problem(one) for one in imported.lost],
            "refused": list(imported.refused),
            "kept": imported.kept,
            **({} if target else {"text": imported.text}),
        }
        click.echo(json.dumps(form, ensure_ascii=False))
        return
    if not target:
        click.echo(imported.text, nl=False)
    counted = f"{len(model.datasets)} datasets and {len(model.metrics)} metrics from {imported.form}"
    click.echo(f"{counted}{f', written to {target}' if target else ''}", err=not target)
    if folder is None:
        click.echo("No contract is at hand: names of columns are not checked.", err=True)
    for problem in imported.lost:
        click.echo(f"not carried: {str(problem).replace(' not carried:', '')}", err=True)
    kept = ", ".join(f"{key} ({count})" for key, count in imported.kept.items())
    if kept:
        click.echo(f"kept for others, and not used here: {kept}", err=True)
    for one in imported.refused:
        click.echo(f"carried, and refused when asked for: {one}", err=True)
    if not imported.lost:
        click.echo("Everything was carried.", err=True)


def _problem(problem: Problem) -> Mapping[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }


@click.command("export")
@click.argument("product")
@click.option("--to", "form", type=click.Choice(["ossie", "dbt"]), required=True, help="The form to write.")
@click.option("--into", metavar="FILE", help="Where to write it; by default standard output.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def export_semantics(
    door: Door, product: str, form: exchange.SemanticForm, into: str | None, force: bool, as_json: bool
) -> None:
    """Write a PRODUCT's semantics as Apache Ossie or dbt YAML, and say what that form cannot carry.

    Ossie carries everything, with extensions of the vendor WELLHEAD where it has no words. dbt's YAML is the
    `semantic_models:` form, which dbt 1.6 and later read.

    \b
    Examples:
      wellhead export orders --to ossie --into orders.ossie.yaml
      wellhead export orders --to dbt --json
    """
    products = workspaces.load_workspace(door.root, settings=door.settings).products
    found = products.get(product)
    if found is None or found.semantics is None:
        having = ", ".join(sorted(name for name, one in products.items() if one.semantics))
        raise InvalidArgument(f"no product {product!r} with semantics.", hint=f"There are: {having or 'none'}.")
    exported = exchange.export_model(found.semantics, found.product, form)
    _tell_export(exported, product, form, into, force, as_json)


def _tell_export(
    exported: exchange.Exported, product: str, form: str, into: str | None, force: bool, as_json: bool
) -> None:
    text = exported.text
    if into:
        if Path(into).exists() and not force:
            raise InvalidArgument(f"{into} is there already.", hint="Pass --force to replace it.")
        Path(into).write_text(text, encoding="utf-8")
    if as_json:
        where: dict[str, Any] = {"into": into} if into else {"text": text}
        click.echo(
            json.dumps({"product": product, "to": form, **where, "not_carried": exported.lost}, ensure_ascii=False)
        )
        return
    click.echo(f"written to {into}" if into else text, nl=bool(into))
    for one in exported.lost:
        click.echo(f"not carried: {one}", err=True)
