"""`wellhead import` and `wellhead export`, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from semantic_layer.workspace import load_workspace
from wellhead import cli

VIEW = """\
version: '1.1'
source: prod.sales.ORDERS
comment: Orders.
dimensions:
  - {name: region, expr: region}
measures:
  - {name: revenue, expr: SUM(amount), format: {type: number}}
  - name: week
    expr: SUM(amount)
    window: [{order: region, range: leading 7 day, semiadditive: last}]
"""

DBT = """\
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: ordered_on}
    entities: [{name: order, type: primary, expr: order_id}]
    dimensions:
      - {name: ordered_on, type: time, type_params: {time_granularity: day}}
      - {name: region, type: categorical}
    measures: [{name: amount, agg: sum}]
metrics:
  - name: revenue
    label: Revenue
    type: simple
    type_params: {measure: amount}
    config: {meta: {team: finance}}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is in no workspace."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)


def wellhead(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def said(result: Result) -> str:
    """The code, sentence and next step of what the command raised."""
    assert result.exception is not None
    return str(result.exception)


def test_a_file_becomes_the_semantics_of_the_product_that_has_its_tables(workspace: Callable[..., Path]) -> None:
    root = workspace()
    Path("view.yaml").write_text(VIEW)
    result = wellhead("--workspace", str(root), "import", "view.yaml")
    assert result.exit_code == 0, result.output
    target = root / "products/orders/semantics.yaml"
    assert f"1 datasets and 2 metrics from a Databricks metric view, written to {target}" in result.output
    assert "carried, and refused when asked for: week has the window 'leading 7 day'" in result.output
    assert "kept for others, and not used here: DATABRICKS format (1)" in result.output
    folder = load_workspace(root).products["orders"]
    assert folder.semantics is not None
    assert [one.name for one in folder.semantics.metrics] == ["revenue", "week"]


def test_nothing_is_overwritten_unless_it_is_forced(workspace: Callable[..., Path]) -> None:
    root = workspace()
    Path("view.yaml").write_text(VIEW)
    command = ("--workspace", str(root), "import", "view.yaml", "--product", "orders")
    assert wellhead(*command).exit_code == 0
    assert "is there already" in said(wellhead(*command))
    assert wellhead(*command, "--force").exit_code == 0


def test_what_dbt_says_and_nothing_here_reads_is_listed_with_its_line(workspace: Callable[..., Path]) -> None:
    root = workspace()
    Path("models").mkdir()
    Path("models/orders.yml").write_text(DBT)
    Path("models/sources.yml").write_text("version: 2\nsources: [{name: raw}]\n")
    result = wellhead("--workspace", str(root), "import", "models", "--json")
    form = json.loads(result.stdout)
    assert (form["form"], form["product"], form["metrics"], form["refused"]) == ("dbt", "orders", 1, [])
    line = DBT[: DBT.index("config:")].count("\n") + 1
    assert [(one["file"], one["line"], one["message"]) for one in form["not_carried"]] == [
        ("models/orders.yml", line, "`config` of 'revenue' (metrics) is not carried.")
    ]


def test_outside_a_workspace_a_file_is_written_here_and_columns_are_not_checked() -> None:
    Path("view.yaml").write_text(VIEW)
    shown = wellhead("import", "view.yaml", "--into", "-")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("# Imported from view.yaml (a Databricks metric view).\nversion: 0.2.0.dev0\n")
    assert "names of columns are not checked" in shown.stderr
    assert "Everything was carried." in shown.stderr
    assert wellhead("import", "view.yaml").exit_code == 0
    assert Path("semantics.yaml").read_text() == shown.stdout


def test_tables_that_no_product_has_are_named(workspace: Callable[..., Path]) -> None:
    root = workspace()
    Path("view.yaml").write_text(VIEW.replace("ORDERS", "parcels"))
    message = said(wellhead("--workspace", str(root), "import", "view.yaml"))
    assert "no product has the tables parcels. Say which with --product" in message
    assert "no product 'ordrs'" in said(
        wellhead("--workspace", str(root), "import", "view.yaml", "--product", "ordrs")
    )


def test_mistakes_in_the_file_end_with_exit_code_3_and_write_nothing(workspace: Callable[..., Path]) -> None:
    root = workspace()
    Path("view.yaml").write_text(VIEW.replace("SUM(amount), f", "SUM(amont), f"))
    result = wellhead("--workspace", str(root), "import", "view.yaml")
    assert getattr(result.exception, "exit_code", None) == 3
    assert "view.yaml:7: no field of ORDERS 'amont'. Did you mean 'amount'?" in said(result)
    assert not (root / "products/orders/semantics.yaml").exists()


def test_a_product_is_exported_and_imported_again_without_a_loss(workspace: Callable[..., Path]) -> None:
    root = workspace(files={"models/orders.yml": DBT.replace("    config: {meta: {team: finance}}\n", "")})
    before = load_workspace(root).products["orders"].semantics
    for form in ("ossie", "dbt"):
        exported = wellhead("--workspace", str(root), "export", "orders", "--to", form, "--into", f"{form}.yaml")
        assert exported.exit_code == 0, exported.output
        assert "not carried" not in exported.output
    for form in ("ossie", "dbt"):
        command = ("--workspace", str(root), "import", f"{form}.yaml", "--product", "orders", "--force")
        assert "Everything was carried." in wellhead(*command).output
        after = load_workspace(root).products["orders"].semantics
        assert before is not None
        assert after is not None
        assert after.metrics[0].inputs[0].measure is not None
        assert [one.name for one in after.metrics] == [one.name for one in before.metrics]


def test_export_says_what_dbt_cannot_carry(workspace: Callable[..., Path]) -> None:
    root = workspace(files={"models/orders.yml": DBT})
    wellhead("--workspace", str(root), "export", "orders", "--to", "ossie", "--into", str(root / "o.yaml"))
    text = (root / "o.yaml").read_text().replace("semantic_model:\n", "semantic_model:\n", 1)
    (root / "products/orders/semantics.yaml").write_text(text)
    form = json.loads(wellhead("--workspace", str(root), "export", "orders", "--to", "dbt", "--json").stdout)
    assert form["not_carried"] == []
    assert "semantic_models:" in form["text"]
    message = said(wellhead("--workspace", str(root), "export", "nothing", "--to", "dbt"))
    assert "no product 'nothing' with semantics. There are: orders." in message
