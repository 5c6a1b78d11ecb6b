"""Tokens of a real issuer: who is let in, as whom, and who is not. Numbers are those of the attack list."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from mcp_server.identity import TokenAuthority
from mcp_server.identity_fetch import IssuerClient
from mcp_server.identity_keys import LIFETIME_SECONDS, REFETCH_SECONDS, STALE_SECONDS, IssuerKeys
from mcp_server.identity_verifier import TokenVerifier
from mcp_server.keys import token_keys
from mcp_server.settings import ServingSettings
from semantic_layer.errors import EngineUnavailable, InvalidArgument, Unauthenticated
from semantic_layer.identity_settings import (
    IntrospectionSettings,
    IssuerSettings,
)
from semantic_layer.principal import Principal
from tests.mcp_server.issuer import (
    CLIENT_ID,
    CLIENT_SECRET,
    EU_CLAIMS,
    Issuer,
    new_key,
    running_issuer,
    serving_with,
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


OpenVerifier = Callable[..., TokenVerifier]


@pytest.fixture
async def opened(issuer: Issuer, tmp_path: Path) -> AsyncIterator[OpenVerifier]:
    """Opens verifiers of the issuer, with changed settings, and closes them."""
    made: list[TokenVerifier] = []

    def make(secret: str = CLIENT_SECRET, **changes: Any) -> TokenVerifier:
        made.append(TokenVerifier(serving_with(issuer, tmp_path, **changes), {"ISSUER_SECRET": secret}))
        return made[-1]

    yield make
    for verifier in made:
        await verifier.close()


@pytest.fixture
async def verifier(opened: OpenVerifier) -> TokenVerifier:
    return opened()


@pytest.fixture
async def client() -> AsyncIterator[IssuerClient]:
    made = IssuerClient()
    yield made
    await made.close()


URL = ServingSettings(Path()).resource_url


async def refused(verifier: TokenVerifier, token: str) -> str:
    """Why the token is refused; the refusal never repeats it."""
    with pytest.raises(Unauthenticated) as refusal:
        await verifier.verify(token)
    assert token not in str(refusal.value) or not token
    return refusal.value.message


# -- who is let in, and as whom ----------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["rs256", "es256", "eddsa"])
async def test_claims_become_a_principal_by_the_mapping(issuer: Issuer, verifier: TokenVerifier, key: str) -> None:
    claims = {**EU_CLAIMS, "org": "acme", "https://example.com/purposes": ["fraud"], "scope": "read sql openid"}
    verified = await verifier.verify(issuer.sign(key, {"aud": URL, **claims}, typ="at+jwt"))
    assert verified.principal == Principal(
        "ann",
        frozenset({"analyst"}),
        {"regions": ("EU",)},
        client="agent",
        scopes=frozenset({"read", "sql"}),
        tenant="acme",
        purposes=frozenset({"fraud"}),
    )
    assert verified.issuer == issuer.url


@pytest.mark.anyio
async def test_claims_that_are_not_there_leave_their_part_empty(issuer: Issuer, verifier: TokenVerifier) -> None:
    principal = (await verifier.verify(issuer.sign("rs256", {"aud": [URL, "other"]}))).principal
    assert principal == Principal("ann", frozenset({"public"}), scopes=frozenset({"read"}))


@pytest.mark.anyio
async def test_an_issuers_words_are_translated_and_others_count_for_nothing(
    issuer: Issuer, opened: OpenVerifier
) -> None:
    words = {"roles": {"g-17": "analyst"}, "scopes": {"api://wellhead/read": "read"}, "name": "corp"}
    verifier = opened(**words)
    claims = {"realm_access": {"roles": ["g-17", "operator"]}, "scope": "api://wellhead/read operate", "aud": URL}
    principal = (await verifier.verify(issuer.sign("rs256", claims))).principal
    assert principal.roles == {"analyst"}
    assert principal.scopes == {"read"}
    assert principal.subject == "corp:ann"


@pytest.mark.anyio
async def test_the_clock_may_differ_a_little(issuer: Issuer, verifier: TokenVerifier) -> None:
    now = int(time.time())
    await verifier.verify(issuer.sign("rs256", {"aud": URL, "exp": now - 10}))
    await verifier.verify(issuer.sign("rs256", {"aud": URL, "nbf": now + 10}))


# -- who is not (5, 6, 7) ----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "https://other.example/mcp"}, "not issued for"),
        ({"aud": None}, "malformed"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "malformed"),
        ({"nbf": 2**40}, "not valid yet"),
        ({"iss": "https://evil.example"}, "issuer is not one"),
        ({"iss": None}, "issuer is not one"),
        ({"sub": None}, "subject"),
        ({"sub": "anonymous"}, "subject"),
        ({"sub": "x" * 300}, "subject"),
        ({"regions": {"a": 1}}, "regions"),
        ({"realm_access": {"roles": [1]}}, "roles"),
        ({"exp": float("inf")}, "malformed"),
        ({"exp": "soon"}, "malformed"),
        ({"nbf": float("nan")}, "malformed"),
    ],
)
async def test_cases_5_and_6_a_token_that_says_something_wrong_is_refused(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any], said: str
) -> None:
    assert said in await refused(verifier, issuer.sign("rs256", {"aud": URL, **claims}))


@pytest.mark.anyio
async def test_case_7_a_token_signed_in_another_way_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    claims = {"iss": issuer.url, "sub": "mallory", "aud": URL, "exp": int(time.time()) + 60}
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "rs256"})
    assert "algorithm" in await refused(verifier, unsigned)
    confused = forged_with_secret(claims, "rs256", issuer.public_pem("rs256"))
    assert "algorithm" in await refused(verifier, confused)
    stranger = jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers={"kid": "es256"})
    assert "signature" in await refused(verifier, stranger)
    other = jwt.encode(claims, new_key("RS256"), algorithm="PS256", headers={"kid": "rs256"})
    assert "algorithm" in await refused(verifier, other)
    wrong_kind = jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers={"kid": "rs256"})
    assert "may not sign" in await refused(verifier, wrong_kind)


@pytest.mark.anyio
@pytest.mark.parametrize("kid", ["nobody", "../../../etc/passwd", "", "x" * 4_000])
async def test_case_7_a_key_that_is_not_published_is_refused(
    issuer: Issuer, verifier: TokenVerifier, kid: str
) -> None:
    token = issuer.sign("rs256", {"aud": URL}, kid=kid)
    assert "key" in await refused(verifier, token)


@pytest.mark.anyio
async def test_a_key_that_the_token_brings_along_is_ignored(issuer: Issuer, verifier: TokenVerifier) -> None:
    own = new_key("ES256")
    header = {"kid": "mine", "jku": f"{issuer.url}/introspect", "jwk": {"kty": "EC"}, "x5u": f"{issuer.url}/jwks"}
    claims = {"iss": issuer.url, "sub": "mallory", "aud": URL, "exp": int(time.time()) + 60}
    before = issuer.asked("/introspect")
    assert "key" in await refused(verifier, jwt.encode(claims, own, algorithm="ES256", headers=header))
    assert issuer.asked("/introspect") == before


@pytest.mark.anyio
@pytest.mark.parametrize("header", [{"typ": "logout+jwt"}, {"typ": "secevent+jwt"}, {"crit": ["exp"]}])
async def test_what_is_not_an_access_token_is_refused(
    issuer: Issuer, verifier: TokenVerifier, header: dict[str, Any]
) -> None:
    assert "not an access token" in await refused(verifier, issuer.sign("rs256", {"aud": URL}, **header))


@pytest.mark.anyio
async def test_a_short_rsa_key_and_a_published_secret_are_no_keys(issuer: Issuer, verifier: TokenVerifier) -> None:
    secret = base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("=")
    issuer.more_keys = [
        {"kty": "oct", "kid": "secret", "k": secret},
        {**issuer.jwks()["keys"][0], "kid": "encrypts", "use": "enc"},
    ]
    for kid in ("secret", "encrypts"):
        assert "may not sign" in await refused(verifier, issuer.sign("rs256", {"aud": URL}, kid=kid))
    issuer.more_keys = []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "é.é.é", "\x00", "x" * 100_000, "e30.e30.", "bnVsbA.bnVsbA.x"]
)
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    await refused(verifier, token)


@pytest.mark.anyio
async def test_a_development_token_is_of_no_use_where_an_issuer_is_set(
    verifier: TokenVerifier, tmp_path: Path
) -> None:
    token = TokenAuthority(token_keys(tmp_path), URL).issue(Principal("dev", scopes=frozenset({"read"})))
    assert "issuer is not one" in await refused(verifier, token)


# -- keys (10) ---------------------------------------------------------------------------------------------


class Clock:
    """Time that passes when told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
async def test_case_10_a_new_key_is_honoured_soon_and_a_withdrawn_one_no_longer(client: IssuerClient) -> None:
    with running_issuer() as issuer:
        clock = Clock()
        keys = IssuerKeys(IssuerSettings(issuer.url), client, clock)
        await keys.find("es256", "ES256")
        issuer.keys["next"] = ("ES256", new_key("ES256"))
        del issuer.keys["es256"]
        with pytest.raises(Unauthenticated):
            await keys.find("next", "ES256")
        clock.now += REFETCH_SECONDS
        await keys.find("next", "ES256")
        with pytest.raises(Unauthenticated):
            await keys.find("es256", "ES256")


@pytest.mark.anyio
async def test_a_withdrawn_key_is_forgotten_also_where_no_new_one_signs(client: IssuerClient) -> None:
    with running_issuer() as issuer:
        clock = Clock()
        keys = IssuerKeys(IssuerSettings(issuer.url, jwks=f"{issuer.url}/jwks"), client, clock)
        await keys.find("es256", "ES256")
        del issuer.keys["es256"]
        await keys.find("es256", "ES256")
        clock.now += LIFETIME_SECONDS + 1
        with pytest.raises(Unauthenticated):
            await keys.find("es256", "ES256")


@pytest.mark.anyio
async def test_a_flood_of_unknown_keys_asks_the_issuer_once(client: IssuerClient) -> None:
    with running_issuer() as issuer:
        clock = Clock()
        keys = IssuerKeys(IssuerSettings(issuer.url), client, clock)
        await keys.find("es256", "ES256")
        clock.now += REFETCH_SECONDS
        for number in range(200):
            with pytest.raises(Unauthenticated):
                await keys.find(f"unknown-{number}", "ES256")
        assert issuer.asked("/jwks") == 2


@pytest.mark.anyio
async def test_known_keys_serve_while_the_issuer_is_down_and_then_no_token_can_be_checked(
    client: IssuerClient,
) -> None:
    with running_issuer() as issuer:
        clock = Clock()
        keys = IssuerKeys(IssuerSettings(issuer.url), client, clock)
        await keys.find("es256", "ES256")
        issuer.down = True
        clock.now += LIFETIME_SECONDS + 1
        await keys.find("es256", "ES256")
        clock.now += STALE_SECONDS
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1"):
                await keys.find("es256", "ES256")
        issuer.down = False
        clock.now += REFETCH_SECONDS
        await keys.find("es256", "ES256")


# -- opaque tokens -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_opaque_token_holds_while_its_issuer_says_so(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.opaque["opaque-1"] = {
        "sub": "ann",
        "aud": URL,
        "scope": "read",
        "exp": int(time.time()) + 60,
        **EU_CLAIMS,
    }
    assert (await verifier.verify("opaque-1")).principal.roles == {"analyst"}
    del issuer.opaque["opaque-1"]
    assert "does not hold" in await refused(verifier, "opaque-1")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "claims", [{"aud": "other"}, {"aud": None}, {"iss": "https://evil.example"}, {"exp": 1}, {"nbf": 2**40}]
)
async def test_an_active_token_for_somebody_else_is_refused(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    issuer.opaque["opaque-2"] = {"sub": "ann", "aud": URL, **claims}
    assert "does not hold" in await refused(verifier, "opaque-2")


@pytest.mark.anyio
async def test_what_an_issuer_said_is_kept_for_a_moment(issuer: Issuer, opened: OpenVerifier) -> None:
    kept = IntrospectionSettings(f"{issuer.url}/introspect", CLIENT_ID, "${ISSUER_SECRET}", 60)
    verifier = opened(introspection=kept)
    issuer.opaque["opaque-3"] = {"sub": "ann", "aud": URL, "exp": int(time.time()) + 600}
    before = issuer.asked("/introspect")
    for _ in range(5):
        await verifier.verify("opaque-3")
        await refused(verifier, "no-such-token")
    assert issuer.asked("/introspect") == before + 2


@pytest.mark.anyio
async def test_a_wrong_client_secret_is_an_engine_that_cannot_be_asked(opened: OpenVerifier) -> None:
    with pytest.raises(EngineUnavailable, match="401"):
        await opened("wrong").verify("opaque-4")


def test_a_missing_client_secret_is_named_at_the_start(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="ISSUER_SECRET"):
        TokenVerifier(serving_with(issuer, tmp_path), {})


def forged_with_secret(claims: dict[str, Any], kid: str, secret: bytes) -> str:
    """A token signed by HMAC with a public key as its secret, which a library of ours refuses to make."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT", "kid": kid}, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
