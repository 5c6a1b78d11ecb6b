"""`wellhead demo`."""

from __future__ import annotations

from pathlib import Path

import click

from examples.outfitter import demo as outfitter


@click.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("wellhead-demo"),
    show_default=True,
    help="Where the workspace is copied to; a second run goes on from there.",
)
@click.option("--serve", is_flag=True, help="Leave the server running until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The server's port; by default a free one.")
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def demo(into: Path, serve: bool, port: int, as_json: bool) -> None:
    """Ingest a retailer's data, serve it, and ask as three different callers.

    \b
    Examples:
      wellhead demo
      wellhead demo --serve --port 8420
    """
    outfitter.run_demo(into, serve=serve, port=port, as_json=as_json)
