"""Opaque tokens: their issuer is asked whether they hold (RFC 7662), and its answer kept for a few seconds."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, cast

import anyio

from mcp_server.identity import Verified
from mcp_server.identity_claims import principal_of_claims
from mcp_server.identity_fetch import IssuerClient
from mcp_server.identity_jwt import unusable
from semantic_layer.identity_settings import IntrospectionSettings, IssuerSettings

MAX_KEPT = 10_000
MOST_AT_ONCE = 16
"""Questions in flight: a flood of made-up tokens must not become one at the issuer."""
UNDATED_SECONDS = 60
"""How long a token whose end the issuer does not say is taken to hold before it is asked again."""


class Introspection:
    """Asks one issuer about tokens. What it said is kept by the token's digest, never by the token.

    `clock` is the time in seconds since 1970. `secret` is the client secret, already filled in.
    """

    def __init__(
        self,
        issuer: IssuerSettings,
        endpoint: IntrospectionSettings,
        secret: str,
        client: IssuerClient,
        audiences: tuple[str, ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._endpoint = endpoint
        self._secret = secret
        self._client = client
        self._audiences = issuer.audiences or audiences
        self._clock = clock
        self._asking = anyio.Semaphore(MOST_AT_ONCE)
        self._kept: OrderedDict[str, tuple[float, Verified | None]] = OrderedDict()

    async def verify(self, token: str) -> Verified:
        """Whom the token names. Raises Unauthenticated for one that does not hold, EngineUnavailable."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        until, verified = self._kept.get(digest, (0.0, None))
        if until <= self._clock():
            verified = await self._asked(token)
            self._keep(digest, verified)
        if verified is None:
            raise unusable("its issuer says that it does not hold")
        return verified

    async def _asked(self, token: str) -> Verified | None:
        form = {"token": token, "token_type_hint": "access_token"}
        async with self._asking:
            said = await self._client.post(self._endpoint.url, form, (self._endpoint.client_id, self._secret))
        if said.get("active") is not True or not self._fits(said):
            return None
        expires_at = _number(said.get("exp"), self._clock() + UNDATED_SECONDS)
        return Verified(principal_of_claims(said, self._issuer), int(expires_at), self._issuer.issuer)

    def _fits(self, said: Mapping[str, Any]) -> bool:
        """Whether the answer is about a token for this server, of this issuer, that is valid now."""
        audience = said.get("aud")
        named = cast("list[Any]", audience) if isinstance(audience, list) else [audience]
        now, skew = self._clock(), self._issuer.clock_skew_seconds
        return (
            any(one in self._audiences for one in named)
            and said.get("iss", self._issuer.issuer) == self._issuer.issuer
            and _number(said.get("exp"), now) + skew >= now
            and _number(said.get("nbf"), now) - skew <= now
        )

    def _keep(self, digest: str, verified: Verified | None) -> None:
        until = self._clock() + self._endpoint.cache_seconds
        if verified is not None:
            until = min(until, verified.expires_at)
        self._kept[digest] = (until, verified)
        self._kept.move_to_end(digest)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def _number(value: Any, otherwise: float) -> float:
    finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if finite else otherwise
