"""A metric's life as its owner sees it: proposed, certified by a person at its content, held by golden values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from indexes.jobs import JobStore
from indexes.ledger import Ledger
from wellhead import cli

SETTINGS = """\
version: 1
name: shop
cli: {principal: {subject: ann, roles: [analyst], scopes: [read, operate]}}
"""

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: NAME
version: "1.0.0"
status: active
team: {members: [{username: ann@example.com, name: Ann, role: owner}]}
servers: [{server: files, type: local, path: data, format: csv}]
schema:
  - name: NAME
    physicalType: table
    properties:
"""

ORDERS = """\
      - {name: order_id, logicalType: integer, primaryKey: true}
      - {name: customer_id, logicalType: integer}
      - {name: amount, logicalType: integer}
"""

CUSTOMERS = """\
      - {name: customer_id, logicalType: integer, primaryKey: true}
      - {name: region, logicalType: string}
"""

POLICY = """\
version: 1
rules: [{name: all, roles: ["*"], actions: [discover, metric, lookup], columns: "*"}]
"""

SEMANTICS = """\
version: 0.2.0.dev0
semantic_model:
- name: orders
  datasets:
  - name: orders
    source: orders.orders
    primary_key: [order_id]
    fields: [{name: amount, expression: {dialects: [{dialect: ANSI_SQL, expression: amount}]}}]
  relationships:
  - {name: buyer, from: orders, to: customers.customers, from_columns: [customer_id], to_columns: [customer_id]}
  metrics:
  - name: revenue
    expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(orders.amount)}]}
    description: Euros.
  - {name: order_count, expression: {dialects: [{dialect: ANSI_SQL, expression: COUNT(orders.order_id)}]}}
  - {name: average, expression: {dialects: [{dialect: ANSI_SQL, expression: revenue / order_count}]}}
"""

EVALS = """\
version: 1
metrics:
  - id: revenue-of-eu
    as: {roles: [analyst]}
    query: {metrics: [revenue], dimensions: [buyer__region], order: [buyer__region]}
    expect: [{buyer__region: EU, revenue: 30}, {buyer__region: US, revenue: 40}]
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products, live; a metric of one is grouped by a column of the other."""
    root = tmp_path_factory.mktemp("shop")
    files = {
        "wellhead.yaml": SETTINGS,
        "products/orders/contract.yaml": CONTRACT.replace("NAME", "orders") + ORDERS,
        "products/orders/policy.yaml": POLICY,
        "products/orders/semantics.yaml": SEMANTICS,
        "products/orders/evals.yaml": EVALS,
        "products/orders/data/orders.csv": "order_id,customer_id,amount\n1,10,10\n2,10,20\n3,11,40\n",
        "products/customers/contract.yaml": CONTRACT.replace("NAME", "customers") + CUSTOMERS,
        "products/customers/policy.yaml": POLICY,
        "products/customers/data/customers.csv": "customer_id,region\n10,EU\n11,US\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ingest(root)
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy of the workspace for one test."""
    return Path(shutil.copytree(built, tmp_path / "shop"))


def wellhead(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--workspace", str(root), *arguments])


def ingest(root: Path, *products: str) -> None:
    result = wellhead(root, "ingest", *products)
    assert result.exit_code == 0, result.output


def states(root: Path) -> dict[str, str]:
    """The state of each live metric, by its name."""
    listed = json.loads(wellhead(root, "certify", "--json").stdout)
    return {one["metric"]: one["state"] for one in listed}


def certify(root: Path, metric: str, *more: str) -> Any:
    result = wellhead(root, "certify", metric, "--by", "Mara Lindqvist", "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)[0]


def receipt(root: Path, metric: str) -> Any:
    result = wellhead(root, "query", metric, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["receipt"]


def change(root: Path, old: str, new: str, product: str = "orders") -> None:
    path = root / f"products/{product}/semantics.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    ingest(root, product)


def test_a_named_person_certifies_a_metric_and_its_receipts_say_so(root: Path) -> None:
    assert set(states(root).values()) == {"proposed"}
    assert receipt(root, "revenue")["certification"] == {"revenue": "proposed"}
    row = certify(root, "orders.revenue", "--note", "as in the annual report")
    assert (row["state"], row["by"]) == ("certified", "Mara Lindqvist")
    assert receipt(root, "revenue")["certification"] == {"revenue": "certified"}
    assert states(root) == {"revenue": "certified", "order_count": "proposed", "average": "proposed"}
    (entry,) = Ledger(root / ".wellhead").certificates().entries
    assert (entry.metric, entry.by, entry.note) == ("revenue", "Mara Lindqvist", "as in the annual report")


def test_an_edit_of_what_a_number_rests_on_ends_its_certificate_and_going_back_restores_it(root: Path) -> None:
    certify(root, "revenue")
    certify(root, "average")
    change(root, "SUM(orders.amount)", "SUM(orders.amount) * 1")
    assert states(root) == {"revenue": "proposed", "order_count": "proposed", "average": "proposed"}
    listed = wellhead(root, "certify").output
    assert "orders.revenue: proposed (changed since Mara Lindqvist certified it)" in listed
    described = json.loads(wellhead(root, "describe", "metric://orders/revenue", "--json").stdout)["data"]
    assert described["changed_since_certified_by"] == "Mara Lindqvist"
    assert wellhead(root, "rollback", "orders").exit_code == 0
    assert states(root)["revenue"] == states(root)["average"] == "certified"


def test_an_edit_elsewhere_keeps_the_certificate(root: Path) -> None:
    certify(root, "revenue")
    change(root, "COUNT(orders.order_id)", "COUNT(DISTINCT orders.order_id)")
    assert states(root)["revenue"] == "certified"
    change(root, "description: Euros.", "description: Dollars.")
    assert states(root)["revenue"] == "proposed"


def test_a_certificate_is_withdrawn_in_a_name_too(root: Path) -> None:
    certify(root, "revenue")
    assert certify(root, "revenue", "--withdraw")["state"] == "proposed"
    assert receipt(root, "revenue")["certification"] == {"revenue": "proposed"}


def test_a_file_certifies_only_with_the_hash_of_the_content_it_has(root: Path) -> None:
    listed = json.loads(wellhead(root, "certify", "--json").stdout)
    sha256 = next(one["sha256"] for one in listed if one["metric"] == "revenue")
    extension = "\n    custom_extensions: [{vendor_name: WELLHEAD, data: '%s'}]"
    without = {"certification": {"state": "certified", "by": "Kim"}}
    change(root, "    description: Euros.", "    description: Euros." + extension % json.dumps(without))
    assert states(root)["revenue"] == "proposed"
    warned = wellhead(root, "validate").output
    assert "the metric 'revenue' is not certified at the content it has, and counts as proposed." in warned
    assert sha256 in warned
    change(root, '"by": "Kim"}', f'"by": "Kim", "sha256": "{sha256}"}}')
    assert states(root)["revenue"] == "certified"
    assert "counts as proposed" not in wellhead(root, "validate").output


def test_nobody_certifies_without_a_name_or_without_the_scope_of_operators(root: Path) -> None:
    unnamed = wellhead(root, "certify", "revenue")
    assert "needs the name of a person" in str(unnamed.exception)
    unknown = wellhead(root, "certify", "revenu", "--by", "Mara Lindqvist")
    assert "no live metric 'revenu'. Did you mean 'revenue'?" in str(unknown.exception)
    (root / "wellhead.yaml").write_text(SETTINGS.replace(", operate", ""))
    refused = wellhead(root, "certify", "revenue", "--by", "Mara Lindqvist")
    assert getattr(refused.exception, "exit_code", None) == 4
    assert "may not certify" in str(refused.exception)
    assert not Ledger(root / ".wellhead").certificates().entries


def test_two_products_that_each_pass_cannot_break_a_metric_together(root: Path) -> None:
    """Customers has no golden values of its own; those of orders are asked of the edition it would make."""
    before = Ledger(root / ".wellhead").edition()
    (root / "products/customers/data/customers.csv").write_text("customer_id,region\n10,EU\n11,EU\n")
    result = wellhead(root, "ingest", "customers")
    assert result.exit_code == 6, result.output
    assert "metric orders/revenue-of-eu" in result.output
    assert Ledger(root / ".wellhead").edition() == before
    assert json.loads(wellhead(root, "query", "revenue", "--by", "buyer__region", "--json").stdout)["data"][
        "rows"
    ] == [
        {"buyer__region": "EU", "revenue": 30},
        {"buyer__region": "US", "revenue": 40},
    ]


def test_a_generation_that_would_break_another_products_number_is_not_promoted(root: Path) -> None:
    (root / "products/orders/evals.yaml").unlink()
    (root / "products/customers/data/customers.csv").write_text("customer_id,region\n10,EU\n11,EU\n")
    ingest(root, "orders")
    ingest(root, "customers")
    moved = Ledger(root / ".wellhead").edition().products["customers"]
    (root / "products/customers/data/customers.csv").write_text("customer_id,region\n10,EU\n11,US\n")
    (root / "products/orders/evals.yaml").write_text(EVALS)
    ingest(root, "customers")
    ingest(root, "orders")
    before = Ledger(root / ".wellhead").edition()
    refused = wellhead(root, "promote", "customers", moved)
    assert getattr(refused.exception, "exit_code", None) == 6
    assert "metric orders/revenue-of-eu: 1 rows instead of 2" in str(refused.exception)
    arguments = {"action": "promote", "product": "customers", "generation": moved}
    job = JobStore(root / ".wellhead").submit("release", arguments, "olga")
    assert wellhead(root, "work", "--once").exit_code == 0
    failed = JobStore(root / ".wellhead").get(job.id)
    assert (failed.state, failed.result["code"]) == ("failed", "gate_failed")
    assert Ledger(root / ".wellhead").edition() == before
