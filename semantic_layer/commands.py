"""`wellhead validate`: every mistake in a workspace's files at once, with file, line and suggestion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from semantic_layer import product_folder
from semantic_layer import workspace as workspaces
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem
from semantic_layer.settings import FILE


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def validate(ctx: click.Context, path: Path | None, as_json: bool) -> None:
    """Every mistake in the workspace at PATH (by default the one you are in), with file, line and suggestion.

    Ends with exit code 3 when there is one. Warnings do not change the exit code.

    \b
    Examples:
      wellhead validate
      wellhead validate examples/outfitter --json
    """
    root = path.resolve() if path is not None else _door(ctx).root
    if not (root / FILE).is_file():
        raise InvalidArgument(f"no {FILE} in {root}.", hint="Name a workspace, or run `wellhead init`.")
    try:
        workspace = workspaces.load_workspace(root) if path is not None else _load(_door(ctx))
    except InvalidWorkspace as invalid:
        _print_mistakes(root, invalid.problems, as_json)
        ctx.exit(InvalidWorkspace.exit_code)
    _print_workspace(workspace, as_json)


def _door(ctx: click.Context) -> Door:
    return ctx.find_object(Door) or Door(None, {})


def _load(door: Door) -> workspaces.Workspace:
    """The door's workspace; mistakes of its environment come together with those of its files."""
    try:
        settings = door.settings
    except InvalidWorkspace as invalid:
        problems = list(invalid.problems)
        try:
            workspaces.load_workspace(door.root)
        except InvalidWorkspace as more:
            problems.extend(more.problems)
        raise InvalidWorkspace(problems, root=door.root) from invalid
    return workspaces.load_workspace(door.root, settings=settings)


def _print_mistakes(root: Path, problems: tuple[Problem, ...], as_json: bool) -> None:
    if as_json:
        form = {"ok": False, "workspace": str(root), "problems": [_problem(one) for one in problems]}
        click.echo(json.dumps(form, ensure_ascii=False))
        return
    for problem in problems:
        click.echo(_line(problem, "red"))
    click.echo(f"{_counted(len(problems), 'mistakes')} in {root}", err=True)


def _counted(count: int, plural: str) -> str:
    return f"{count} {plural.removesuffix('s') if count == 1 else plural}"


def _print_workspace(workspace: workspaces.Workspace, as_json: bool) -> None:
    products = [_product(folder) for folder in workspace.products.values()]
    if as_json:
        form = {
            "ok": True,
            "workspace": str(workspace.root),
            "name": workspace.settings.name,
            "products": products,
            "problems": [],
            "warnings": [_problem(one) for one in workspace.warnings],
        }
        click.echo(json.dumps(form, ensure_ascii=False))
        return
    for warning in workspace.warnings:
        click.echo(_line(warning, "yellow"))
    for product in products:
        counts = ", ".join(_counted(product[name], name) for name in ("datasets", "columns", "metrics", "rules"))
        click.echo(f"{product['name']}: {counts}")
    click.echo(f"{workspace.settings.name}: no mistakes, {_counted(len(workspace.warnings), 'warnings')}")


def _product(folder: product_folder.ProductFolder) -> dict[str, Any]:
    return {
        "name": folder.product.name,
        "datasets": len(folder.product.datasets),
        "columns": sum(len(dataset.columns) for dataset in folder.product.datasets),
        "metrics": len(folder.semantics.metrics) if folder.semantics else 0,
        "rules": len(folder.policy.rules) if folder.policy else 0,
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }


def _line(problem: Problem, colour: str) -> str:
    where = click.style(f"{problem.file}:{problem.line}:", fg=colour)
    return f"{where} {problem.message} {problem.suggestion}".rstrip()
