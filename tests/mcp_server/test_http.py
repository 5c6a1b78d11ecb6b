"""The HTTP door: tokens, hosts, the REST twin, health, and bodies that are no requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from mcp_server.hosts import transport_security
from tests.mcp_server.callers import EU, PUBLIC, US, Asker
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace

MCP_HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture
def http(running: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.origin, timeout=30) as opened:
        yield opened


@pytest.fixture
def as_eu(running: Running) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.token(EU)}"}


def call(
    http: httpx2.Client, tool: str, headers: dict[str, str] | None = None, **arguments: Any
) -> httpx2.Response:
    return http.post(f"/api/tools/{tool}", json=arguments, headers=headers or {})


def test_rest_gives_the_same_answer_as_the_tool(http: httpx2.Client, as_eu: dict[str, str], ask: Asker) -> None:
    sent = call(http, "query_metrics", as_eu, metrics=["revenue"], dimensions=["region"]).json()
    told = ask.ok(EU, "query_metrics", metrics=["revenue"], dimensions=["region"]).to_json()
    assert sent["data"] == told["data"]
    assert sent["receipt"]["sources"] == told["receipt"]["sources"]


def test_anonymous_callers_get_the_public_part(http: httpx2.Client) -> None:
    found = call(http, "discover").json()["data"]["results"]
    assert {item["product"] for item in found} == {"handbook"}


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"metrics": ["revenoo"]}, 404, "unknown_name"),
        ({"metrics": ["customers"]}, 403, "refused"),
        ({"metrics": ["revenue"], "bogus": 1}, 400, "unknown_name"),
        ({"metrics": "revenue"}, 400, "invalid_argument"),
        ({"metrics": ["revenue"], "filters": {"field": "region", "op": "is", "value": 1}}, 400, "invalid_filter"),
    ],
)
def test_errors_are_problem_details_with_our_code_and_next_step(
    http: httpx2.Client, as_eu: dict[str, str], arguments: dict[str, Any], status: int, code: str
) -> None:
    response = call(http, "query_metrics", as_eu, **arguments)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["receipt"]["audit_id"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"1", b'{"query": NaN}', b'{"query": "a", "query": "b"}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_body_that_is_no_object_is_a_400(http: httpx2.Client, body: bytes) -> None:
    response = http.post("/api/tools/discover", content=body)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_argument"


def test_an_empty_body_means_no_arguments(http: httpx2.Client) -> None:
    assert http.post("/api/tools/discover").status_code == 200


def test_a_body_that_is_too_large_is_turned_away(http: httpx2.Client, running: Running) -> None:
    big = json.dumps({"query": "x" * running.settings.max_request_bytes})
    assert http.post("/api/tools/discover", content=big).status_code == 413
    assert http.post("/mcp", content=big, headers=MCP_HEADERS).status_code == 413


def test_a_path_or_method_that_is_not_there_is_a_problem_too(http: httpx2.Client) -> None:
    assert call(http, "drop_tables").status_code == 404
    assert http.get("/api/tools/discover").status_code == 405


# -- credentials -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/mcp", "/api/tools/discover"])
@pytest.mark.parametrize("credential", ["Bearer nonsense", "Bearer", "Basic YTpi", "nonsense", ""])
def test_a_bad_credential_is_always_401_even_where_anonymous_is_served(
    http: httpx2.Client, path: str, credential: str
) -> None:
    response = http.post(path, json={}, headers={**MCP_HEADERS, "Authorization": credential})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_a_token_for_another_server_is_401(http: httpx2.Client, running: Running) -> None:
    token = running.token(EU, audience="http://other.example/mcp")
    assert call(http, "discover", {"Authorization": f"Bearer {token}"}).status_code == 401


@pytest.mark.parametrize("path", ["/mcp", "/api/tools/discover"])
def test_a_token_in_the_address_is_refused_and_one_in_a_cookie_is_no_credential(
    http: httpx2.Client, running: Running, path: str
) -> None:
    token = running.token(EU)
    response = http.post(f"{path}?access_token={token}", json={}, headers=MCP_HEADERS)
    assert response.status_code == 401
    assert token not in response.text
    response = http.post("/api/tools/discover", json={}, headers={"Cookie": f"access_token={token}"})
    assert {item["product"] for item in response.json()["data"]["results"]} == {"handbook"}


def test_a_server_without_anonymous_callers_asks_for_a_token(tiny: BuiltWorkspace) -> None:
    with running_server(tiny, anonymous=False) as strict, httpx2.Client(base_url=strict.origin) as http:
        for path in ("/mcp", "/api/tools/discover"):
            response = http.post(path, json={}, headers=MCP_HEADERS)
            assert response.status_code == 401
            assert response.json()["code"] == "unauthenticated"
        assert call(http, "discover", {"Authorization": f"Bearer {strict.token(US)}"}).status_code == 200
        assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/api/tools/discover", "/healthz"])
def test_a_request_for_another_host_or_from_another_site_is_turned_away(http: httpx2.Client, path: str) -> None:
    assert http.post(path, json={}, headers={**MCP_HEADERS, "Host": "evil.example"}).status_code == 421
    assert http.post(path, json={}, headers={**MCP_HEADERS, "Origin": "https://evil.example"}).status_code == 403


def test_a_public_name_is_answered_where_it_is_set(running: Running) -> None:
    security = transport_security(replace(running.settings, host="10.1.2.3", public_url="https://data.example"))
    assert "data.example" in security.allowed_hosts
    assert "https://data.example" in security.allowed_origins
    assert not any("localhost" in host for host in security.allowed_hosts)


# -- health and documentation ------------------------------------------------------------------------------


def test_health_says_alive_and_ready(http: httpx2.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["edition"] >= 1


def test_openapi_describes_every_tool_with_its_closed_arguments(http: httpx2.Client) -> None:
    document = http.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    search = document["paths"]["/api/tools/search"]["post"]
    schema = search["requestBody"]["content"]["application/json"]["schema"]
    assert schema["additionalProperties"] is False
    assert {"200", "400", "401", "403", "404", "503"} <= search["responses"].keys()
    named = set(re.findall(r"#/components/(\w+)/(\w+)", json.dumps(document)))
    assert named
    assert all(name in document["components"][kind] for kind, name in named)
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_anonymous_and_its_name_mean_the_same_caller() -> None:
    assert PUBLIC.anonymous
