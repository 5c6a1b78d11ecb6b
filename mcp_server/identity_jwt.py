"""Access tokens of one issuer, as JWTs (RFC 7519, RFC 9068): checked by its public keys, read as a Principal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from mcp_server.identity import Verified
from mcp_server.identity_claims import principal_of_claims
from mcp_server.identity_keys import IssuerKeys
from semantic_layer.errors import Unauthenticated
from semantic_layer.identity_settings import IssuerSettings

TYPES = ("at+jwt", "application/at+jwt", "jwt")
"""What a token may call itself; absent is accepted, an ID token's or a logout token's own type is not."""


class IssuerTokens:
    """Verifies the JWTs of one issuer for these audiences."""

    def __init__(self, issuer: IssuerSettings, keys: IssuerKeys, audiences: tuple[str, ...]) -> None:
        self.issuer = issuer
        self.keys = keys
        self._audiences = issuer.audiences or audiences

    async def key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The key that a token with this header must be signed by. Raises Unauthenticated, EngineUnavailable.

        The algorithm must be on the issuer's list, and the key be published by the issuer.
        """
        algorithm = header.get("alg")
        if algorithm not in self.issuer.algorithms:
            raise unusable("its algorithm is not accepted")
        if "crit" in header or str(header.get("typ", "jwt")).casefold() not in TYPES:
            raise unusable("it is not an access token")
        return await self.keys.find(str(header.get("kid", "")), str(algorithm))

    def verify(self, token: str, key: jwt.PyJWK, algorithm: str) -> Verified:
        """Whom the token names. Raises Unauthenticated with the reason and never the token.

        The issuer and one audience must be the expected ones, and the time lie between `nbf` and `exp`, give or take
        the clock skew.
        """
        claims = self._claims(token, key, algorithm)
        return Verified(principal_of_claims(claims, self.issuer), int(claims["exp"]), self.issuer.issuer)

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=list(self._audiences),
                issuer=self.issuer.issuer,
                leeway=self.issuer.clock_skew_seconds,
                options={"require": ["exp", "aud", "iss"]},
            )
        except jwt.ExpiredSignatureError:
            raise unusable("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise unusable("it is not valid yet") from None
        except jwt.InvalidAudienceError:
            raise unusable(f"it was not issued for {' or '.join(self._audiences)}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise unusable("it is malformed or its signature does not fit") from None


def unusable(why: str) -> Unauthenticated:
    """The refusal of a bearer token, with the reason."""
    return Unauthenticated(f"the bearer token cannot be used: {why}.", hint="Get a new one from its issuer.")
