"""What `wellhead query` and `wellhead describe` show a person, and the files they write."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from indexes.result_files import FileColumn, arrow_table, encoded_rows
from mcp_server.chart import bars, sparkline, sparklines
from mcp_server.commands import describe, query
from semantic_layer.errors import InvalidArgument
from semantic_layer.product import ColumnType
from tests.workspace_factory import BuiltWorkspace

BOTH = '{"roles": ["analyst"], "attributes": {"regions": ["EU", "US"]}}'


@pytest.fixture
def run(tiny: BuiltWorkspace) -> Any:
    def invoke(command: Any, *arguments: str) -> Result:
        return CliRunner().invoke(command, list(arguments), obj=tiny.door)

    return invoke


def test_a_series_over_time_has_a_sparkline_under_its_table(run: Any) -> None:
    result = run(query, "revenue", "order_count", "--grain", "day")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if any(bar in line for bar in "▁▂▃▄▅▆▇█")]
    assert [line.split()[0] for line in lines] == ["revenue", "order_count"]


def test_a_page_has_the_totals_over_all_rows_beside_it(run: Any) -> None:
    whole = json.loads(run(query, "order_count", "--as", BOTH, "--json").output)["data"]["rows"][0]["order_count"]
    result = run(query, "order_count", "--by", "region", "--limit", "1", "--as", BOTH)
    table = result.output.splitlines()
    assert table[0].split() == ["region", "order_count"]
    assert table[2].split() == ["all", "rows", str(whole)]


def test_a_chart_draws_a_bar_for_each_row(run: Any) -> None:
    result = run(query, "order_count", "--by", "region", "--chart", "--as", BOTH)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "order_count"
    assert lines[1].startswith("EU ")
    assert "█" in lines[1]
    assert "receipt a-" in result.output


def test_rows_are_written_as_csv_arrow_and_parquet_with_their_types(run: Any, tmp_path: Path) -> None:
    asked = ("revenue", "--by", "region", "--grain", "day")
    rows = json.loads(run(query, *asked, "--json").output)["data"]["rows"]
    shown = run(query, *asked, "--format", "csv")
    read = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert [row["region"] for row in read] == [row["region"] for row in rows]
    assert "receipt a-" in shown.stderr
    path = tmp_path / "rows.parquet"
    assert run(query, *asked, "--format", "parquet", "--into", str(path)).exit_code == 0
    table = pq.read_table(path)
    assert [str(field.type) for field in table.schema][:2] == ["string", "date32[day]"]
    assert [float(value) for value in table.column("revenue").to_pylist()] == [
        float(row["revenue"]) for row in rows
    ]
    assert run(query, *asked, "--format", "arrow", "--into", str(path)).exit_code == 0
    with pa.ipc.open_stream(path) as stream:
        assert stream.read_all().num_rows == len(rows)


def test_a_file_without_a_format_is_a_mistake(run: Any) -> None:
    result = run(query, "revenue", "--into", "x.csv")
    assert isinstance(result.exception, InvalidArgument)
    assert "--into needs a format" in str(result.exception)


def test_arrow_keeps_exact_decimals_whole_numbers_of_any_size_and_moments_in_their_zone() -> None:
    columns = [
        FileColumn("money", ColumnType.DECIMAL),
        FileColumn("huge", ColumnType.INTEGER),
        FileColumn("at", ColumnType.TIMESTAMP, "Europe/Berlin"),
        FileColumn("on", ColumnType.DATE),
    ]
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    rows = [{"money": Decimal("0.10"), "huge": 2**70, "at": moment, "on": date(2025, 1, 1)}, dict.fromkeys(
        ["money", "huge", "at", "on"])]  # fmt: skip
    table = arrow_table(columns, rows)
    assert [str(field.type) for field in table.schema] == [
        "decimal128(2, 2)", "decimal128(38, 0)", "timestamp[us, tz=Europe/Berlin]", "date32[day]",
    ]  # fmt: skip
    assert table.column("money").to_pylist() == [Decimal("0.10"), None]
    assert table.column("huge").to_pylist() == [Decimal(2**70), None]
    assert encoded_rows(columns, rows, "csv").decode().splitlines()[1:] == [
        f"0.10,{2**70},2025-01-01T00:00:00+00:00,2025-01-01",
        ",,,",
    ]


def test_a_sparkline_shows_gaps_and_a_level_line() -> None:
    assert sparkline([1, None, 3]) == "▁ █"
    assert sparkline([Decimal(5), 5.0, 5]) == "▄▄▄"
    assert sparkline([None, float("nan")]) == "  "


def test_a_sparkline_is_drawn_for_each_group_and_only_over_one_time() -> None:
    columns: list[dict[str, Any]] = [
        {"name": "metric_time__day", "kind": "dimension", "grain": "day"},
        {"name": "region", "kind": "dimension"},
        {"name": "n", "kind": "metric"},
    ]
    rows = [
        {"metric_time__day": date(2025, 1, day), "region": region, "n": day if region == "EU" else -day}
        for region in ("EU", None)
        for day in (1, 2, 3)
    ]
    assert sparklines(columns, rows) == ["n · EU  ▁▅█", "n · –   █▅▁"]
    assert sparklines(columns[1:], rows) == []


def test_bars_start_at_zero_and_negative_ones_say_so() -> None:
    columns: list[dict[str, Any]] = [{"name": "region", "kind": "dimension"}, {"name": "n", "kind": "metric"}]
    rows = [{"region": "EU", "n": 10}, {"region": "US", "n": -5}, {"region": None, "n": None}]
    assert bars(columns, rows, 20) == ["n", f"EU  {'█' * 12} 10", f"US -{'█' * 6} -5", "–"]


def test_a_metric_is_described_in_words_with_its_inputs_times_state_and_sql(run: Any) -> None:
    data = json.loads(run(describe, "metric://sales/revenue", "--json").output)["data"]
    assert data["in_words"] == "the sum of orders.amount"
    assert data["inputs"] == [{"name": "orders.revenue", "kind": "measure", "words": "the sum of orders.amount"}]
    assert data["times"] == ["orders.ordered_on"]
    assert (data["certification"], data["certified_by"], data["certified_at"]) == (
        "certified",
        "sam",
        "2025-01-01",
    )
    assert data["sql"].startswith("SELECT") or "SUM" in data["sql"].upper()
    assert data["owner"] == "Sales Operations"
    assert "region" in [one["name"].rpartition("__")[2] for one in data["dimensions"]]


def test_every_dimension_that_a_description_offers_can_be_asked_for(run: Any) -> None:
    data = json.loads(run(describe, "metric://sales/revenue", "--json").output)["data"]
    for one in data["dimensions"]:
        assert run(query, "revenue", "--by", one["name"], "--limit", "1").exit_code == 0, one


def test_how_a_metric_is_computed_is_hidden_where_a_column_below_it_is(run: Any) -> None:
    data = json.loads(run(describe, "metric://sales/customers", "--json").output)["data"]
    assert not {"formula", "in_words", "inputs", "filter", "sql", "times"} & data.keys()
    assert "email" not in json.dumps(data)
