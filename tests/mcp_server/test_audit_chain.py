"""The audit log proves itself: what was edited, deleted, reordered or cut off is named, and a kill is told apart."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.keys import keyring
from indexes.postgres.audit_heads import AuditHeads
from mcp_server import audit_segment
from mcp_server.audit import AuditLog
from mcp_server.audit_anchor import Anchor, FolderAnchor, Signer, TableAnchor
from mcp_server.audit_chain import chained, tail_of
from mcp_server.audit_verify import Verification, verify_log
from semantic_layer.errors import EngineUnavailable

CALLS = 8


def signer(home: Path) -> Signer:
    return Signer(keyring(home, "audit"))


def anchor(home: Path) -> FolderAnchor:
    return FolderAnchor(home / "anchors", signer(home))


def opened(home: Path) -> AuditLog:
    return AuditLog(home, [anchor(home)])


def written(home: Path, calls: int = CALLS) -> Path:
    """A log of so many calls in one segment."""
    log = opened(home)
    for number in range(calls):
        log.append({"id": f"a-{number}", "tool": "search"})
    log.close()
    (segment,) = (home / "audit").iterdir()
    return segment


def verified(home: Path, *anchors: Anchor) -> Verification:
    return verify_log(home / "audit", anchors or [anchor(home)])


def test_a_log_that_nobody_touched_is_whole(tmp_path: Path) -> None:
    written(tmp_path)
    found = verified(tmp_path)
    assert found.whole
    assert (found.segments, found.records) == (1, CALLS + 1)


def edit(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], lines[place].replace(b"search", b"lookup"), *lines[place + 1 :]]


def delete(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], *lines[place + 1 :]]


def reorder(lines: list[bytes], place: int) -> list[bytes]:
    other = place - 1 if place == len(lines) - 1 else place + 1
    swapped = list(lines)
    swapped[place], swapped[other] = lines[other], lines[place]
    return swapped


def duplicate(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[: place + 1], *lines[place:]]


def cut(lines: list[bytes], place: int) -> list[bytes]:
    return lines[:place]


def cut_inside(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], lines[place][:-7]]


def garbage(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], b"garbage\n", *lines[place:]]


def forge(lines: list[bytes], place: int) -> list[bytes]:
    """Edited, and the chain after it computed anew, as somebody would who knows how it is made."""
    records = [json.loads(line) for line in lines]
    records[place]["tool"] = "forged"
    whole, _ = chained(records, records[0]["segment"], None)
    return [line + b"\n" for line in whole.splitlines()]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([edit, delete, reorder, duplicate, cut, cut_inside, garbage]),
    st.integers(1, CALLS),
)
def test_the_first_bad_record_is_named(
    tmp_path_factory: pytest.TempPathFactory, change: Callable[[list[bytes], int], list[bytes]], place: int
) -> None:
    home = tmp_path_factory.mktemp("log")
    segment = written(home)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(change(lines, place)))
    found = verified(home)
    first = min(place, place - 1 if change is reorder and place == CALLS else place)
    allowed = {first + 1, first + 2} if change is duplicate else {first + 1}
    assert found.bad, change.__name__
    assert found.bad[0].line in allowed, (change.__name__, place, str(found.bad[0]))
    assert found.bad[0].segment == segment.stem


def test_a_chain_that_was_computed_anew_does_not_fit_its_anchor(tmp_path: Path) -> None:
    segment = written(tmp_path)
    segment.write_bytes(b"".join(forge(segment.read_bytes().splitlines(keepends=True), 3)))
    assert verify_log(tmp_path / "audit", []).whole
    found = verified(tmp_path)
    assert "edited" in found.bad[0].problem


def test_an_anchor_that_was_written_anew_was_not_signed(tmp_path: Path) -> None:
    segment = written(tmp_path)
    note = tmp_path / "anchors" / f"{segment.stem}.head"
    said = json.loads(note.read_text())
    note.write_text(json.dumps({**said, "seq": 2}))
    assert "not signed" in verified(tmp_path).bad[0].problem


def test_a_deleted_segment_is_missed_by_its_anchor_and_by_the_next_segment(tmp_path: Path) -> None:
    first = written(tmp_path)
    two, three = opened(tmp_path), opened(tmp_path)
    for log in (two, three):
        log.append({"id": "a-9"})
    two.close()
    three.close()
    assert len(list((tmp_path / "audit").iterdir())) == 2
    assert verified(tmp_path).whole
    first.unlink()
    for found in (verified(tmp_path), verify_log(tmp_path / "audit", [])):
        assert found.bad[0].segment == first.stem
        assert "gone" in found.bad[0].problem


def test_a_segment_without_an_anchor_is_named(tmp_path: Path) -> None:
    segment = written(tmp_path)
    (tmp_path / "anchors" / f"{segment.stem}.head").unlink()
    assert "no head of it is anchored" in verified(tmp_path).bad[0].problem


def test_short_commands_go_on_with_one_segment_and_servers_have_their_own(tmp_path: Path) -> None:
    for _ in range(5):
        log = opened(tmp_path)
        log.append({"id": "a"})
        log.close()
    assert len(list((tmp_path / "audit").iterdir())) == 1
    servers = [opened(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: servers[n % 3].append({"id": f"a-{n}"}), range(300)))
    assert len(list((tmp_path / "audit").iterdir())) == 3
    assert verified(tmp_path).whole  # also while they are open
    for server in servers:
        server.close()
    found = verified(tmp_path)
    assert found.whole
    assert found.records == 305 + 3


def test_a_full_segment_is_closed_and_the_next_one_links_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_segment, "MAX_BYTES", 2_000)
    log = opened(tmp_path)
    for number in range(40):
        log.append({"id": f"a-{number}"})
    log.close()
    paths = sorted((tmp_path / "audit").iterdir())
    assert len(paths) > 2
    assert verified(tmp_path).whole
    paths[0].write_bytes(b"".join(paths[0].read_bytes().splitlines(keepends=True)[:-1]))
    assert "cut off" in verify_log(tmp_path / "audit", []).bad[0].problem


WRITER = """
import sys
from pathlib import Path
from tests.mcp_server.test_audit_chain import opened
log = opened(Path(sys.argv[1]))
number = 0
while True:
    log.append({"id": f"a-20240101T{sys.argv[2]}-{number}", "note": "x" * 2000})
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("acknowledged", [1, 20, 57])
def test_after_a_kill_everything_that_was_acknowledged_is_there_and_the_log_is_whole(
    tmp_path: Path, acknowledged: int
) -> None:
    for turn in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(acknowledged)]
            os.kill(writer.pid, signal.SIGKILL)
            said += [line for line in writer.stdout if line.endswith("\n")]
        log = opened(tmp_path)
        for line in said:
            assert log.find(f"a-20240101T{turn}-{int(line)}")["id"]
        found = verified(tmp_path)
        assert found.whole, found.bad
        log.close()


def test_half_a_record_of_a_killed_writer_is_named_and_is_no_break(tmp_path: Path) -> None:
    segment = written(tmp_path)
    whole = segment.read_bytes()
    for half in (b'{"id": "half', whole.splitlines()[3], b"\xff\x00"):
        segment.write_bytes(whole + half)
        found = verified(tmp_path)
        assert found.whole
        assert [torn.line for torn in found.torn] == [CALLS + 2]
        log = opened(tmp_path)
        log.append({"id": "a-after"})
        log.close()
        found = verified(tmp_path)
        assert found.whole, found.bad
        assert [torn.line for torn in found.torn] == [CALLS + 2]
        segment.write_bytes(whole)
        anchor(tmp_path).note(written_head(segment))


def written_head(segment: Path):

    head = tail_of(segment).head
    assert head is not None
    return head


def test_a_full_disk_fails_the_call_and_leaves_a_whole_log(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from semantic_layer.errors import EngineUnavailable\n"
        "from tests.mcp_server.test_audit_chain import opened\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = opened(Path(sys.argv[1]))\n"
        "log.append({'id': 'a-0'})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\n"
        "try:\n"
        "    log.append({'id': 'a-1', 'note': 'x' * 9000})\n"
        "except EngineUnavailable:\n"
        "    print('refused')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)\n"
        "log.append({'id': 'a-2'})\n"
        "log.close()\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "refused"), done.stderr
    assert verified(tmp_path).whole
    assert opened(tmp_path).find("a-2")["id"] == "a-2"


def test_an_anchor_that_cannot_be_written_counts_as_a_log_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "anchors").write_text("in the way")
    log = opened(tmp_path)
    with pytest.raises(EngineUnavailable, match="audit"):
        log.append({"id": "a-1"})
    log.close()


def test_a_log_of_the_older_form_is_read_and_called_unchained(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "audit" / "20240101.jsonl").write_text('{"format": 1, "id": "a-20240101T000000-aa"}\n')
    found = verified(tmp_path)
    assert found.whole
    assert found.unchained == ("20240101.jsonl",)
    assert AuditLog(tmp_path).find("a-20240101T000000-aa")["format"] == 1


@pytest.mark.postgres
def test_heads_in_postgres_show_what_was_cut_off(tmp_path: Path, postgres_dsn: str) -> None:
    heads = TableAnchor(AuditHeads(postgres_dsn, "wellhead"), signer(tmp_path), every=0.01)
    log = AuditLog(tmp_path, [heads])
    for number in range(CALLS):
        log.append({"id": f"a-{number}"})
    log.close()
    (segment,) = (tmp_path / "audit").iterdir()
    again = TableAnchor(AuditHeads(postgres_dsn, "wellhead"), signer(tmp_path))
    assert verified(tmp_path, again).whole
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-2]))
    assert re.search("cut off: its anchor", verified(tmp_path, again).bad[0].problem)
    again.close()


@pytest.mark.postgres
def test_a_table_that_does_not_answer_for_too_long_is_a_log_that_is_down(tmp_path: Path) -> None:
    heads = TableAnchor(
        AuditHeads("postgresql://127.0.0.1:1/nowhere?connect_timeout=1", "wellhead"),
        signer(tmp_path), every=0.01, patience=0.0,
    )  # fmt: skip
    log = AuditLog(tmp_path, [heads])

    def many() -> None:
        for number in range(10_000):
            log.append({"id": f"a-{number}"})

    with pytest.raises(EngineUnavailable):
        many()
    log.close()
