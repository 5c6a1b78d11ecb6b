"""The audit log: every call on disk before its answer leaves, readable after a kill, and never skipped."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcp_server.audit import AuditLog, new_audit_id
from semantic_layer.errors import EngineUnavailable, NewerFormat, UnknownName


def lines(home: Path) -> list[dict[str, object]]:
    return [
        record
        for path in sorted((home / "audit").glob("*.jsonl"))
        for line in path.read_text().splitlines()
        if (record := json.loads(line)).get("kind") != "segment"
    ]


def test_a_record_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append({"id": new_audit_id(), "tool": "search"})
    assert [record["tool"] for record in lines(tmp_path)] == ["search"]
    log.close()


def test_records_of_concurrent_calls_are_all_there_and_whole(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: log.append({"id": f"a-{n}", "note": "x" * n}), range(300)))
    log.close()
    assert {record["id"] for record in lines(tmp_path)} == {f"a-{n}" for n in range(300)}


def test_two_processes_may_share_one_log(tmp_path: Path) -> None:
    one, two = AuditLog(tmp_path), AuditLog(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (one, two)[n % 2].append({"id": f"a-{n}"}), range(100)))
    assert len(lines(tmp_path)) == 100
    one.close()
    two.close()


def test_a_newline_in_an_argument_makes_no_second_record(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append({"id": "a-1", "tool": 'search\n{"id": "forged"}\u2028\x85'})
    log.close()
    (segment,) = (tmp_path / "audit").iterdir()
    assert len(segment.read_bytes().splitlines()) == 2


def test_a_call_is_found_again_with_its_feedback(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    wanted = new_audit_id()
    log.append({"id": wanted, "tool": "search"})
    log.append({"id": new_audit_id(), "tool": "lookup"})
    log.append({"kind": "feedback", "about": wanted, "label": "helpful"})
    found = log.find(wanted)
    assert found["tool"] == "search"
    assert [one["label"] for one in found["feedback"]] == ["helpful"]
    log.close()


def test_an_id_that_was_never_given_is_unknown(tmp_path: Path) -> None:
    for asked in (new_audit_id(), "", "a-", "../../etc/passwd", "é"):
        with pytest.raises(UnknownName):
            AuditLog(tmp_path).find(asked)


def test_after_a_kill_inside_a_line_the_next_record_is_readable(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append({"id": "a-1"})
    log.close()
    path = next((tmp_path / "audit").iterdir())
    with path.open("ab") as file:
        file.write(b'{"id": "half')
    wanted = new_audit_id()
    after = AuditLog(tmp_path)
    after.append({"id": wanted})
    after.close()
    assert after.find(wanted)["id"] == wanted
    assert list((tmp_path / "audit").iterdir()) == [path]


def test_a_log_that_cannot_be_written_fails_the_call_and_recovers(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    (tmp_path / "audit").write_text("a file is in the way")
    with pytest.raises(EngineUnavailable, match="audit log"):
        log.append({"id": "a-1"})
    assert log.failing
    (tmp_path / "audit").unlink()
    log.append({"id": "a-2"})
    assert not log.failing
    shutil.rmtree(tmp_path / "audit")
    log.append({"id": "a-3"})
    assert [record["id"] for record in lines(tmp_path)] == ["a-3"]
    log.close()


def test_a_closed_log_takes_no_record(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append({"id": "a-1"})
    log.close()
    with pytest.raises(EngineUnavailable):
        log.append({"id": "a-2"})
    shutil.rmtree(tmp_path / "audit")


def test_a_record_of_a_newer_version_is_named_and_not_misread(tmp_path: Path) -> None:
    wanted = new_audit_id()
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "99990101.jsonl").write_text(json.dumps({"format": 3, "id": wanted}) + "\n")
    with pytest.raises(NewerFormat):
        AuditLog(tmp_path).find(wanted)


def test_a_record_that_was_handed_in_is_written_also_where_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    written = log.submit({"id": "a-1"})
    assert not written.cancel()
    log.close()
    assert written.result() is None
    assert [record["id"] for record in lines(tmp_path)] == ["a-1"]
    assert isinstance(log.submit({"id": "a-2"}).exception(), EngineUnavailable)
