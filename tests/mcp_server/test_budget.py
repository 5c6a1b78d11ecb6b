"""What one caller may use: counted before calls run, owed after them, the same in every process that serves."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.budget import LOTS_A_MINUTE, Budget, account_of
from mcp_server.budget_store import Account, FileBudgets
from mcp_server.opening import serving
from mcp_server.receipt import Cost
from mcp_server.service import Service
from mcp_server.settings import serving_settings
from semantic_layer.errors import EngineUnavailable, LimitExceeded, Refused, WellheadError
from semantic_layer.limit_settings import LIMITS_KEYS, CallerLimits, LimitSettings, read_limits
from semantic_layer.principal import Principal
from semantic_layer.section import Section
from semantic_layer.yaml_file import parse_yaml
from tests.mcp_server.callers import EU, US, Asker
from tests.mcp_server.running import running_server
from tests.workspace_factory import BuiltWorkspace

T = TypeVar("T")
ANN = Principal("ann", frozenset({"analyst"}), client="agent")


class Clock:
    """Time that passes when told to."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class InMemory:
    """Accounts of one process, for rules that many examples try."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def change(self, who: str, step: Callable[[Account], T]) -> T:
        return step(self.accounts.setdefault(who, Account()))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def budget(home: Path, clock: Clock, **limits: int) -> Budget:
    return Budget(LimitSettings(**{"calls_per_minute": 0, **limits}), FileBudgets(home), clock)


def calls(made: Budget, count: int, who: Principal = ANN) -> None:
    for _ in range(count):
        made.begin(who, 30).end(Cost(), 0)


def test_the_call_after_the_last_is_refused_and_told_when_to_come_back(tmp_path: Path, clock: Clock) -> None:
    limited = budget(tmp_path, clock, calls_per_minute=6)
    calls(limited, 6)
    with pytest.raises(LimitExceeded, match="calls_per_minute of 6") as refusal:
        calls(limited, 1)
    assert refusal.value.retry_after == 10
    assert refusal.value.hint == "Try again in 10 s."
    clock.now += 10
    calls(limited, 1)


def test_case_70_limits_are_per_principal_and_client_whatever_token_is_shown(tmp_path: Path, clock: Clock) -> None:
    limited = budget(tmp_path, clock, calls_per_minute=1)
    calls(limited, 1)
    renewed = replace(ANN, scopes=frozenset({"read"}), attributes={"regions": ("EU",)})
    with pytest.raises(LimitExceeded):
        calls(limited, 1, renewed)
    for other in (replace(ANN, client="other"), replace(ANN, tenant="acme"), replace(ANN, subject="bob")):
        calls(limited, 1, other)


def test_who_pays_cannot_be_forged_by_a_name_with_a_line_break() -> None:
    assert account_of(Principal("a\nb", client="c")) != account_of(Principal("a", client="b\nc"))


def test_case_70_two_workers_share_one_budget(tmp_path: Path, clock: Clock) -> None:
    one, other = (budget(tmp_path, clock, calls_per_minute=4) for _ in range(2))
    calls(one, 2)
    calls(other, 2)
    for worker in (one, other):
        with pytest.raises(LimitExceeded):
            calls(worker, 1)


def test_processes_that_race_for_a_budget_never_get_more_than_there_is(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from mcp_server.budget import Budget; from mcp_server.budget_store import FileBudgets\n"
        "from semantic_layer.errors import LimitExceeded\n"
        "from semantic_layer.limit_settings import CallerLimits, LimitSettings\n"
        "from semantic_layer.principal import Principal\n"
        "shared = Budget(LimitSettings(200), FileBudgets(Path(sys.argv[1])), lambda: 1e9)\n"
        "granted = 0\n"
        "try:\n"
        "    while True:\n"
        "        shared.begin(Principal('ann'), 30); granted += 1\n"
        "except LimitExceeded:\n"
        "    print(granted)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(3)
    ]
    assert sum(int(process.communicate()[0]) for process in started) == 200


def test_calls_at_the_same_time_are_limited_and_those_of_a_killed_worker_run_out(
    tmp_path: Path, clock: Clock
) -> None:
    limited = budget(tmp_path, clock, concurrent_calls=2)
    first, _ = limited.begin(ANN, 30), limited.begin(ANN, 30)
    with pytest.raises(LimitExceeded, match="concurrent_calls of 2"):
        limited.begin(ANN, 30)
    first.end(Cost(), 0)
    limited.begin(ANN, 30)
    clock.now += 31
    limited.begin(ANN, 30)


@pytest.mark.parametrize(
    ("limit", "cost", "characters"),
    [
        ("rows_per_minute", Cost(rows=250), 0),
        ("bytes_per_minute", Cost(bytes=250), 0),
        ("reply_tokens_per_minute", Cost(), 1_000),
    ],
)
def test_what_a_call_turned_out_to_cost_is_owed(
    tmp_path: Path, clock: Clock, limit: str, cost: Cost, characters: int
) -> None:
    limited = budget(tmp_path, clock, **{limit: 100})
    limited.begin(ANN, 30).end(cost, characters)
    with pytest.raises(LimitExceeded, match=f"{limit} of 100") as refusal:
        limited.begin(ANN, 30)
    assert refusal.value.retry_after == 91
    clock.now += 91
    limited.begin(ANN, 30)


def test_a_call_that_would_read_too_much_never_begins_to(tmp_path: Path, clock: Clock) -> None:
    limited = budget(tmp_path, clock, scanned_rows_per_call=1_000, scanned_rows_per_minute=1_500)
    spending = limited.begin(ANN, 30)
    with pytest.raises(Refused) as refusal:
        spending.scan(1_001)
    assert refusal.value.rule == "scanned_rows_per_call"
    spending.scan(1_000)
    with pytest.raises(LimitExceeded):
        spending.scan(1_000)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing(tmp_path: Path, clock: Clock) -> None:
    limited = budget(tmp_path, clock, calls_per_minute=2)
    calls(limited, 1)
    clock.now -= 3_600
    calls(limited, 1)
    with pytest.raises(LimitExceeded):
        calls(limited, 1)


def test_a_torn_account_counts_as_full_and_a_full_disk_stops_calls(tmp_path: Path, clock: Clock) -> None:
    limited = budget(tmp_path, clock, calls_per_minute=1)
    calls(limited, 1)
    (file,) = (tmp_path / "budgets").iterdir()
    file.write_text('{"levels": {"calls": [0')
    calls(limited, 1)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "budgets").write_text("in the way")
    with pytest.raises(EngineUnavailable, match="budgets"):
        calls(budget(blocked, clock, calls_per_minute=1), 1)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.integers(1, 30))
def test_no_stretch_of_time_sees_more_calls_than_a_burst_and_the_steady_rate(
    pauses: list[float], limit: int
) -> None:
    clock = Clock()
    made = Budget(LimitSettings(calls_per_minute=limit), InMemory(), clock)
    granted: list[float] = []
    for pause in pauses:
        clock.now += pause
        try:
            made.begin(ANN, 30)
            granted.append(clock.now)
        except LimitExceeded:
            pass
    for start in range(len(granted)):
        for end in range(start, len(granted)):
            assert end - start + 1 <= limit + (granted[end] - granted[start]) * limit / 60 + 1e-3


# -- wellhead.yaml -----------------------------------------------------------------------------------------


def read(text: str) -> tuple[LimitSettings, list[str]]:
    section = Section(parse_yaml(text, shown_as="wellhead.yaml"), LIMITS_KEYS, "`limits`")
    return read_limits(section), [one.message for one in section.problems]


def test_a_caller_with_several_roles_has_the_widest_limits() -> None:
    settings, problems = read(
        "calls_per_minute: 60\nrows_per_minute: 500\n"
        "roles: {batch: {calls_per_minute: 600}, owner: {rows_per_minute: 0, calls_per_minute: 30}}\n"
    )
    assert problems == []
    assert settings.of(ANN) == CallerLimits(60, 500)
    assert settings.of(replace(ANN, roles=frozenset({"batch"}))) == CallerLimits(600, 500)
    assert settings.of(replace(ANN, roles=frozenset({"batch", "owner"}))) == CallerLimits(600, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("calls_per_minut: 5", "has no key 'calls_per_minut'"),
        ("calls_per_minute: many", "must be a whole number"),
        ("calls_per_minute: -1", "at least 0"),
        ("roles: [batch]", "`roles` must be a mapping."),
        ("roles: {batch: {cals: 1}}", "has no key 'cals'"),
    ],
)
def test_a_mistake_in_limits_is_named(text: str, said: str) -> None:
    assert any(said in problem for problem in read(text)[1])


# -- every door --------------------------------------------------------------------------------------------


@pytest.fixture
def limited(tiny: BuiltWorkspace, tmp_path: Path) -> Iterator[Service]:
    """The tiny workspace with two calls a minute, its budgets kept elsewhere."""
    settings = replace(serving_settings(tiny.door), limits=LimitSettings(calls_per_minute=2))
    with serving(settings, {}) as service:
        yield replace(service, budget=Budget(settings.limits, FileBudgets(tmp_path)))


def test_case_71_a_call_past_the_limit_is_an_error_with_its_reset_and_is_recorded(limited: Service) -> None:
    ask = Asker(limited)
    for arguments in ({"question": "boots"}, {"question": ""}):
        ask(EU, "search", **arguments)
    refused = ask(EU, "search", question="boots")
    assert refused.error is not None
    assert refused.error.code == "limit_exceeded"
    assert "Try again in" in refused.to_text()
    assert limited.audit.find(refused.receipt.audit_id)["code"] == "limit_exceeded"
    assert ask(US, "search", question="boots").error is None


def test_names_of_tools_cannot_be_guessed_past_the_limit(limited: Service) -> None:
    codes = [error.code for number in range(3) if (error := Asker(limited)(EU, f"t{number}").error)]
    assert codes == ["unknown_name", "unknown_name", "limit_exceeded"]


def test_over_http_a_limit_is_a_429_with_the_time_to_wait(tiny: BuiltWorkspace) -> None:
    caller = replace(EU, subject="limited-over-http", client="agent")
    limits = LimitSettings(calls_per_minute=1)
    with running_server(tiny, limits=limits) as running:
        headers = {"Authorization": f"Bearer {running.token(caller)}"}
        with httpx2.Client(base_url=running.origin, headers=headers) as http:
            assert http.post("/api/tools/discover", json={}).status_code == 200
            response = http.post("/api/tools/discover", json={})
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert response.json()["code"] == "limit_exceeded"


def test_a_metric_over_more_rows_than_a_call_may_read_is_refused_before_it_runs(tiny: BuiltWorkspace) -> None:
    settings = replace(serving_settings(tiny.door), limits=LimitSettings(0, scanned_rows_per_call=3))
    with serving(settings, {}) as service:
        for tool, arguments in (
            ("query_metrics", {"metrics": ["revenue"]}),
            ("dimension_values", {"dimension": "region"}),
            ("search", {"question": "boots", "products": ["handbook"]}),
        ):
            answer = Asker(service)(EU, tool, **arguments)
            assert answer.status == "refused", tool
            assert "scanned_rows_per_call" in json.dumps(answer.to_json())


def test_an_error_of_the_store_is_an_answer_and_no_crash(limited: Service) -> None:
    class Broken:
        def change(self, who: str, step: Callable[[Account], T]) -> T:
            raise EngineUnavailable("budgets cannot be kept.")

    broken = replace(limited, budget=Budget(LimitSettings(), Broken()))
    error: WellheadError | None = Asker(broken)(EU, "search", question="boots").error
    assert error is not None
    assert error.code == "engine_unavailable"


def test_many_calls_are_drawn_in_lots_and_all_processes_together_never_make_more_than_the_limit(
    tmp_path: Path,
) -> None:
    clock, limit = Clock(), 6_000
    servers = [budget(tmp_path, clock, calls_per_minute=limit) for _ in range(3)]
    made = 0
    with contextlib.suppress(LimitExceeded):
        for turn in range(limit + 1):
            servers[turn % 3].begin(ANN, 1.0)
            made += 1
    assert limit - 2 * limit // LOTS_A_MINUTE <= made <= limit


def test_a_server_asks_for_each_call_where_anything_else_is_limited(tmp_path: Path) -> None:
    one = budget(tmp_path, Clock(), calls_per_minute=6_000, concurrent_calls=1)
    one.begin(ANN, 60.0)
    with pytest.raises(LimitExceeded):
        one.begin(ANN, 60.0)
