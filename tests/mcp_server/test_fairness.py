"""Nobody keeps the others out: places in a full server and turns in its queue are shared among callers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import TaskGroup, TaskStatus
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.fairness import LATELY_SECONDS, LONG_SECONDS, MOST_CALLERS, FairQueue, RecentUse, Shares
from mcp_server.shared_turns import SharedTurns
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


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Turns:
    """Calls in a queue, each held until it is ended by hand. `clock` stands still unless moved."""

    def __init__(
        self, group: TaskGroup, running: int, each: int, waiting: int = 100, shared: SharedTurns | None = None
    ) -> None:
        self.clock = Clock()
        self.queue = FairQueue(running, waiting, each=each, shared=shared, clock=self.clock)
        self.running: list[tuple[str, anyio.Event]] = []
        self._group = group

    async def ask(self, who: str, calls: int = 1) -> None:
        for _ in range(calls):
            self._group.start_soon(self._one, who)
        await anyio.wait_all_tasks_blocked()

    async def end(self, who: str) -> None:
        ended = next(one for one in self.running if one[0] == who)
        self.running.remove(ended)
        ended[1].set()
        await anyio.wait_all_tasks_blocked()

    async def end_all(self) -> None:
        with anyio.fail_after(20):
            while self.running or self.queue.waiting:
                if self.running:
                    await self.end(self.running[0][0])
                else:
                    await anyio.sleep(0.001)  # a flood's turn, which comes by the clock

    def counted(self) -> dict[str, int]:
        return dict(Counter(name for name, _ in self.running))

    async def _one(self, who: str) -> None:
        async with self.queue.turn(who):
            leave = anyio.Event()
            self.running.append((who, leave))
            await leave.wait()


@pytest.mark.anyio
async def test_alone_a_caller_runs_all_and_beside_others_no_more_than_its_own() -> None:
    async with anyio.create_task_group() as group:
        turns = Turns(group, running=4, each=2)
        await turns.ask("ann", 6)
        assert turns.counted() == {"ann": 4}
        await turns.ask("bob", 1)
        for _ in range(3):
            await turns.end("ann")
        assert turns.counted() == {"ann": 2, "bob": 1}, "two more of ann's could run, and wait"
        await turns.end("bob")
        await turns.end("ann")
        assert turns.counted() == {"ann": 2}, "bob asked a moment ago"
        turns.clock.now += 2 * LATELY_SECONDS
        await turns.ask("ann", 4)
        await turns.end("ann")
        assert turns.counted() == {"ann": 4}
        await turns.end_all()


@pytest.mark.anyio
async def test_who_sends_more_than_can_run_waits_until_hardly_anything_else_does() -> None:
    async with anyio.create_task_group() as group:
        turns = Turns(group, running=4, each=1)
        await turns.ask("bob", 1)
        await turns.ask("flood", 20)
        assert turns.counted() == {"bob": 1, "flood": 1}, "the first found a place, as anybody's would"
        await turns.end("flood")
        assert turns.counted() == {"bob": 1}
        await turns.ask("ann", 1)
        assert turns.counted() == {"bob": 1, "ann": 1}
        await turns.end("bob")
        assert turns.counted() == {"ann": 1}
        await turns.end("ann")
        assert turns.counted() == {"flood": 1}
        await turns.ask("ann", 1)
        turns.clock.now += LONG_SECONDS
        await turns.end("flood")
        assert turns.counted() == {"flood": 1, "ann": 1}, "it has waited long enough"
        await turns.end_all()


@pytest.mark.anyio
async def test_a_flood_waits_for_what_runs_in_the_other_processes_too(tmp_path: Path) -> None:
    SharedTurns.make(tmp_path / "turns", 2)
    here, there = (SharedTurns(tmp_path / "turns", process) for process in range(2))
    async with anyio.create_task_group() as group:
        turns, other = Turns(group, 4, 1, shared=here), Turns(group, 4, 1, shared=there)
        await turns.ask("bob")
        await other.ask("ann")
        await turns.ask("flood", 20)
        await turns.end("flood")
        await turns.end("bob")
        assert (turns.counted(), here.elsewhere(), there.elsewhere()) == ({}, 1, 0)
        await other.end("ann")
        with anyio.fail_after(20):
            while not turns.running:
                await anyio.sleep(0.01)
        assert (turns.counted(), here.elsewhere(), there.elsewhere()) == ({"flood": 1}, 0, 1)
        await turns.end_all()
    SharedTurns(tmp_path / "turns", 1).hold(3)
    assert here.elsewhere() == 3
    assert SharedTurns(tmp_path / "turns", 1).elsewhere() == 0
    assert here.elsewhere() == 0, "a process that is started again holds none"


@pytest.mark.anyio
async def test_nobody_waits_long_for_others_sake_while_turns_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server.fairness.LONG_SECONDS", 0.05)
    async with anyio.create_task_group() as group:
        turns = Turns(group, running=4, each=1)
        await turns.ask("bob")
        await turns.ask("flood", 20)
        await turns.end("flood")
        assert turns.counted() == {"bob": 1}
        turns.clock.now += 1.0
        with anyio.fail_after(20):
            while turns.counted() == {"bob": 1}:
                await anyio.sleep(0.01)
        assert turns.counted() == {"bob": 1, "flood": 1}
        await turns.end_all()


@pytest.mark.anyio
async def test_the_next_turn_goes_to_who_held_turns_for_the_shorter_time_lately() -> None:
    async with anyio.create_task_group() as group:
        turns = Turns(group, running=1, each=1)
        for who, seconds in (("long", 3.0), ("short", 1.0)):
            await turns.ask(who)
            turns.clock.now += seconds
            await turns.end(who)
        await turns.ask("short")
        await turns.ask("long")
        await turns.ask("short")
        await turns.end("short")
        assert turns.counted() == {"short": 1}
        await turns.ask("newcomer")
        await turns.end("short")
        assert turns.counted() == {"newcomer": 1}
        await turns.end_all()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abc")),
        st.tuples(st.just("end"), st.integers(0, 20)),
        st.tuples(st.just("later"), st.floats(0.1, 7)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), STEPS)
def test_every_call_gets_its_turn_and_none_too_many_whatever_comes(
    running: int, each: int, steps: list[tuple[str, Any]]
) -> None:
    async def live() -> None:
        async with anyio.create_task_group() as group:
            turns, asked = Turns(group, running, each), 0
            for step, value in steps:
                if step == "ask":
                    await turns.ask(value)
                    asked += 1
                elif step == "later":
                    turns.clock.now += value
                elif turns.running:
                    await turns.end(turns.running[value % len(turns.running)][0])
                    asked -= 1
                assert len(turns.running) + turns.queue.waiting == asked
                assert len(turns.running) <= running
                assert bool(turns.running) or not asked, "while anybody waits somebody runs"
            await turns.end_all()
            assert turns.queue.waiting == 0

    anyio.run(live)


def test_whose_turns_are_remembered_stays_few() -> None:
    used = RecentUse(Clock())
    for number in range(2 * MOST_CALLERS):
        used.add(str(number), 1.0)
    assert used.of("0") == 0.0
    assert used.of(str(2 * MOST_CALLERS - 1)) == 1.0
    assert len(used) == MOST_CALLERS


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
