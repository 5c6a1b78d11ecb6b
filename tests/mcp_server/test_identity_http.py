"""The HTTP door of a server behind a real issuer: metadata, challenges, scopes, purposes, and where tokens go."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from mcp_server.identity_metadata import require_safe_address
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, InvalidWorkspace
from semantic_layer.identity_settings import SCOPES, IdentitySettings, IssuerSettings, read_identity
from semantic_layer.principal import Principal
from semantic_layer.section import Section
from semantic_layer.yaml_file import parse_yaml
from tests.mcp_server.issuer import EU_CLAIMS, Issuer, accepting, running_issuer, serving_with
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace

REVENUE = {"metrics": ["revenue"]}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


# -- over HTTP (3, 4, 8, 9, 66) ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tiny: BuiltWorkspace, issuer: Issuer) -> Iterator[Running]:
    """The tiny workspace behind the issuer; nobody is anonymous."""
    identity = replace(accepting(issuer), issuers=(replace(accepting(issuer).issuers[0], introspection=None),))
    with running_server(tiny, anonymous=False, identity=identity) as running:
        yield running


@pytest.fixture
def http(guarded: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=guarded.origin, timeout=30) as opened:
        yield opened


def asked(http: httpx2.Client, token: str, **headers: str) -> httpx2.Response:
    return http.post(
        "/api/tools/query_metrics", json=REVENUE, headers={"Authorization": f"Bearer {token}", **headers}
    )


def test_a_bearer_of_the_issuers_token_sees_what_its_claims_grant(
    http: httpx2.Client, issuer: Issuer, guarded: Running
) -> None:
    answer = asked(http, issuer.sign("rs256", {"aud": guarded.url, **EU_CLAIMS}))
    assert answer.status_code == 200
    us = asked(http, issuer.sign("es256", {"aud": guarded.url, **EU_CLAIMS, "regions": "US"}))
    assert us.json()["data"] != answer.json()["data"]


def test_case_3_a_caller_without_a_token_is_told_where_to_get_one(http: httpx2.Client, guarded: Running) -> None:
    for path in ("/mcp", "/api/tools/discover"):
        response = http.post(path, json={})
        assert response.status_code == 401
        challenge = response.headers["www-authenticate"]
        assert challenge == f'Bearer resource_metadata="{guarded.origin}/.well-known/oauth-protected-resource/mcp"'


def test_case_9_the_metadata_is_what_the_settings_say(
    http: httpx2.Client, issuer: Issuer, guarded: Running
) -> None:
    document = http.get("/.well-known/oauth-protected-resource/mcp")
    assert document.status_code == 200
    assert document.json() == {
        "resource": guarded.url,
        "resource_name": "tiny",
        "authorization_servers": [issuer.url],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }


def test_a_refused_token_is_told_why_and_where_to_get_another(
    http: httpx2.Client, issuer: Issuer, guarded: Running
) -> None:
    response = asked(http, issuer.sign("rs256", {"aud": guarded.url, "exp": 1}))
    assert response.status_code == 401
    challenge = response.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert "expired" in challenge
    assert "resource_metadata=" in challenge


def test_case_4_a_token_without_a_scope_of_ours_is_403(
    http: httpx2.Client, issuer: Issuer, guarded: Running
) -> None:
    response = asked(http, issuer.sign("rs256", {"aud": guarded.url, "scope": "openid email"}))
    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="read"' in challenge


def test_operator_tools_do_not_exist_for_a_token_that_only_reads(
    http: httpx2.Client, issuer: Issuer, guarded: Running
) -> None:
    headers = {"Authorization": "Bearer " + issuer.sign("rs256", {"aud": guarded.url, **EU_CLAIMS})}
    hidden = http.post("/api/tools/ingest", json={}, headers=headers)
    unknown = http.post("/api/tools/ingess", json={}, headers=headers)
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.json()["code"] == unknown.json()["code"] == "unknown_name"
    assert len(hidden.content) == len(unknown.content)


def test_a_purpose_that_the_token_does_not_hold_is_refused(
    http: httpx2.Client, issuer: Issuer, guarded: Running
) -> None:
    claims = {"aud": guarded.url, **EU_CLAIMS, "https://example.com/purposes": ["fraud"]}
    assert asked(http, issuer.sign("rs256", claims), **{"Wellhead-Purpose": "fraud"}).status_code == 200
    response = asked(http, issuer.sign("rs256", claims), **{"Wellhead-Purpose": "marketing"})
    assert response.status_code == 403
    assert response.json()["rule"] == "purpose"


def test_an_issuer_that_is_down_is_a_503_that_names_it(tiny: BuiltWorkspace) -> None:
    with running_issuer() as issuer:
        issuer.down = True
        identity = replace(accepting(issuer), issuers=(IssuerSettings(issuer.url),))
        with running_server(tiny, identity=identity) as running, httpx2.Client(base_url=running.origin) as http:
            response = asked(http, issuer.sign("rs256", {"aud": running.url}))
    assert response.status_code == 503
    assert response.json()["code"] == "engine_unavailable"
    assert response.headers["retry-after"]


def test_cases_8_and_66_no_token_is_logged_recorded_or_sent_on(
    http: httpx2.Client,
    issuer: Issuer,
    guarded: Running,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    good = issuer.sign("rs256", {"aud": guarded.url, **EU_CLAIMS, "jti": "good"})
    bad = issuer.sign("rs256", {"aud": "https://other.example", "jti": "bad"})
    issuer.requests.clear()
    texts = [asked(http, token).text for token in (good, bad, good[:-4] + "AAAA")]
    texts += [http.post(f"/mcp?access_token={good}", json={}).text, http.get(f"/api/none?token={bad}").text]
    out = capfd.readouterr()
    audit = "".join(path.read_text() for path in (guarded.settings.home / "audit").rglob("*") if path.is_file())
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("wellhead", "uvicorn", "mcp"))
    ]
    for token in (good, bad):
        signature = token.rsplit(".", 1)[1]
        for text in (*texts, out.out, out.err, audit, *ours):
            assert signature not in text
    assert not any("Bearer" in authorization or good in body for _, authorization, body in issuer.requests)


def test_tokens_of_an_issuer_never_cross_a_network_in_the_clear(issuer: Issuer, tmp_path: Path) -> None:
    open_door = replace(serving_with(issuer, tmp_path), host="10.1.2.3")
    with pytest.raises(InvalidArgument, match="in the clear"):
        require_safe_address(open_door)
    require_safe_address(replace(open_door, public_url="https://data.example"))
    require_safe_address(serving_with(issuer, tmp_path))


# -- wellhead.yaml -----------------------------------------------------------------------------------------

IDENTITY = """
issuers:
  - issuer: https://id.example.com/realms/shop
    audience: [https://data.example.com/mcp]
    algorithms: [RS256]
    clock_skew_seconds: 10
    claims: {roles: realm_access.roles, tenant: [org, tid], attributes: {regions: regions}}
    roles: {g-17: analyst}
    introspection: {url: https://id.example.com/introspect, client_id: w, client_secret: "${SECRET}"}
"""


def read(text: str) -> tuple[IdentitySettings, list[str]]:
    section = Section(parse_yaml(text, shown_as="wellhead.yaml"), ("issuers", "development"), "`identity`")
    return read_identity(section), [f"{one.message} {one.suggestion}" for one in section.problems]


def test_identity_is_read_from_wellhead_yaml() -> None:
    settings, problems = read(IDENTITY)
    assert problems == []
    (issuer,) = settings.issuers
    assert not settings.development
    assert issuer.algorithms == ("RS256",)
    assert issuer.claims.roles == ("realm_access.roles",)
    assert issuer.claims.tenant == ("org", "tid")
    assert issuer.claims.attributes == {"regions": ("regions",)}
    assert issuer.introspection is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("issuer: https://id.example.com/realms/shop", "issuer: http://id.example.com"), "must be an https URL"),
        (("[RS256]", "[HS256]"), "'HS256' is not allowed"),
        (("[RS256]", "[none]"), "'none' is not allowed"),
        (("${SECRET}", "hunter2"), "holds the secret itself"),
        (("roles: {g-17", "scopes: {g-17"), "cannot mean 'analyst'"),
        (("clock_skew_seconds: 10", "clock_skew_seconds: 9000"), "from 0 to 300"),
        (("{regions: regions}", "{tenant: regions}"), "no attribute may be called 'tenant'"),
        (("audience:", "audiense:"), "Did you mean 'audience'?"),
        (("issuers:", "development: true\nissuers:"), "needs a `name`"),
    ],
)
def test_a_mistake_in_identity_is_named(change: tuple[str, str], said: str) -> None:
    _, problems = read(IDENTITY.replace(*change))
    assert any(said in problem for problem in problems), problems


def test_who_asks_over_stdio_and_on_the_command_line_may_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "wellhead.yaml").write_text("version: 1\nname: small\n")
    form = {
        "subject": "desk",
        "roles": ["analyst"],
        "tenant": "acme",
        "purposes": ["fraud"],
        "scopes": ["read", "sql"],
    }
    variables = {"WELLHEAD_STDIO_PRINCIPAL": json.dumps(form), "WELLHEAD_CLI_PRINCIPAL": '{"roles": ["auditor"]}'}
    settings = Door(tmp_path, variables).settings
    assert settings.stdio == Principal(
        "desk",
        frozenset({"analyst"}),
        tenant="acme",
        purposes=frozenset({"fraud"}),
        scopes=frozenset({"read", "sql"}),
    )
    assert settings.cli.roles == {"auditor"}
    with pytest.raises(InvalidWorkspace, match="rolse"):
        _ = Door(tmp_path, {"WELLHEAD_STDIO_PRINCIPAL": '{"rolse": ["analyst"]}'}).settings
