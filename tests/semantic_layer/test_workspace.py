"""A folder of text becomes a workspace, or every mistake in it is told at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from semantic_layer.commands import validate
from semantic_layer.descriptors import read_descriptors, write_descriptors
from semantic_layer.door import Door
from semantic_layer.errors import CorruptGeneration, InvalidWorkspace
from semantic_layer.product_folder import contract_fingerprint
from semantic_layer.workspace import load_workspace
from tests.semantic_layer.conftest import CONTRACT, POLICY, SETTINGS, Write, mistakes

OUTFITTER = Path(__file__).parents[2] / "examples" / "outfitter"

ENVELOPE = """\
apiVersion: v1.0.0
kind: DataProduct
id: orders-product
name: Shop orders
version: "7.0.0"
status: active
outputPorts: [{name: orders, version: "1", contractId: orders-contract}]
"""

SEMANTICS = """\
version: 0.2.0.dev0
semantic_model:
  - name: orders
    datasets:
      - name: orders
        source: orders.orders
        primary_key: [order_id]
        fields:
          - {name: region, expression: {dialects: [{dialect: ANSI_SQL, expression: region}]}}
    metrics:
      - name: revenue
        expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(orders.amount)}]}
"""


def test_a_workspace_of_one_product_loads(workspace: Write) -> None:
    loaded = load_workspace(workspace(files={"semantics.yaml": SEMANTICS, "product.yaml": ENVELOPE}))
    folder = loaded.products["orders"]
    assert (folder.product.title, folder.product.version) == ("Shop orders", "7.0.0")
    assert folder.semantics is not None
    assert [metric.name for metric in folder.semantics.metrics] == ["revenue"]
    assert folder.policy is not None
    assert list(folder.files) == ["contract.yaml", "product.yaml", "semantics.yaml"]
    assert loaded.home == loaded.root / ".wellhead"
    assert loaded.warnings == ()


def test_a_contract_that_is_not_read_is_the_only_mistake_that_is_told(workspace: Write) -> None:
    root = workspace(contract=CONTRACT.replace("v3.1.0", "v9.9.9"), files={"semantics.yaml": SEMANTICS})
    (told,) = mistakes(root)
    assert "apiVersion 'v9.9.9' is not supported" in told


def test_a_golden_query_of_a_metric_that_no_product_has_is_a_mistake(workspace: Write) -> None:
    cases = """version: 1
metrics:
  - {id: right, as: {roles: [analyst]}, query: {metrics: [orders.revenue]}, expect: [{orders.revenue: 1}]}
  - {id: wrong, as: {roles: [analyst]}, query: {metrics: [revenu]}, expect: [{revenu: 1}]}
"""
    root = workspace(files={"semantics.yaml": SEMANTICS, "evals.yaml": cases})
    (told,) = mistakes(root)
    assert told.startswith("products/orders/evals.yaml:4: no metric 'revenu'. Did you mean 'revenue'")


def test_mistakes_of_all_files_come_at_once_each_with_its_file(workspace: Write) -> None:
    root = workspace(
        settings=SETTINGS + "servr: {}\n",
        contract=CONTRACT.replace("logicalType: date", "logicalType: dat"),
        policy=POLICY.replace("columns:", "colums:"),
        files={"evals.yaml": "version: 1\nversion: 2\n", "semantics.yaml": "version: [\n"},
    )
    found = mistakes(root)
    assert [line.split(":")[0] for line in found] == [
        "products/orders/contract.yaml",
        "products/orders/evals.yaml",
        "products/orders/policy.yaml",
        "products/orders/policy.yaml",
        "products/orders/semantics.yaml",
        "wellhead.yaml",
    ]


def test_a_folder_that_is_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path)
    assert "no wellhead.yaml" in found
    assert "wellhead init" in found


def test_a_workspace_without_its_products_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "wellhead.yaml").write_text(SETTINGS)
    (found,) = mistakes(tmp_path)
    assert "the folder of products, products, is not there." in found


def test_a_product_without_a_contract_is_named(workspace: Write) -> None:
    (found,) = mistakes(workspace(contract=None))
    assert found.startswith("products/orders/contract.yaml:1: the file cannot be read")


def test_a_folder_whose_name_cannot_be_a_product_is_named(workspace: Write) -> None:
    (found,) = mistakes(workspace(product="my orders"))
    assert "'my orders' cannot name a product." in found


def test_a_slip_in_a_files_name_is_noticed(workspace: Write) -> None:
    found = mistakes(workspace(policy=None, files={"polcy.yaml": POLICY}))
    assert found == ["products/orders/polcy.yaml:1: nothing reads this file. Did you mean policy.yaml?"]


def test_a_product_without_a_policy_is_a_warning(workspace: Write) -> None:
    (warning,) = load_workspace(workspace(policy=None)).warnings
    assert "nobody may see this product" in str(warning)


def test_references_into_other_products_must_lead_somewhere(workspace: Write) -> None:
    workspace(
        product="crm",
        contract=CONTRACT.replace("orders-contract", "crm-contract").replace("name: orders", "name: people"),
        policy=None,
    )
    root = workspace(contract=CONTRACT.replace("to: orders.order_id", "to: crm.people.order_di"))
    assert any(
        "no column 'crm.people.order_di'. Did you mean 'crm.people.order_id'" in one for one in mistakes(root)
    )
    root = workspace(contract=CONTRACT.replace("to: orders.order_id", "to: crmm.people.order_id"))
    assert any("no product 'crmm'. Did you mean 'crm'?" in one for one in mistakes(root))


def test_two_products_cannot_share_a_contract_id(workspace: Write) -> None:
    workspace(product="again")
    (found,) = mistakes(workspace())
    assert "the contract id 'orders-contract' is also that of 'again'." in found


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "contractId: orders-contract",
            "contractId: other",
            "no output port carries the contract 'orders-contract'",
        ),
        ("kind: DataProduct", "kind: Product", "kind 'Product' is no data product."),
        (
            "apiVersion: v1.0.0",
            "apiVersion: v0.9.0",
            "apiVersion 'v0.9.0' is not supported. Use one of v1.0.0, v1.1.0",
        ),
        ("id: orders-product\n", "", "product.yaml needs `id`."),
        ("status: active", "sttus: active", "product.yaml has no key 'sttus'. Did you mean 'status'?"),
    ],
)
def test_an_envelope_around_another_contract_is_a_mistake(
    workspace: Write, before: str, after: str, said: str
) -> None:
    (found,) = mistakes(workspace(files={"product.yaml": ENVELOPE.replace(before, after)}))
    assert said in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("embeding: {model: x}", "wellhead.yaml has no key 'embeding'. Did you mean 'embedding'?"),
        ("embedding: {precision: int4}", "`precision` cannot be 'int4'. Did you mean 'int8'?"),
        ("reporting: {time_zone: Berlin}", "no time zone 'Berlin'. Use an IANA name"),
        ("server: {port: 99999}", "`port` must be from 0 to 65535, not 99999."),
        ("server: {port: '80'}", "`port` must be a whole number, not '80'."),
        ("server: {anonymous: no}", "`anonymous` must be true or false, not 'no'."),
        ("cli: {principal: {role: [a]}}", "a principal has no key 'role'. Did you mean 'roles'?"),
        ("cli: {principal: {attributes: {a: {b: 1}}}}", "attribute 'a' must be text, numbers, or a list of them."),
        ("server: [a]", "`server` must be a mapping, not a list."),
    ],
)
def test_a_mistake_in_the_settings_is_named_with_its_line(workspace: Write, line: str, said: str) -> None:
    (found,) = mistakes(workspace(settings=SETTINGS + line + "\n"))
    assert found.startswith(f"wellhead.yaml:3: {said}")


def test_settings_of_another_version_are_refused(workspace: Write) -> None:
    (found,) = mistakes(workspace(settings="version: 2\nname: shop\n"))
    assert found == "wellhead.yaml:1: version 2 is not read here. Write version: 1."


def test_settings_say_who_asks(workspace: Write) -> None:
    line = "cli: {principal: {subject: me, roles: [analyst], attributes: {regions: [EU, US], level: 3}}}\n"
    settings = load_workspace(workspace(settings=SETTINGS + line)).settings
    assert (settings.cli.subject, settings.cli.roles) == ("me", {"analyst"})
    assert settings.cli.attributes == {"regions": ("EU", "US"), "level": 3}
    assert settings.stdio.roles == {"public"}


def test_a_sealed_product_reads_back_as_it_was(workspace: Write, tmp_path: Path) -> None:
    loaded = load_workspace(workspace(files={"semantics.yaml": SEMANTICS, "evals.yaml": "version: 1\n"}))
    folder = loaded.products["orders"]
    sealed = tmp_path / "sealed"
    write_descriptors(folder, sealed)
    product, semantics = read_descriptors(sealed, "orders")
    assert product.datasets == folder.product.datasets
    assert semantics is not None
    assert folder.semantics is not None
    assert semantics.metrics == folder.semantics.metrics
    assert sorted(path.name for path in sealed.iterdir()) == ["contract.yaml", "evals.yaml", "semantics.yaml"]
    (sealed / "contract.yaml").write_text("kind: [")
    with pytest.raises(CorruptGeneration, match=r"the sealed files of 'orders' do not read \(.*contract\.yaml:2"):
        read_descriptors(sealed, "orders")


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("One row an order.", "Each row is an order.", False),
        ("name: Ann", "name: Eve", False),
        ("status: active", "status: draft", False),
        ("\n      - {name: region", "\n\n      - {name: region", False),
        ("path: data", "path: other", True),
        ("logicalType: date", "logicalType: string", True),
        ("classification: internal", "classification: restricted", True),
        ("decimal(12,2)", "decimal(12,3)", True),
        ("required: true", "required: false", True),
    ],
)
def test_the_fingerprint_follows_what_is_built_and_not_what_is_told(
    workspace: Write, before: str, after: str, changed: bool
) -> None:
    old = contract_fingerprint(load_workspace(workspace(policy=None)).products["orders"])
    root = workspace(policy=None, contract=CONTRACT.replace(before, after, 1))
    new = contract_fingerprint(load_workspace(root).products["orders"])
    assert (old != new) == changed


def test_what_agents_are_told_has_a_fingerprint_of_its_own(workspace: Write) -> None:
    old = load_workspace(workspace()).products["orders"].texts
    new = load_workspace(workspace(contract=CONTRACT.replace("One row", "Each row"))).products["orders"].texts
    assert old != new


def test_the_example_workspace_has_no_mistakes_and_loads_in_a_moment() -> None:
    load_workspace(OUTFITTER)
    started = time.process_time()
    loaded = load_workspace(OUTFITTER)
    assert time.process_time() - started < 0.5
    assert loaded.warnings == ()
    assert all(folder.policy is not None for folder in loaded.products.values())


def test_validate_prints_every_mistake_and_ends_with_code_3(workspace: Write) -> None:
    root = workspace(policy=POLICY.replace("columns:", "colums:"))
    shown = CliRunner().invoke(validate, [str(root)])
    assert shown.exit_code == 3
    assert "products/orders/policy.yaml:7: a rule has no key 'colums'. Did you mean 'columns'?" in shown.output
    form = json.loads(CliRunner().invoke(validate, [str(root), "--json"]).output)
    assert form["ok"] is False
    assert [problem["line"] for problem in form["problems"]] == [3, 7]


def test_validate_counts_what_it_read(workspace: Write) -> None:
    root = workspace()
    shown = CliRunner().invoke(validate, obj=Door(root, {}))
    assert shown.exit_code == 0
    assert "orders: 2 datasets, 9 columns, 0 metrics, 1 rule\n" in shown.output
    form = json.loads(CliRunner().invoke(validate, ["--json"], obj=Door(root, {})).output)
    assert (form["ok"], form["products"][0]["rules"]) == (True, 1)


def test_validate_names_a_slip_in_the_environment_with_the_mistakes_of_files(workspace: Write) -> None:
    root = workspace(policy=POLICY.replace("columns:", "colums:"))
    shown = CliRunner().invoke(validate, ["--json"], obj=Door(root, {"WELLHEAD_SERVER_PROT": "1"}))
    messages = [problem["message"] for problem in json.loads(shown.output)["problems"]]
    assert "no setting WELLHEAD_SERVER_PROT." in messages
    assert "a rule has no key 'colums'." in messages


def test_an_invalid_workspace_says_how_many_mistakes_it_has(workspace: Write) -> None:
    root = workspace(policy=POLICY.replace("columns:", "colums:"))
    with pytest.raises(InvalidWorkspace, match="2 mistakes in"):
        load_workspace(root)
