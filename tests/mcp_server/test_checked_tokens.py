"""A token is checked once, and still ends with its time, with its key, and with its issuer's word."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_server.identity import TokenAuthority, Verified
from mcp_server.identity_checked import Checked, CheckedTokens
from mcp_server.identity_keys import LIFETIME_SECONDS
from mcp_server.identity_verifier import TokenVerifier
from mcp_server.keys import token_keys
from mcp_server.settings import ServingSettings
from semantic_layer.errors import Unauthenticated
from semantic_layer.principal import Principal
from tests.mcp_server.issuer import EU_CLAIMS, running_issuer, serving_with

ANN = Principal("ann", frozenset({"analyst"}), scopes=frozenset({"read"}), client="development")


class Clock:
    """Time that passes when told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> ServingSettings:
    return ServingSettings(tmp_path)


@pytest.fixture
async def verifier(settings: ServingSettings) -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(settings, {})
    yield made
    await made.close()


def token_of(settings: ServingSettings) -> str:
    return TokenAuthority(token_keys(settings.home), settings.resource_url).issue(ANN)


@pytest.mark.anyio
async def test_a_token_is_checked_once_and_names_the_same_caller_after(
    settings: ServingSettings, verifier: TokenVerifier
) -> None:
    token = token_of(settings)
    first = await verifier.verify(token)
    assert first.principal == ANN
    assert await verifier.verify(token) is first


@pytest.mark.anyio
async def test_case_10_a_token_whose_key_is_retired_is_refused_from_the_next_call(
    settings: ServingSettings, verifier: TokenVerifier
) -> None:
    keys, token = token_keys(settings.home), token_of(settings)
    old = keys.newest()
    await verifier.verify(token)
    keys.rotate()
    assert (await verifier.verify(token)).principal == ANN
    keys.retire(old.id)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


@pytest.mark.anyio
async def test_a_changed_token_is_never_taken_for_the_one_that_was_checked(
    settings: ServingSettings, verifier: TokenVerifier
) -> None:
    token = token_of(settings)
    await verifier.verify(token)
    head, body, signature = token.split(".")
    for changed in (f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}.", token + "A"):
        with pytest.raises(Unauthenticated):
            await verifier.verify(changed)


@pytest.mark.anyio
async def test_a_token_that_was_checked_ends_with_its_time_and_the_clock_skew() -> None:
    clock, key = Clock(), object()
    kept = CheckedTokens(clock=clock)

    async def find(key_id: str, algorithm: str) -> object:
        return key

    verified = Verified(ANN, 2_000, "issuer")
    kept.keep("token", Checked(verified, key, "k", "ES256", find, leeway=30))
    clock.now = 2_029.9
    assert await kept.find("token") is verified
    clock.now = 2_030.0
    assert await kept.find("token") is None


@pytest.mark.anyio
async def test_what_another_key_signs_under_the_same_id_must_be_checked_again() -> None:
    keys, kept = [object()], CheckedTokens(clock=Clock())

    async def find(key_id: str, algorithm: str) -> object:
        return keys[0]

    kept.keep("token", Checked(Verified(ANN, 2_000, "issuer"), keys[0], "k", "ES256", find, leeway=0))
    keys[0] = object()
    assert await kept.find("token") is None


@pytest.mark.anyio
async def test_a_flood_of_tokens_does_not_grow_what_is_kept() -> None:
    kept, key = CheckedTokens(most=3, clock=Clock()), object()

    async def find(key_id: str, algorithm: str) -> object:
        return key

    for number in range(10):
        kept.keep(str(number), Checked(Verified(ANN, 2_000, "issuer"), key, "k", "ES256", find, leeway=0))
    found = [number for number in range(10) if await kept.find(str(number))]
    assert found == [7, 8, 9]


@pytest.mark.anyio
async def test_case_10_a_token_whose_key_its_issuer_withdrew_is_refused_once_the_keys_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_issuer() as issuer:
        verifier = TokenVerifier(serving_with(issuer, tmp_path), {"ISSUER_SECRET": "secret"})
        token = issuer.sign("es256", {"aud": serving_with(issuer, tmp_path).resource_url, **EU_CLAIMS})
        assert await verifier.verify(token) is await verifier.verify(token)
        issuer.keys.clear()
        later = time.monotonic() + LIFETIME_SECONDS + 1
        monkeypatch.setattr(verifier._issuers[issuer.url].keys, "_clock", lambda: later)
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)
        await verifier.close()
