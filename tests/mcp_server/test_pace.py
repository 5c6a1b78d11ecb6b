"""How fast requests are let in: by how long calls wait, and never outside what is set."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp

from evals.wire import headers_of, request_of
from mcp_server.app import build_app
from mcp_server.pace import LONG_SECONDS, SHORT_SECONDS, Pace
from mcp_server.service import Service
from tests.mcp_server.callers import EU, US
from tests.mcp_server.running import running_server
from tests.mcp_server.test_serving import blocking
from tests.workspace_factory import BuiltWorkspace

WAITING = 40
PLACES = 1 + WAITING // 2


@given(st.lists(st.floats(0, 10), max_size=300))
def test_places_stay_between_the_least_and_the_most_whatever_calls_waited(waits: list[float]) -> None:
    pace = Pace(10, 40)
    for seconds in waits:
        pace.waited(seconds)
        assert 10 <= pace.places <= 40


def test_short_waits_open_every_place_and_long_ones_close_them() -> None:
    pace = Pace(10, 40)
    for _ in range(200):
        pace.waited(SHORT_SECONDS / 2)
    assert pace.places == 40
    pace.waited(2 * LONG_SECONDS)
    assert pace.places == 38
    for _ in range(100):
        pace.waited(2 * LONG_SECONDS)
    assert pace.places == 10


def test_waits_between_change_nothing() -> None:
    pace = Pace(10, 40)
    pace.waited((SHORT_SECONDS + LONG_SECONDS) / 2)
    assert pace.places == 10


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_who_has_too_much_in_flight_is_turned_away_at_once_and_its_connections_go_on_working(
    tiny: BuiltWorkspace, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parser == "h11":
        monkeypatch.setattr("mcp_server.serving.find_spec", lambda _: None)
    else:
        pytest.importorskip("httptools")
    gate = threading.Event()

    def app(service: Service) -> ASGIApp:
        return build_app(blocking(service, gate))

    with (
        running_server(tiny, make_app=app, concurrent_calls=1, waiting_calls=WAITING) as running,
        httpx2.Client(base_url=running.origin, timeout=30, limits=httpx2.Limits(max_connections=60)) as http,
        ThreadPoolExecutor(60) as pool,
    ):
        tokens = {who.subject: f"Bearer {running.token(who)}" for who in (EU, US)}

        def ask(who: str, tool: str) -> httpx2.Response:
            headers = {**headers_of(tool), "Authorization": tokens[who]}
            return http.post("/mcp", json=request_of(1, tool, {}), headers=headers)

        assert ask(EU.subject, "status").status_code == 200
        asked = [pool.submit(ask, EU.subject, "block") for _ in range(PLACES + 5)]
        while sum(not one.done() for one in asked) > PLACES:
            threading.Event().wait(0.01)
        refused = [ask(EU.subject, "status") for _ in range(30)]
        other = ask(US.subject, "status")
        gate.set()
        answered = Counter(one.result().status_code for one in asked)
        again = ask(EU.subject, "status")
    assert other.status_code == again.status_code == 200
    assert Counter(one.status_code for one in refused)[503] >= 1
    told = next(one for one in refused if one.status_code == 503)
    assert told.json()["code"] == "busy"
    assert told.headers["retry-after"] == "1"
    assert set(answered) <= {200, 503}
