"""The outfitter's data: the same for the same seed, with every trap in it, and golden answers that follow."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import open_data_contract_standard
import pypdfium2
import pytest
import yaml
from open_data_contract_standard.model import OpenDataContractStandard

from examples.outfitter.clock import CLOSING, OPENING, berlin_day, fiscal_quarter_start, fiscal_year_start
from examples.outfitter.generate import ORDERS, SEED, generate, postgres_tables
from examples.outfitter.golden import FY2025, FY2026, expected, kept_orders, last_levels, net_revenue, relevant
from examples.outfitter.pages import read_pages
from examples.outfitter.refresh_evals import PRODUCTS, refreshed
from examples.outfitter.shop import Shop, make_shop

SMALL = 400
OSSIE_SCHEMA = Path(__file__).parents[3] / "shared" / "truth" / "ossie" / "osi-schema.json"


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(SEED, ORDERS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("outfitter")
    generate(target, orders=SMALL)
    return target


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(workspace: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", orders=SMALL)
    generate(tmp_path / "other", seed=8, orders=SMALL)
    first, again, other = (digests(folder) for folder in (workspace, tmp_path / "again", tmp_path / "other"))
    assert again == first
    assert other.keys() == first.keys()
    assert other["postgres/orders.csv"] != first["postgres/orders.csv"]


def test_every_format_of_document_is_there_and_pdf_pages_have_text(workspace: Path) -> None:
    pages = workspace / "products" / "handbook" / "data"
    suffixes = Counter(path.suffix for path in pages.rglob("*.*"))
    assert set(suffixes) == {".md", ".html", ".pdf", ".docx"}
    assert {path.name for path in pages.iterdir()} == {"public", "internal", "restricted"}
    document = pypdfium2.PdfDocument(pages / "public" / "size-guide.pdf")
    text = [page.get_textpage().get_text_bounded() for page in document]
    assert len(text) >= 3
    assert any("267" in page for page in text)
    words = sum(len(page.source.split()) for page in read_pages())
    assert words > 13_000  # about sixty pages of 230 words


def test_pages_say_who_they_are_for_and_their_folder_agrees() -> None:
    for page in read_pages():
        assert page.meta["audience"] == page.path.partition("/")[0]
        assert date.fromisoformat(page.meta["updated"]) <= date(2026, 1, 31)


def test_postgres_tables_match_their_files_and_their_schema(workspace: Path) -> None:
    for name, columns, rows in postgres_tables(orders=SMALL):
        with (workspace / "postgres" / f"{name}.csv").open(encoding="utf-8") as file:
            header, *lines = list(csv.reader(file))
        assert tuple(header) == columns
        assert len(lines) == len(list(rows))
        assert f"CREATE TABLE {name} (" in (workspace / "postgres" / "schema.sql").read_text(encoding="utf-8")


def test_orders_fill_three_fiscal_years_of_berlin_days(shop: Shop) -> None:
    moments = [order.ordered_at for order in shop.sales.orders]
    assert len(moments) == ORDERS
    assert moments == sorted(moments)
    assert all(OPENING <= moment < CLOSING for moment in moments)
    assert {fiscal_year_start(berlin_day(moment)).year for moment in moments} == {2023, 2024, 2025}
    assert any(moment < datetime(2023, 2, 1, tzinfo=UTC) for moment in moments), (
        "UTC alone would add a fiscal year"
    )


def test_line_amounts_add_up_and_the_legacy_table_is_doubled(shop: Shop) -> None:
    gross: Counter[str] = Counter()
    for line in shop.sales.lines:
        assert line.gross_cents == line.discount_cents + line.vat_cents + line.net_cents
        gross[line.order_id] += line.gross_cents
    assert all(row.amount_cents == 2 * gross[row.order_id] for row in shop.sales.legacy)


def test_keys_lead_nowhere_where_they_should_and_nowhere_else(shop: Shop) -> None:
    accounts = {customer.customer_id: customer.region for customer in shop.customers}
    orders = shop.sales.orders
    guests = [order for order in orders if order.customer_id is None]
    lost = [order for order in orders if order.customer_id is not None and order.customer_id not in accounts]
    assert 0.03 < len(guests) / len(orders) < 0.06
    assert 0.005 < len(lost) / len(orders) < 0.02
    assert all(order.customer_id and order.customer_id.startswith("C9") for order in lost)
    assert all(accounts[o.customer_id] == o.region for o in orders if o.customer_id in accounts)
    known = {order.order_id for order in orders}
    assert sum(one.order_id not in known for one in shop.sales.returns) == 60
    articles = {item.product_id for item in shop.items}
    assert all(line.product_id in articles for line in shop.sales.lines)


def test_the_midnight_sale_changes_month_with_the_time_zone(shop: Shop) -> None:
    orders = kept_orders(shop, date(2025, 12, 1), FY2026).values()
    berlin = sum(berlin_day(order.ordered_at).month == 12 for order in orders)
    utc = sum(order.ordered_at.month == 12 for order in orders)
    assert utc - berlin > 150


def test_singapore_is_late_and_the_newest_day_misses_it(shop: Shop) -> None:
    newest = max(level.day for level in shop.stock)
    assert newest == date(2026, 1, 31)
    assert "Singapore" not in {level.warehouse for level in shop.stock if level.day == newest}
    whole = sum(level.units_on_hand for level in last_levels(shop, date(2026, 1, 1), FY2026))
    naive = sum(level.units_on_hand for level in shop.stock if level.day == newest)
    assert naive < 0.85 * whole


def test_regions_are_parts_of_the_whole(shop: Shop) -> None:
    parts = [net_revenue(shop, FY2025, FY2026, region) for region in ("EU", "US", "UK", "APAC")]
    assert sum(parts) == pytest.approx(net_revenue(shop, FY2025, FY2026))


def test_tickets_hold_contacts_only_in_their_flagged_columns(shop: Shop) -> None:
    orders = {order.order_id: order.ordered_at for order in shop.sales.orders}
    for ticket in shop.tickets:
        told = f"{ticket.subject} {ticket.body}"
        assert "@example." not in told
        assert ticket.contact_email not in told
        assert ticket.contact_phone not in told
        assert ticket.order_id is None or orders[ticket.order_id] < ticket.opened_at


def test_catalogue_documents_are_nested_and_told_differently(workspace: Path) -> None:
    lines = (
        (workspace / "products" / "catalogue" / "data" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    )
    documents = [json.loads(line) for line in lines]
    assert len(documents) == 400
    assert len({document["name"] for document in documents}) == 400
    assert len({document["description"] for document in documents}) == 400
    assert all(document["attributes"]["material"] and document["variants"] for document in documents)


@pytest.mark.parametrize(
    ("day", "year", "quarter"),
    [
        (date(2025, 1, 31), date(2024, 2, 1), date(2024, 11, 1)),
        (date(2025, 2, 1), date(2025, 2, 1), date(2025, 2, 1)),
        (date(2025, 4, 30), date(2025, 2, 1), date(2025, 2, 1)),
        (date(2025, 12, 31), date(2025, 2, 1), date(2025, 11, 1)),
    ],
)
def test_fiscal_periods_begin_in_february(day: date, year: date, quarter: date) -> None:
    assert (fiscal_year_start(day), fiscal_quarter_start(day)) == (year, quarter)


def test_evals_hold_the_recomputed_answers(shop: Shop) -> None:
    rows, documents = expected(shop), relevant(shop)
    for file in sorted(PRODUCTS.glob("*/evals.yaml")):
        text, product = file.read_text(encoding="utf-8"), file.parent.name
        fresh = refreshed(text, rows.get(product, {}), documents.get(product, {}))
        assert fresh == text, f"{file} is out of date: run python -m examples.outfitter.refresh_evals"


def test_every_golden_answer_has_its_case_and_every_case_an_answer(shop: Shop) -> None:
    for product, cases in expected(shop).items():
        evals = yaml.safe_load((PRODUCTS / product / "evals.yaml").read_text(encoding="utf-8"))
        assert {case["id"] for case in evals["metrics"]} == set(cases)
    for product, found in relevant(shop).items():
        assert all(found.values()), product


def test_relevant_pages_of_the_handbook_exist() -> None:
    evals = yaml.safe_load((PRODUCTS / "handbook" / "evals.yaml").read_text(encoding="utf-8"))
    paths = {page.path for page in read_pages()}
    assert len(evals["retrieval"]) >= 40
    for case in evals["retrieval"]:
        assert set(case["relevant"]) <= paths, case["id"]


def test_contracts_are_valid_odcs() -> None:
    schema = Path(open_data_contract_standard.__file__).parent / "schema.json"
    validator = jsonschema.Draft201909Validator(json.loads(schema.read_text(encoding="utf-8")))
    versions = set[str]()
    for file in sorted(PRODUCTS.glob("*/contract.yaml")):
        contract: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert not list(validator.iter_errors(contract)), file
        versions.add(str(OpenDataContractStandard.model_validate(contract).apiVersion))
    assert versions == {"v3.0.2", "v3.1.0", "v3.2.0"}


@pytest.mark.truth
def test_semantics_are_valid_ossie() -> None:
    if not OSSIE_SCHEMA.exists():
        pytest.skip("the Ossie schema is not here")
    validator = jsonschema.Draft202012Validator(json.loads(OSSIE_SCHEMA.read_text(encoding="utf-8")))
    for file in sorted(PRODUCTS.glob("*/semantics.yaml")):
        assert not list(validator.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))), file
