"""The public keys of one issuer (RFC 7517): fetched when needed, again when a new one signs, never by a flood."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import anyio
import jwt

from mcp_server.identity_fetch import IssuerClient, require_safe, unreachable
from semantic_layer.errors import EngineUnavailable, Unauthenticated
from semantic_layer.identity_settings import IssuerSettings

LIFETIME_SECONDS = 300.0
"""How long keys are used before they are fetched again: a key that the issuer withdrew is honoured no longer."""
REFETCH_SECONDS = 10.0
"""An unknown key id fetches again at most this often: so soon is a new key honoured, so seldom can strangers ask."""
STALE_SECONDS = 3_600.0
"""How long keys are still used while the issuer does not answer; after that no token can be checked."""
MIN_RSA_BITS = 2_048
_PATHS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


class IssuerKeys:
    """The signing keys of an issuer. One per event loop; `clock` counts seconds."""

    def __init__(
        self, issuer: IssuerSettings, client: IssuerClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._clock = clock
        self._lock = anyio.Lock()
        self._url = issuer.jwks
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._read: dict[tuple[str, str], jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")

    async def find(self, key_id: str, algorithm: str) -> jwt.PyJWK:
        """The public key of this id for this algorithm: the same object until the set is fetched again.

        An id that is not there fetches the set again, but never within REFETCH_SECONDS of the last time: until
        then every unknown id is refused at once. Raises Unauthenticated, or EngineUnavailable where the issuer
        does not answer and its keys are older than STALE_SECONDS.
        """
        if self._age() > LIFETIME_SECONDS:
            await self._fetch(self._age())
        if key_id not in self._keys:
            await self._fetch(self._age())
        found = self._keys.get(key_id)
        if found is None:
            raise Unauthenticated("the token was signed by a key that its issuer does not publish.")
        key = self._read.get((key_id, algorithm))
        if key is None:
            key = self._read[key_id, algorithm] = _usable(found, algorithm)
        return key

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    async def _fetch(self, age: float) -> None:
        """Fetch the set unless that was tried just now; callers that wait for the same fetch share it."""
        async with self._lock:
            if self._age() < age or self._clock() - self._asked_at < REFETCH_SECONDS:
                self._require_fresh()
                return
            self._asked_at = self._clock()
            try:
                self._keys, self._read = await self._published(), {}
                self._fetched_at = self._clock()
            except EngineUnavailable:
                if self._age() > STALE_SECONDS:
                    raise

    def _require_fresh(self) -> None:
        if self._age() > STALE_SECONDS:
            raise unreachable(self._url or self._issuer.issuer, "it did not answer just now")

    async def _published(self) -> dict[str, Mapping[str, Any]]:
        url = self._url or await self._discovered()
        document = await self._client.get(url)
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise unreachable(url, "it publishes no keys")
        self._url = url
        listed = [one for one in cast("list[Any]", keys) if isinstance(one, dict)]
        return {str(one.get("kid", "")): cast("dict[str, Any]", one) for one in listed}

    async def _discovered(self) -> str:
        """The address of the keys, from the issuer's metadata (OpenID Connect Discovery, else RFC 8414)."""
        base = self._issuer.issuer.rstrip("/")
        failure: EngineUnavailable | None = None
        for path in _PATHS:
            try:
                document = await self._client.get(base + path)
            except EngineUnavailable as error:
                failure = failure or error
                continue
            url = document.get("jwks_uri")
            if document.get("issuer") != self._issuer.issuer or not isinstance(url, str):
                raise unreachable(base, "its metadata names another issuer, or no keys")
            require_safe(url)
            return url
        raise failure or unreachable(base, "it has no metadata")


def _usable(found: Mapping[str, Any], algorithm: str) -> jwt.PyJWK:
    """The key, where it may sign with this algorithm. Raises Unauthenticated."""
    refused = Unauthenticated("the token's key may not sign in this way.")
    if found.get("use", "sig") != "sig" or found.get("alg", algorithm) != algorithm or found.get("kty") == "oct":
        raise refused
    try:
        key = jwt.PyJWK(dict(found), algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise refused from None
    if getattr(key.key, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and found.get("kty") == "RSA":
        raise refused
    return key
