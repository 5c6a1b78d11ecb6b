"""Requests turned away at the door leave a record: counted by the window, never one each, and no word of a token."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from mcp_server.audit import AuditLog
from mcp_server.audit_chain import lines_of, segments
from mcp_server.audit_opening import anchor_of
from mcp_server.audit_verify import verify_log
from mcp_server.refusals import KIND, MOST_TOLD, DoorRefusals
from mcp_server.settings import serving_settings
from semantic_layer.errors import Refused, Unauthenticated
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU
from tests.mcp_server.running import running_server
from tests.mcp_server.wire import Wire
from tests.workspace_factory import BuiltWorkspace

NO_TOKEN = Unauthenticated("a bearer token is required.")
PATIENCE_SECONDS = 20.0


def scope(peer: str = "203.0.113.7", path: str = "/mcp") -> dict[str, Any]:
    return {
        "type": "http",
        "path": path,
        "client": (peer, 4711),
        "headers": [(b"authorization", b"Bearer s3cret")],
    }


def windows(home: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for path in segments(home / "audit") for line in lines_of(path)]
    return [record for record in found if record["kind"] == KIND]


def test_a_server_records_whom_it_turned_away_and_the_log_stays_whole(
    tiny: BuiltWorkspace, tmp_path: Path
) -> None:
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True, ignore=shutil.ignore_patterns("audit", "anchors"))
    own = BuiltWorkspace(tmp_path / "own")
    with running_server(own, anonymous=False) as server, httpx2.Client(base_url=server.origin, timeout=30) as http:
        good = Wire(http, server.token(EU))
        forged = server.token(EU)[:-4] + "AAAA"
        scopeless = Wire(http, server.token(Principal("sid", scopes=frozenset())))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: Wire(http).ask("tools/list"), range(40)))
        assert Wire(http, forged).ask("tools/list").status_code == 401
        assert scopeless.ask("tools/list").status_code == 403
        assert good.ask("tools/list", {"Host": "evil.example"}).status_code == 421
        assert good.ask("tools/list", {"Origin": "https://evil.example"}).status_code == 403
        assert http.get("/mcp", params={"access_token": forged}).status_code == 401
        sent = {"Authorization": f"Bearer {good.token}"}
        assert http.post("/api/tools/search", content=b"[" * 9, headers=sent).status_code == 400
        assert good.ask("tools/call", name="discover", arguments={}).status_code == 200
    found = windows(own.home)
    counts: Counter[tuple[str, str, str]] = Counter()  # over all windows, of which a slow machine sees more
    for each in found:
        for one in each["refusals"]:
            counts[one["code"], one["at"], one["why"]] += one["count"]
    assert counts["unauthenticated", "/mcp", "a bearer token is required."] == 40
    assert counts["host", "/mcp", "the Host header names another."] == 1
    assert counts["origin", "/mcp", "the Origin header names another."] == 1
    assert counts["refused", "/mcp", "rule scope"] == 1
    assert counts["invalid_argument", "/api", "the body is no JSON object."] == 1
    assert sum(each["count"] for each in found) == 46
    assert len(found) < 10
    assert {one["peer"] for each in found for one in each["refusals"]} == {"127.0.0.1"}
    text = b"".join(path.read_bytes() for path in segments(own.home / "audit")).decode()
    assert forged not in text
    assert forged.split(".")[1] not in text
    anchor = anchor_of(serving_settings(own.door), {})
    assert verify_log(own.home / "audit", [anchor]).whole


def test_a_flood_from_everywhere_costs_one_short_record(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    refusals = DoorRefusals(log)
    for number in range(20_000):
        refusals.note_error(scope(f"2001:db8::{number:x}"), NO_TOKEN)
    refusals.close()
    log.close()
    found = windows(tmp_path)
    assert sum(each["count"] for each in found) == 20_000
    assert len(found) <= 2
    assert all(len(each["refusals"]) <= MOST_TOLD for each in found)
    assert sum(path.stat().st_size for path in segments(tmp_path / "audit")) < 20_000


def test_what_a_request_says_is_not_repeated(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    refusals = DoorRefusals(log)
    refusals.note_error(scope(path="/api/../secret"), Refused("eva may not act for 'my secret'.", rule="purpose"))
    refusals.note_error(scope(path="/secret"), NO_TOKEN)
    refusals.close()
    log.close()
    (window,) = windows(tmp_path)
    assert "secret" not in json.dumps(window)
    assert [one["at"] for one in window["refusals"]] == ["/api", "other"]


def test_windows_follow_each_other_while_refusals_go_on(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    refusals = DoorRefusals(log, first=0.01, last=0.02)
    waiting = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 100)):
        refusals.note_error(scope(), NO_TOKEN)
        if len(windows(tmp_path)) >= 3:
            break
        waiting.wait(0.01)
    refusals.close()
    log.close()
    assert len(windows(tmp_path)) >= 3


def test_what_cannot_be_written_is_kept_for_the_next_window(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    refusals = DoorRefusals(log, first=0.01, last=0.02)
    (tmp_path / "audit").write_text("in the way")
    refusals.note_error(scope(), NO_TOKEN)
    waiting = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 100)):
        if log.failing:
            break
        waiting.wait(0.01)
    assert log.failing
    (tmp_path / "audit").unlink()
    refusals.note_error(scope("198.51.100.1"), NO_TOKEN)
    refusals.close()
    log.close()
    assert sum(each["count"] for each in windows(tmp_path)) == 2
