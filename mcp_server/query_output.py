"""How `wellhead query` shows numbers: a table with totals and sparklines, a chart, or a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from indexes.file_format import FileFormat
from indexes.result_files import FileColumn, encoded_rows
from mcp_server.answer import Answer
from mcp_server.chart import bars, sparklines
from mcp_server.table import aligned_table
from semantic_layer.errors import InvalidArgument
from semantic_layer.product import ColumnType


def print_numbers(answer: Answer, *, chart: bool, width: int) -> None:
    """The rows as a table, the totals over all of them below a page, a sparkline for each series, or a chart."""
    columns, rows = answer.data["columns"], answer.data["rows"]
    names = [str(column["name"]) for column in columns]
    if not rows:
        click.echo("no rows")
    elif chart:
        click.echo("\n".join(bars(columns, rows, width)))
    else:
        click.echo(aligned_table(names, [*rows, *_totals(columns, answer.data.get("totals"))]))
        lines = sparklines(columns, rows)
        if lines:
            click.echo("\n".join(["", *lines]))
    for note in answer.receipt.notes:
        click.echo(f"note: {note}")
    click.echo(answer.receipt.line())
    if answer.page is not None and answer.page.next_cursor:
        click.echo("more follow: raise --limit, or write a file with --format")


def _totals(columns: Any, totals: Any) -> list[Mapping[str, Any]]:
    """The totals as a last row, named in the first column that groups."""
    if not totals:
        return []
    first = next((str(one["name"]) for one in columns if one["kind"] == "dimension"), "")
    return [{**totals, first: "all rows"}]


def write_numbers(answer: Answer, form: FileFormat, into: str | None) -> None:
    """The rows in this format, into a file or to standard output. Raises InvalidArgument for bytes on a terminal."""
    columns = [
        FileColumn(
            str(one["name"]), ColumnType(one["type"]) if one.get("type") else None, str(one.get("zone", ""))
        )
        for one in answer.data["columns"]
    ]
    content = encoded_rows(columns, answer.data["rows"], form)
    if into is not None:
        Path(into).write_bytes(content)
        click.echo(f"{len(answer.data['rows'])} rows written to {into} · {answer.receipt.line()}", err=True)
        return
    if form != "csv" and sys.stdout.isatty():
        raise InvalidArgument(f"{form} is not for a terminal.", hint="Pass --into FILE, or pipe it on.")
    click.echo(content, nl=False)
    click.echo(answer.receipt.line(), err=True)
