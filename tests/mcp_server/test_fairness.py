"""Nobody keeps the others out: places in a full server and turns in its queue are shared among callers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import anyio
import httpx2
import pytest
from anyio.abc import TaskStatus
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.fairness import FairQueue, Shares
from semantic_layer.errors import Busy
from tests.mcp_server.callers import EU
from tests.mcp_server.running import running_server
from tests.workspace_factory import BuiltWorkspace


def test_a_flood_of_one_caller_turns_away_that_caller_and_nobody_else() -> None:
    shares = Shares(10)
    for _ in range(50):
        if shares.admits("flood"):
            shares.take("flood")
    assert shares.held == 10
    for name in ("ann", "bob"):
        assert shares.admits(name)
        shares.take(name)
    assert not shares.admits("flood")
    shares.give("flood")
    shares.give("flood")
    shares.give("flood")
    assert shares.admits("flood")


@given(st.integers(1, 20), st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=80))
def test_places_never_exceed_twice_their_number_and_a_newcomer_finds_one(
    most: int, steps: list[tuple[str, bool]]
) -> None:
    shares, held = Shares(most), Counter[str]()
    for name, arrives in steps:
        if arrives and shares.admits(name):
            shares.take(name)
            held[name] += 1
        elif not arrives and held[name]:
            shares.give(name)
            held[name] -= 1
        assert shares.held == held.total() <= 2 * most
        assert shares.held >= most or shares.admits("newcomer")


async def hold(
    queue: FairQueue, who: str, order: list[str], leave: anyio.Event, *, task_status: TaskStatus[None]
) -> None:
    async with queue.turn(who):
        order.append(who)
        task_status.started()
        await leave.wait()


async def queued(queue: FairQueue, who: str, order: list[str]) -> None:
    async with queue.turn(who):
        order.append(who)


@pytest.mark.anyio
async def test_the_next_turn_goes_to_who_runs_least() -> None:
    queue, order, leave = FairQueue(2, 20), list[str](), anyio.Event()
    async with anyio.create_task_group() as group:
        for _ in range(2):
            await group.start(hold, queue, "flood", order, leave)
        for who in ("flood", "flood", "flood", "ann", "flood", "bob"):
            group.start_soon(queued, queue, who, order)
        await anyio.wait_all_tasks_blocked()
        assert queue.waiting == 6
        leave.set()
    assert set(order[2:4]) == {"ann", "bob"} or order[2:5].count("flood") <= 1
    assert Counter(order) == {"flood": 6, "ann": 1, "bob": 1}
    assert queue.waiting == 0


@pytest.mark.anyio
async def test_too_many_waiting_are_turned_away_at_once_and_others_are_not() -> None:
    queue, order, leave = FairQueue(1, 2), list[str](), anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(hold, queue, "flood", order, leave)
        for _ in range(2):
            group.start_soon(queued, queue, "flood", order)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await queued(queue, "flood", order)
        group.start_soon(queued, queue, "ann", order)
        await anyio.wait_all_tasks_blocked()
        assert queue.waiting == 3
        leave.set()
    assert order.index("ann") == 1


@pytest.mark.anyio
async def test_a_caller_who_goes_away_while_waiting_leaves_no_trace() -> None:
    queue, order, leave = FairQueue(1, 5), list[str](), anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(hold, queue, "ann", order, leave)
        with anyio.CancelScope() as gone:
            group.start_soon(queued, queue, "bob", order)
            await anyio.wait_all_tasks_blocked()
            gone.cancel()
            await queued(queue, "carl", order)
        leave.set()
    assert order == ["ann", "bob"]
    await queued(queue, "dora", order)
    assert order[-1] == "dora"


def test_a_flood_over_http_does_not_keep_another_caller_out(tiny: BuiltWorkspace) -> None:
    flood = replace(EU, subject="flood", client="flood")
    limits = httpx2.Limits(max_connections=40)
    with (
        running_server(tiny, concurrent_calls=1, waiting_calls=2) as running,
        httpx2.Client(base_url=running.origin, timeout=30, limits=limits) as http,
        ThreadPoolExecutor(24) as pool,
    ):
        headers = {who.subject: {"Authorization": f"Bearer {running.token(who)}"} for who in (flood, EU)}

        def ask(who: str) -> int:
            asked = {"question": "How long may shoes be returned?"}
            return http.post("/api/tools/search", json=asked, headers=headers[who]).status_code

        flooding = [pool.submit(ask, "flood") for _ in range(120)]
        others = [ask(EU.subject) for _ in range(8)]
        statuses = Counter(one.result() for one in flooding)
    assert others == [200] * 8
    assert statuses[503]
    assert set(statuses) <= {200, 503}
