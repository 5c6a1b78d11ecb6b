"""`wellhead ingest` and `wellhead work` as a person or a script sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexes.jobs import Job, JobStore
from indexes.ledger import Ledger
from ingest.work import Worker
from wellhead import cli

TINY = Path(__file__).parents[1] / "workspaces" / "tiny"


@pytest.fixture
def root(tmp_path: Path, model_home: Path) -> Path:
    root = tmp_path / "tiny"
    shutil.copytree(TINY, root)
    (root / ".wellhead").mkdir()
    (root / ".wellhead" / "models").symlink_to(model_home / "models")
    return root


def wellhead(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--workspace", str(root), *arguments])


def test_ingest_tells_in_a_line_a_product_what_is_live(root: Path) -> None:
    first = wellhead(root, "ingest")
    assert first.exit_code == 0
    assert "handbook: 4 documents, 4 rows, 4 chunks sealed as " in first.output
    assert "sales: 5 documents, 8 rows, 5 chunks sealed as " in first.output
    again = wellhead(root, "ingest", "sales")
    assert again.output.startswith("sales: unchanged, ")
    assert "handbook" not in again.output


def test_ingest_with_json_prints_one_report_a_product(root: Path) -> None:
    reports = json.loads(wellhead(root, "ingest", "--json").stdout)
    assert [(report["product"], report["state"]) for report in reports] == [
        ("handbook", "published"),
        ("sales", "published"),
    ]
    assert reports[0]["counts"]["chunks"] == 4


def test_a_product_that_fails_stops_no_other_and_sets_the_exit_code(root: Path) -> None:
    (root / "products/handbook/data/broken.md").write_bytes(b"\xff\xfe\x00")
    result = wellhead(root, "ingest")
    assert result.exit_code == 1
    assert "broken.md" in result.output
    assert set(Ledger(root / ".wellhead").edition().products) == {"sales"}
    failed, published = json.loads(wellhead(root, "ingest", "--json").stdout)
    assert failed["failure"]["code"] == "source_failed"
    assert published["state"] == "unchanged"


def test_an_ingest_tells_of_rules_that_nothing_checks(root: Path) -> None:
    contract = root / "products/sales/contract.yaml"
    column = "{name: region, logicalType: string,"
    rule = "quality: [{type: custom, engine: soda, implementation: 'x: 1'}]"
    contract.write_text(contract.read_text().replace(column, f"{column} {rule},", 1))
    told = wellhead(root, "ingest", "sales").output
    assert "warning: products/sales/contract.yaml:" in told
    assert "a custom quality rule for soda is not checked here." in told


def test_a_gate_that_fails_ends_with_exit_code_6(root: Path) -> None:
    path = root / "products/sales/data/orders.csv"
    path.write_text(path.read_text().replace("10.50", "11.50"))
    result = wellhead(root, "ingest", "sales")
    assert result.exit_code == 6
    assert "revenue-eu" in result.output


def test_an_unknown_product_is_named_with_a_suggestion(root: Path) -> None:
    result = wellhead(root, "ingest", "sale")
    assert "Did you mean 'sales'?" in str(result.exception)


def submitted(root: Path, kind: str, **arguments: object) -> Job:
    store = JobStore(root / ".wellhead")
    job = store.submit(kind, arguments, "olga")
    assert wellhead(root, "work", "--once").exit_code == 0
    return store.get(job.id)


def test_a_submitted_ingest_is_run_in_the_name_of_who_asked(root: Path) -> None:
    job = submitted(root, "ingest", products=["handbook"])
    assert job.state == "succeeded"
    assert [one["product"] for one in job.result["products"]] == ["handbook"]
    assert Ledger(root / ".wellhead").edition().by == "olga"


def test_a_submitted_ingest_that_fails_says_why(root: Path) -> None:
    (root / "products/handbook/data/broken.md").write_bytes(b"\xff\xfe\x00")
    job = submitted(root, "ingest", products=[])
    assert job.state == "failed"
    assert "broken.md" in job.result["message"]


def test_a_submitted_rollback_moves_the_ledger(root: Path) -> None:
    wellhead(root, "ingest")
    job = submitted(root, "release", action="rollback", edition=1, products=["sales"])
    assert job.state == "succeeded"
    assert set(job.result["products"]) == {"handbook"}


def test_a_submitted_evaluation_gives_every_case(root: Path) -> None:
    wellhead(root, "ingest")
    job = submitted(root, "evaluate", products=["sales"])
    assert job.state == "succeeded"
    assert job.result["failed"] == []
    assert len(job.result["results"][0]["cases"]) == 3


def test_a_cancelled_job_never_starts(root: Path) -> None:
    store = JobStore(root / ".wellhead")
    job = store.submit("ingest", {"products": []}, "olga")
    store.cancel(job.id)
    assert wellhead(root, "work", "--once").exit_code == 0
    assert store.get(job.id).state == "cancelled"
    assert Ledger(root / ".wellhead").edition().number == 0


def test_a_running_job_that_is_cancelled_stops_before_its_next_step_and_leaves_nothing(root: Path) -> None:
    store = JobStore(root / ".wellhead")
    job = store.submit("ingest", {"products": []}, "olga")
    claim = store.claim("this test")
    assert claim is not None
    store.cancel(job.id)
    Worker(root, {}).run_claimed(claim)
    assert store.get(job.id).state == "cancelled"
    assert Ledger(root / ".wellhead").edition().number == 0


def test_a_job_whose_worker_died_is_run_by_the_next_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(root / ".wellhead")
    job = store.submit("ingest", {"products": ["handbook"]}, "olga")
    assert store.claim("a worker that dies") is not None
    assert wellhead(root, "work", "--once").exit_code == 0
    assert store.get(job.id).state == "running"
    monkeypatch.setattr("indexes.jobs.LEASE_SECONDS", 0.0)
    Worker(root, {}).run_next()
    assert store.get(job.id).state == "succeeded"
