"""Which issuer a bearer token is of, and whether it holds: our own, a JWT of an issuer, or one to ask about."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from indexes.keys import keyring
from mcp_server.identity import ISSUER, LEEWAY_SECONDS, MAX_TOKEN_CHARS, TokenAuthority, Verified
from mcp_server.identity_checked import Checked, CheckedTokens
from mcp_server.identity_fetch import IssuerClient
from mcp_server.identity_introspection import Introspection
from mcp_server.identity_jwt import IssuerTokens, unusable
from mcp_server.identity_keys import IssuerKeys
from mcp_server.settings import ServingSettings
from semantic_layer.environment import filled


class TokenVerifier:
    """Verifies the tokens that one server accepts, for its own MCP URL or the audience that an issuer is set to."""

    def __init__(self, settings: ServingSettings, environment: Mapping[str, str]) -> None:
        """Raises InvalidArgument where a variable that holds a secret is not set."""
        identity, audience = settings.identity, settings.resource_url
        self._client = IssuerClient()
        self._checked = CheckedTokens()
        self._development = (
            TokenAuthority(keyring(settings.home, "tokens", environment), audience)
            if identity.development
            else None
        )
        self._issuers = {
            one.issuer: IssuerTokens(one, IssuerKeys(one, self._client), (audience,)) for one in identity.issuers
        }
        self._introspection: Introspection | None = None
        for one in identity.issuers:
            if one.introspection is not None:
                secret = filled(one.introspection.client_secret, environment, where="identity.introspection")
                self._introspection = Introspection(one, one.introspection, secret, self._client, (audience,))

    async def verify(self, token: str) -> Verified:
        """Whom the token names. Raises Unauthenticated with the reason and never the token, and EngineUnavailable
        where its issuer cannot be asked.

        What the token says of itself only chooses who checks it: an issuer that is not set up is not asked.
        """
        if not 0 < len(token) <= MAX_TOKEN_CHARS:
            raise unusable("it is empty or too long")
        return await self._checked.find(token) or await self._verified(token)

    def known(self, token: str) -> Verified | None:
        """Whom the token named when it was checked lately, whether or not it still holds."""
        return self._checked.known(token)

    async def _verified(self, token: str) -> Verified:
        unchecked = _unchecked(token)
        if unchecked is None:
            if self._introspection is None or not token.isascii() or not token.isprintable():
                raise unusable("it is malformed")
            return await self._introspection.verify(token)
        header, claims = unchecked
        issuer = claims.get("iss")
        key_id, algorithm = str(header.get("kid", "")), str(header.get("alg"))
        if issuer == ISSUER and self._development is not None:
            verified, find = self._development.verify(token), self._development.key
            checked = Checked(verified, await find(key_id, algorithm), key_id, algorithm, find, LEEWAY_SECONDS)
        else:
            known = self._issuers.get(issuer) if isinstance(issuer, str) else None
            if known is None:
                raise unusable("its issuer is not one that is accepted here")
            key = await known.key(header)
            verified, skew = known.verify(token, key, algorithm), known.issuer.clock_skew_seconds
            checked = Checked(verified, key, key_id, algorithm, known.keys.find, skew)
        self._checked.keep(token, checked)
        return checked.verified

    async def close(self) -> None:
        """Close the connections to issuers."""
        await self._client.close()


def _unchecked(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Header and claims of a JWT, not verified; None for what has not the form of one."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (
            json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2]
        )
    except (ValueError, RecursionError):
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None
