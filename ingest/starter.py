"""`wellhead init`: a workspace of a person's own files, or of a tiny example, ready to be ingested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ingest.infer import dataset as datasets
from ingest.infer import product as products
from ingest.infer import workspace as workspaces
from ingest.infer.example import example_files
from ingest.infer.names import plain_name
from semantic_layer import workspace as loading

_LISTED = 10


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option(
    "--data",
    "data",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A CSV, TSV, JSON, JSONL, Parquet or XLSX file, or a folder of tables or documents; may be repeated.",
)
@click.option("--name", help="The workspace's name; by default the folder's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def init(ctx: click.Context, folder: Path | None, data: tuple[Path, ...], name: str | None, as_json: bool) -> None:
    """Make a workspace in FOLDER from your own files; `wellhead ingest` works next.

    Each --data becomes a product with an inferred contract, a policy that hides what looks personal, and proposed
    metrics. The data stay where they lie. Nothing is overwritten. Without --data a tiny example is written.

    \b
    Examples:
      wellhead init shop --data ~/exports/orders.csv --data ~/handbook
      wellhead init
    """
    root = (folder or ctx.find_root().params.get("workspace") or Path()).expanduser().absolute()
    called = name or plain_name(root.name, "workspace")
    example = {} if data else example_files()
    paths = data or (root / "data" / "handbook", root / "data" / "orders.csv")
    made = workspaces.make_workspace(root, paths, name=called, example=example)
    loading.load_workspace(root)
    click.echo(json.dumps(_report(made), ensure_ascii=False) if as_json else "\n".join(_told(made)))


def _report(made: workspaces.NewWorkspace) -> dict[str, Any]:
    return {
        "workspace": str(made.root),
        "files": [path.relative_to(made.root).as_posix() for path in made.files],
        "products": [_product(product) for product in made.products],
        "next": _next_steps(made),
    }


def _product(product: products.InferredProduct) -> dict[str, Any]:
    return {
        "product": product.name,
        "from": str(product.path),
        "datasets": [_dataset(dataset) for dataset in product.datasets],
        "left_out": [{"file": file, "reason": reason} for file, reason in product.left_out],
    }


def _dataset(dataset: datasets.InferredDataset) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "kind": dataset.kind,
        "rows": dataset.rows,
        "columns": [column.name for column in dataset.columns],
        "key": dataset.key.name if dataset.key else None,
        "searched": [column.name for column in dataset.columns if column.text],
        "personal": list(dataset.personal),
        "notes": list(dataset.notes),
    }


def _told(made: workspaces.NewWorkspace) -> Iterator[str]:
    yield f"{made.root}: {len(made.files)} files written"
    for product in made.products:
        yield f"\nproduct {product.name} (from {product.path})"
        for dataset in product.datasets:
            yield from _dataset_lines(dataset)
        for file, reason in product.left_out[:_LISTED]:
            yield f"  left out: {file}: {reason}"
        if len(product.left_out) > _LISTED:
            yield f"  left out: {len(product.left_out) - _LISTED} more; --json lists all"
    yield "\nAll of it is a proposal: look at products/*/contract.yaml and policy.yaml. Then:"
    yield from (f"  {step}" for step in _next_steps(made))


def _dataset_lines(dataset: datasets.InferredDataset) -> Iterator[str]:
    parts = [datasets.counted(dataset)]
    parts += [f"key {dataset.key.name}"] if dataset.key else []
    searched = [column.name for column in dataset.columns if column.text]
    parts += [f"searched: {', '.join(searched)}"] if searched else []
    parts += [f"personal, hidden: {', '.join(dataset.personal)}"] if dataset.personal else []
    yield f"  {dataset.name}: {'; '.join(parts)}"
    yield from (f"    note: {note}" for note in dataset.notes)


def _next_steps(made: workspaces.NewWorkspace) -> list[str]:
    here = "" if made.root == Path.cwd() else f"--workspace {made.root} "
    counted = next((one for p in made.products for one in p.datasets if one.kind != "document"), None)
    steps = [f"wellhead {here}ingest", f'wellhead {here}search "your question"']
    steps += [f"wellhead {here}query {counted.name}_count"] if counted else []
    return [*steps, f"wellhead {here}serve"]
