"""`wellhead init`: what a person gets from their own files, and that an ingest works next."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.duck.columns import arrow_array
from ingest.sources.local import find_files
from ingest.sources.rows import file_rows
from ingest.starter import init
from mcp_server.commands import lookup, query, search
from semantic_layer.errors import InvalidArgument, SourceFailed
from semantic_layer.product import ColumnType
from semantic_layer.workspace import Workspace, load_workspace
from tests.workspace_factory import BuiltWorkspace

ORDERS = [
    "Order ID;Kunde E-Mail;Straße;PLZ;order;Bezahlt;Datum;Uhrzeit;Umsatz;total amount;Anzahl",
    *(
        f"{100 + n};kunde{n}@example.com;Gärtnerweg {n};0{1000 + n};o{n % 3};{'yes' if n % 2 else 'no'};"
        f"2025-01-{n + 1:02d};08:{n + 10};12,5{n % 10};{n}.50;{n}"
        for n in range(20)
    ),
]


def start(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(init, [str(folder), *map(str, arguments), "--json"], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def columns_of(workspace: Workspace, product: str, dataset: str = "") -> Mapping[str, Any]:
    found = workspace.products[product].product.dataset(dataset or product)
    assert found is not None
    return {column.name: column for column in found.columns}


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    orders = written(tmp_path / "orders.csv", "\n".join(ORDERS), "cp1252")
    start(tmp_path / "shop", "--data", orders)
    return load_workspace(tmp_path / "shop")


def test_without_data_a_tiny_example_is_written_that_can_be_ingested_and_asked(
    tmp_path: Path, model_home: Path
) -> None:
    report = start(tmp_path / "first")
    assert [product["product"] for product in report["products"]] == ["handbook", "orders"]
    built = BuiltWorkspace(tmp_path / "first")
    built.home.mkdir()
    (built.home / "models").symlink_to(model_home / "models")
    built.ingest()

    def asked(command: Any, *arguments: str) -> Any:
        result = CliRunner().invoke(command, [*arguments, "--json"], obj=built.door)
        return json.loads(result.output)

    found = asked(search, "how long may shoes be returned")
    assert found["data"]["hits"][0]["document"] == "returns.md"
    counted = asked(query, "orders_count", "--by", "country")
    assert sum(row["orders_count"] for row in counted["data"]["rows"]) == 24
    row = asked(lookup, "orders", "orders", "1003")
    assert row["data"]["rows"][0]["city"] == "Madrid"
    assert "customer_email" not in row["data"]["rows"][0]
    assert "@example.com" not in json.dumps([found, counted, row])


def test_types_are_the_narrowest_that_hold_every_value(shop: Workspace) -> None:
    kinds = {name: column.type for name, column in columns_of(shop, "orders").items()}
    assert kinds == {
        "order_id": ColumnType.INTEGER,
        "kunde_e_mail": ColumnType.STRING,
        "strasse": ColumnType.STRING,
        "plz": ColumnType.STRING,
        "order": ColumnType.STRING,
        "bezahlt": ColumnType.BOOLEAN,
        "datum": ColumnType.DATE,
        "uhrzeit": ColumnType.TIME,
        "umsatz": ColumnType.STRING,
        "total_amount": ColumnType.DECIMAL,
        "anzahl": ColumnType.INTEGER,
    }


def test_headers_become_plain_names_and_keep_their_own_at_the_source(shop: Workspace) -> None:
    found = columns_of(shop, "orders")
    assert found["strasse"].source_name == "Straße"
    assert found["order_id"].source_name == "Order ID"


def test_the_key_is_the_unique_column_that_is_named_like_one(shop: Workspace) -> None:
    dataset = shop.products["orders"].product.dataset("orders")
    assert dataset is not None
    assert dataset.key == ("order_id",)


def test_what_looks_personal_is_classified_and_hidden_from_analysts(shop: Workspace) -> None:
    found = columns_of(shop, "orders")
    assert {name for name, column in found.items() if column.sensitive} == {"kunde_e_mail", "strasse", "plz"}
    policy = shop.products["orders"].policy
    assert policy is not None
    assert [rule.roles for rule in policy.rules] == [frozenset({"analyst"})]
    assert {column.classification for column in found.values()} == {"internal", "personal"}


def test_metrics_are_counts_and_sums_of_amounts_and_only_proposed(shop: Workspace) -> None:
    semantics = shop.products["orders"].semantics
    assert semantics is not None
    assert {metric.name for metric in semantics.metrics} == {"orders_count", "total_amount"}
    assert {metric.certification.state for metric in semantics.metrics} == {"proposed"}
    assert {dataset.default_time for dataset in semantics.datasets} == {"datum"}


def test_encoding_and_delimiter_are_declared_and_the_guess_is_told(tmp_path: Path) -> None:
    orders = written(tmp_path / "orders.csv", "\n".join(ORDERS), "cp1252")
    report = start(tmp_path / "shop", "--data", orders)
    notes = report["products"][0]["datasets"][0]["notes"]
    assert any("cp1252" in note and "guess" in note for note in notes)
    assert any("umsatz" in note and "commas" in note for note in notes)
    server = load_workspace(tmp_path / "shop").products["orders"].product.servers[0]
    assert server.options == {"encoding": "cp1252", "delimiter": ";"}


def test_the_data_stay_where_they_lie(tmp_path: Path) -> None:
    outside = written(tmp_path / "away" / "a.csv", "id,v\n1,2\n")
    inside = written(tmp_path / "shop" / "files" / "b.csv", "id,v\n1,2\n")
    report = start(tmp_path / "shop", "--data", outside, "--data", inside)
    products = load_workspace(tmp_path / "shop").products
    assert products["a"].product.servers[0].path == str(tmp_path / "away")
    assert products["b"].product.servers[0].path == "../../files"
    assert not any(name.endswith(".csv") for name in report["files"])


def test_nothing_is_overwritten_and_the_error_names_the_file(tmp_path: Path) -> None:
    mine = written(tmp_path / "shop" / "products" / "a" / "policy.yaml", "mine")
    data = written(tmp_path / "a.csv", "id,v\n1,2\n")
    with pytest.raises(InvalidArgument, match=r"products/a/policy\.yaml is there already"):
        start(tmp_path / "shop", "--data", data)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "shop" / "wellhead.yaml").exists()


def test_a_second_init_in_a_workspace_is_refused(tmp_path: Path) -> None:
    start(tmp_path / "shop")
    before = {path: path.read_bytes() for path in (tmp_path / "shop").rglob("*") if path.is_file()}
    with pytest.raises(InvalidArgument, match=r"wellhead\.yaml is there already"):
        start(tmp_path / "shop")
    assert {path: path.read_bytes() for path in (tmp_path / "shop").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ragged.csv", b"a,b\n1,2\n3\n", "line 3: 2 fields expected, 1 found"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"a,b\n", "holds no value"),
        ("twice.csv", b"a,A\n1,2\n", "both named"),
        ("binary.csv", b"a,b\n1,\x00\n", "NUL byte"),
        ("broken.json", b'[{"a": 1},]', "line 1"),
        ("picture.png", b"\x89PNG\r\n", "ending that cannot be read"),
        ("not.parquet", b"PAR0", "is not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_nothing_is_left_behind(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    data = tmp_path / name
    data.write_bytes(content)
    with pytest.raises(SourceFailed, match=said) as failure:
        start(tmp_path / "shop", "--data", data)
    assert name in failure.value.message
    assert not [path for path in (tmp_path / "shop").rglob("*") if path.is_file()]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no such file or folder"):
        start(tmp_path / "shop", "--data", tmp_path / "missing.csv")


def test_a_folder_of_tables_becomes_a_dataset_each_and_a_series_one_together(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    for year in (2023, 2024, 2025):
        written(folder / f"sales-{year}.csv", f"id,amount\n{year},2\n")
    written(folder / "costs-1.csv", "id,one\n1,2\n")
    written(folder / "costs-2.csv", "id,other\n1,2\n")
    written(folder / "broken.csv", 'a\n"x')
    report = start(tmp_path / "shop", "--data", folder)
    product = report["products"][0]
    assert {one["dataset"]: one["rows"] for one in product["datasets"]} == {"sales": 3, "costs_1": 1, "costs_2": 1}
    assert [one["file"] for one in product["left_out"]] == ["broken.csv"]
    assert "line 2" in product["left_out"][0]["reason"]


def test_tables_beside_documents_are_never_read_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    written(folder / "a.md", "---\nregion: EU\nupdated: 2025-01-02\ntags: [x]\n---\n# Hi\n\nText.\n")
    written(folder / "deep" / "b.md", "# B\n\nMore text.\n")
    written(folder / "people [1].csv", "id,name\n1,Ada\n")
    report = start(tmp_path / "shop", "--data", folder)
    kinds = {one["dataset"]: (one["kind"], one["rows"]) for one in report["products"][0]["datasets"]}
    assert kinds == {"people_1": ("table", 1), "documents": ("document", 2)}
    product = load_workspace(tmp_path / "shop").products["mixed"].product
    documents = product.dataset("documents")
    assert documents is not None
    files = find_files(documents, Path(product.servers[0].path))
    assert [file.name for file in files] == ["a.md", "deep/b.md"]
    declared = {column.name: column.type for column in documents.columns}
    assert declared["updated"] is ColumnType.DATE
    assert declared["tags"] is ColumnType.ARRAY
    assert declared["region"] is ColumnType.STRING


def test_a_workbook_of_several_sheets_among_documents_is_a_document(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    written(folder / "a.md", "# A\n\nText.\n")
    book = openpyxl.Workbook()
    book.create_sheet("Notes")
    book.save(folder / "report.xlsx")
    report = start(tmp_path / "shop", "--data", folder)
    assert [(one["kind"], one["rows"]) for one in report["products"][0]["datasets"]] == [("document", 2)]


def test_nested_records_are_flattened_by_path(tmp_path: Path) -> None:
    records = [
        {"id": n, "attributes": {"colour": "red", "size": {"eu": 40 + n}}, "tags": ["a"], "Order No": f"x{n}"}
        for n in range(12)
    ]
    data = written(tmp_path / "items.json", json.dumps({"count": 12, "items": records}))
    start(tmp_path / "shop", "--data", data)
    workspace = load_workspace(tmp_path / "shop")
    found = columns_of(workspace, "items")
    assert found["attributes_size_eu"].path == "$.attributes.size.eu"
    assert found["order_no"].path == "$['Order No']"
    assert fitting(workspace, "items") == 12


def test_parquet_and_spreadsheets_keep_their_types(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "on": [date(2025, 1, 1)] * 2, "raw": [b"x"] * 2, "l": [[1], [2]]})
    pq.write_table(table, tmp_path / "p.parquet")  # pyright: ignore[reportUnknownMemberType]
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["ID", "On", "Price"])
    sheet.append([1, date(2025, 1, 1), 1.5])
    book.create_sheet("Notes")
    book.save(tmp_path / "book.xlsx")
    report = start(tmp_path / "shop", "--data", tmp_path / "p.parquet", "--data", tmp_path / "book.xlsx")
    workspace = load_workspace(tmp_path / "shop")
    assert {name: column.type for name, column in columns_of(workspace, "p").items()} == {
        "id": ColumnType.INTEGER, "on": ColumnType.DATE, "l": ColumnType.ARRAY,
    }  # fmt: skip
    assert columns_of(workspace, "book")["on"].type is ColumnType.DATE
    notes = [note for product in report["products"] for one in product["datasets"] for note in one["notes"]]
    assert any("'raw'" in note for note in notes)
    assert any("'Notes'" in note for note in notes)
    assert (fitting(workspace, "p"), fitting(workspace, "book")) == (2, 1)


@pytest.mark.parametrize(
    ("texts", "searched", "classification"),
    [
        (["The zip of the jacket broke after two weeks of light use."] * 5, True, "internal"),
        (["Please write to ada@example.com about the broken zip of my jacket."] * 5, False, "personal"),
        (["red", "blue"], False, "internal"),
    ],
)
def test_prose_is_searched_unless_it_holds_addresses(
    tmp_path: Path, texts: Sequence[str], searched: bool, classification: str
) -> None:
    data = written(tmp_path / "t.csv", "id,note\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(texts)))
    start(tmp_path / "shop", "--data", data)
    note = columns_of(load_workspace(tmp_path / "shop"), "t")["note"]
    assert (note.is_text, note.classification) == (searched, classification)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("contact", ["ada@example.com", "bo@example.org"]),
        ("konto", ["DE89 3704 0044 0532 0130 00", "FR14 2004 1010 0505 0001 3M02 606"]),
        ("number", ["078-05-1120", "219-09-9999"]),
        ("reach", ["+49 30 1234567", "+1 (555) 010-9999"]),
        ("Date of Birth", ["1990-01-01", "1985-05-05"]),
        ("Vorname", ["Ada", "Bo"]),
        ("customerName", ["Ada Roux", "Bo Vega"]),
        ("ip", ["10.0.0.1", "192.168.1.5"]),
    ],
)
def test_a_column_is_personal_by_its_name_or_by_what_stands_in_it(
    tmp_path: Path, column: str, values: Sequence[str]
) -> None:
    data = written(tmp_path / "t.csv", f"id,{column}\n" + "".join(f"{n},{v}\n" for n, v in enumerate(values)))
    report = start(tmp_path / "shop", "--data", data)
    assert len(report["products"][0]["datasets"][0]["personal"]) == 1


def test_the_evaluations_refuse_the_personal_column(shop: Workspace) -> None:
    path = shop.products["orders"].evals_path
    assert path is not None
    cases = yaml.safe_load(path.read_text())["forbidden"]
    assert cases[0]["as"] == {"roles": ["public"]}
    assert cases[1]["ask"]["lookup"]["columns"] == ["kunde_e_mail"]
    assert all(case["refused"] for case in cases)


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), max_size=12),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.dates().map(str),
    st.datetimes().map(str),
    st.times().map(str),
    st.booleans().map(str),
    st.sampled_from(
        ["", "NULL", "1_000", "0x1", "١٢", "1e999", "2025-02-30", "00012", "+5", "-0", ".5", "5.", "24:00"]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
def test_every_value_of_a_file_fits_the_contract_inferred_from_it(rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        text = io.StringIO()
        csv.writer(text).writerows([("first", "second"), *rows])
        data = written(Path(folder) / "t.csv", text.getvalue())
        start(Path(folder) / "shop", "--data", data)
        assert fitting(load_workspace(Path(folder) / "shop"), "t") <= len(rows)


def fitting(workspace: Workspace, product: str) -> int:
    """How many rows the product's first dataset has, each of whose values must fit."""
    found = workspace.products[product].product
    dataset = found.datasets[0]
    heard: Callable[[str], None] = lambda note: None  # noqa: E731
    rows = [
        row
        for file in find_files(dataset, Path(found.folder) / found.servers[0].path)
        for row in file_rows(dataset, file, found.servers[0], heard)
    ]
    for column in dataset.columns:
        _, misfits = arrow_array(column, [row[column.name] for row in rows])
        assert not misfits, (column.name, column.type, misfits)
    return len(rows)
