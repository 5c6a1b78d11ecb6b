"""The leak test finds nothing on the server as it is, and finds what is planted where it is told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.leak import Options, Watch, leak_test
from evals.leak_calls import Calls
from evals.leak_doors import Probe, Reply
from evals.leak_twin import Twins
from evals.leak_world import TENANTS, WATCHED, write_world
from semantic_layer.workspace import load_workspace


def test_nothing_leaks_through_any_door(tmp_path: Path, model_home: Path) -> None:
    report = leak_test(tmp_path, Options(calls=240, pairs=20, seed=20), model_home / "models")
    assert report.clean, json.dumps(report.to_json(), indent=1)[:6_000]
    assert set(report.calls) == {"mcp", "rest", "cli"}
    assert all(report.seen[tenant] >= 5 for tenant in TENANTS)
    assert report.timing.pairs == 20


def files(root: Path) -> list[tuple[Path, bytes]]:
    return sorted((path.relative_to(root), path.read_bytes()) for path in root.rglob("*") if path.is_file())


def test_the_same_seed_makes_the_same_world_and_calls(tmp_path: Path) -> None:
    one, other = write_world(tmp_path / "a", 7), write_world(tmp_path / "b", 7)
    assert one == other
    assert files(tmp_path / "a") == files(tmp_path / "b")
    first, second = Calls(7, one), Calls(7, other)
    assert [first.next("mcp") for _ in range(200)] == [second.next("mcp") for _ in range(200)]


def test_the_twin_shows_the_watched_tenant_the_same_files_and_differs_elsewhere(tmp_path: Path) -> None:
    world, twin = write_world(tmp_path / "world", 7), write_world(tmp_path / "twin", 7, twin=True)
    assert world.tenant[WATCHED] == twin.tenant[WATCHED]
    assert world.names[WATCHED] == twin.names[WATCHED]
    assert not set(world.tenant["bravo"]) & set(twin.tenant["bravo"])
    assert len(load_workspace(tmp_path / "world").products) == len(TENANTS) + 2


@pytest.fixture
def watch(tmp_path: Path) -> tuple[Watch, str, str, str]:
    canaries = write_world(tmp_path / "world", 7)
    return Watch(canaries), canaries.tenant["alfa"][0], canaries.tenant["bravo"][0], canaries.forbidden[0]


def reply(body: str, status: int = 200) -> Reply:
    return Reply(status, body, {"status": "ok"})


def test_a_foreign_or_forbidden_canary_in_a_reply_is_a_leak_however_it_is_written(
    watch: tuple[Watch, str, str, str],
) -> None:
    reader, own, foreign, forbidden = watch
    probe = Probe("alfa", "rest", "tools/call", "search", {"question": "boots"})
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in foreign)
    for body in (foreign, foreign.upper(), f'{{"a": "{escaped}"}}', forbidden):
        before = len(reader.leaks)
        reader.read(probe, reply(body))
        assert len(reader.leaks) == before + 1, body
    reader.read(probe, reply(own))
    assert len(reader.leaks) == 4
    assert reader.seen["alfa"] == 1


def test_a_word_that_the_caller_said_itself_is_no_leak(watch: tuple[Watch, str, str, str]) -> None:
    reader, _, foreign, forbidden = watch
    probe = Probe("nobody", "mcp", "tools/call", "describe", {"ref": foreign})
    reader.read(probe, reply(f"no product {foreign}"))
    assert reader.leaks == []
    reader.read(probe, reply(f"no product {foreign}, but {forbidden}"))
    assert [leak.canary for leak in reader.leaks] == [forbidden]


def test_a_server_error_or_a_stack_is_a_fault(watch: tuple[Watch, str, str, str]) -> None:
    reader = watch[0]
    probe = Probe("alfa", "mcp", "tools/list", "", {})
    reader.read(probe, reply("oops", 500))
    reader.read(probe, reply("Traceback (most recent call last)"))
    reader.read(probe, reply("busy", 503))
    assert len(reader.faults) == 2


def test_a_count_that_depends_on_hidden_rows_tells_the_twins_apart() -> None:
    twins = Twins()
    one = Reply(200, "", {"status": "ok", "data": {"rows": [{"n": 14}]}, "receipt": {"audit_id": "a"}})
    other = Reply(200, "", {"status": "ok", "data": {"rows": [{"n": 23}]}, "receipt": {"audit_id": "b"}})
    twins.compare("count", one, one)
    assert twins.report().held
    twins.compare("count", one, other)
    assert not twins.report().held


def test_a_next_page_that_depends_on_hidden_rows_tells_the_twins_apart() -> None:
    twins = Twins()
    more = Reply(200, "", {"status": "ok", "data": {}, "page": {"returned": 1, "next_cursor": "x"}})
    last = Reply(200, "", {"status": "ok", "data": {}, "page": {"returned": 1}})
    twins.compare("page", more, last)
    assert not twins.report().held


def test_an_answer_inside_a_resource_is_compared_without_its_receipt() -> None:
    def resource(moment: str, rows: int) -> Reply:
        text = json.dumps({"status": "ok", "data": {"rows": rows}, "receipt": {"as_of": moment}})
        return Reply(200, json.dumps({"id": 1, "result": {"contents": [{"text": text}]}}), {})

    twins = Twins()
    twins.compare("read", resource("2025-01-01", 3), resource("2025-01-02", 3))
    assert twins.report().held
    twins.compare("read", resource("2025-01-01", 3), resource("2025-01-01", 4))
    assert not twins.report().held


@pytest.mark.parametrize(("order", "held"), [("abcd", True), ("bacd", True), ("dcba", False), ("abxy", False)])
def test_a_result_list_may_change_a_little_in_order_and_hardly_in_content(order: str, held: bool) -> None:
    def hits(documents: str) -> Reply:
        found = [{"product": "p", "document": one, "start": 0} for one in documents]
        return Reply(200, "", {"status": "ok", "data": {"hits": found}})

    twins = Twins()
    twins.compare("search", hits("abcd"), hits(order))
    assert twins.report().held is held
