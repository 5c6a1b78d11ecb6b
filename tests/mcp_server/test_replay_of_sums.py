"""Sums of floating numbers over a table that two threads read: a replay tells rounding from a change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.ledger import Ledger, Tombstone
from indexes.measure import adding_up_by_size
from mcp_server.near_digest import near_digest
from mcp_server.opening import serving
from mcp_server.replay import BEFORE_NEAR, CANCELS, ROUNDING, replay
from mcp_server.service import Service
from mcp_server.settings import serving_settings
from semantic_layer.principal import Principal
from tests.mcp_server.callers import Asker
from tests.workspace_factory import BuiltWorkspace

ROWS = 300_000
READER = Principal("reader", frozenset({"analyst"}), scopes=frozenset({"read"}))
WORKSPACE = "version: 1\nname: meters\n"
POLICY = "version: 1\nrules: [{name: all, roles: ['*'], actions: [discover, metric], columns: '*'}]\n"
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: meters
version: 1.0.0
status: active
name: Meters
servers: [{server: files, type: local, path: data, format: parquet}]
customProperties: [{property: wellhead, value: {audit_arguments: true}}]
schema:
  - name: readings
    physicalType: table
    customProperties: [{property: wellhead, value: {path: "readings.parquet"}}]
    properties:
      - {name: reading_id, logicalType: integer, primaryKey: true, primaryKeyPosition: 1, required: true, unique: true}
      - {name: place, logicalType: string}
      - {name: kwh, logicalType: number, physicalType: double}
      - {name: booked, logicalType: number, physicalType: double}
"""
SEMANTICS = """
semantic_models:
  - name: readings
    model: ref('readings')
    entities: [{name: reading, type: primary, expr: reading_id}]
    dimensions: [{name: place, type: categorical}]
    measures:
      - {name: energy, agg: sum, expr: kwh, create_metric: true}
      - {name: mean, agg: average, expr: kwh, create_metric: true}
      - {name: balance, agg: sum, expr: booked, create_metric: true}
metrics: []
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltWorkspace:
    """Readings of decimals, and bookings that add up to nothing."""
    root = tmp_path_factory.mktemp("sums")
    product = root / "products/meters"
    (product / "data").mkdir(parents=True)
    texts = {"contract.yaml": CONTRACT, "policy.yaml": POLICY, "semantics.yaml": SEMANTICS}
    for name, text in texts.items():
        (product / name).write_text(text)
    (root / "wellhead.yaml").write_text(WORKSPACE)
    drawn = np.random.default_rng(24)
    kwh = drawn.integers(1, 10_000_000, ROWS) / 1_000
    half = drawn.integers(1, 10_000_000, ROWS // 2) / 1_000
    readings = {
        "reading_id": np.arange(ROWS),
        "place": np.char.add("p", (np.arange(ROWS) % 40).astype(str)),
        "kwh": kwh,
        "booked": drawn.permutation(np.concatenate([half, -half])),
    }
    pq.write_table(pa.table(readings), product / "data/readings.parquet")
    workspace = BuiltWorkspace(root)
    workspace.ingest()
    return workspace


@pytest.fixture
def own(built: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(built.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def service(own: BuiltWorkspace) -> Iterator[Service]:
    with serving(serving_settings(own.door), {}) as opened:
        yield opened


def rewritten(service: Service, audit_id: str, **changed: Any) -> None:
    """Change fields of a record; None takes one away. Replays read a record as it stands."""
    (segment,) = [path for path in (service.audit.folder).glob("*.jsonl") if audit_id in path.read_text()]
    lines = segment.read_text().splitlines()
    for number, line in enumerate(lines):
        record = json.loads(line)
        if record.get("id") == audit_id:
            kept = {**record, **changed}
            lines[number] = json.dumps({name: value for name, value in kept.items() if value is not None})
    segment.write_text("\n".join(lines) + "\n")


def test_sums_that_two_threads_took_are_the_same_again(service: Service) -> None:
    ask = Asker(service)
    asked = {"metrics": ["energy", "mean"], "dimensions": ["place"], "order": ["-energy"]}
    ids = [ask.ok(READER, "query_metrics", **asked).receipt.audit_id for _ in range(6)]
    assert {replay(service, one).outcome for one in ids} == {"same"}
    with adding_up_by_size():
        otherwise = ask.ok(READER, "query_metrics", **asked).receipt.audit_id
    digests = [service.audit.find(one)["result_sha256"] for one in (ids[0], otherwise)]
    assert digests[0] != digests[1]
    found = replay(service, otherwise)
    assert (found.outcome, found.reasons) == ("same", (ROUNDING,))


def test_another_reading_among_all_is_another_answer(own: BuiltWorkspace, service: Service) -> None:
    audit_id = (
        Asker(service).ok(READER, "query_metrics", metrics=["energy"], dimensions=["place"]).receipt.audit_id
    )
    Ledger(own.home).bury(Tombstone("meters", "readings", "reading_id", ("7",)), by="test")
    assert replay(service, audit_id).outcome == "erased"
    near = service.audit.find(audit_id)["near"]
    rewritten(service, audit_id, tombstones=1)
    assert replay(service, audit_id).outcome == "differs"
    assert len(near["digits"]) == 40


def test_what_cancels_to_nothing_is_called_unsteady_and_never_another_answer(service: Service) -> None:
    ask = Asker(service)
    ids = [ask.ok(READER, "query_metrics", metrics=["balance"]).receipt.audit_id for _ in range(4)]
    assert {replay(service, one).outcome for one in ids} <= {"same", "unsteady"}
    elsewhere = near_digest({"columns": [{"name": "balance", "kind": "metric"}], "rows": [{"balance": 1e-3}]})
    assert elsewhere is not None
    rewritten(service, ids[0], result_sha256="0" * 64, near=vars(elsewhere))
    found = replay(service, ids[0])
    assert (found.outcome, found.reasons) == ("unsteady", (CANCELS,))


def test_groups_that_cancel_in_part_are_the_same_again(service: Service) -> None:
    ask = Asker(service)
    asked = {"metrics": ["balance"], "dimensions": ["place"], "order": ["-balance"]}
    ids = [ask.ok(READER, "query_metrics", **asked).receipt.audit_id for _ in range(3)]
    assert {replay(service, one).outcome for one in ids} == {"same"}


def test_a_record_of_an_earlier_version_is_compared_as_far_as_it_tells(service: Service) -> None:
    ask = Asker(service)
    asked = {"metrics": ["energy"], "dimensions": ["place"]}
    audit_id = ask.ok(READER, "query_metrics", **asked).receipt.audit_id
    rewritten(service, audit_id, near=None)
    found = replay(service, audit_id)
    assert found.outcome in ("same", "unsteady")
    assert found.reasons in ((), (BEFORE_NEAR,))
