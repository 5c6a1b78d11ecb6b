"""Who is calling: what a verified credential says, and the signed development tokens of one workspace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from indexes.keys import Key, Keyring
from semantic_layer.errors import InvalidArgument, Unauthenticated
from semantic_layer.identity_settings import SCOPES, TOKEN_HOURS
from semantic_layer.principal import ANONYMOUS, AttributeValue, Principal

ISSUER = "wellhead-development"
ALGORITHM = "EdDSA"
MAX_TOKEN_CHARS = 8_192
LEEWAY_SECONDS = 5
READ, SQL, OPERATE, REQUEST = SCOPES
DEFAULT_LIFETIME_SECONDS = TOKEN_HOURS * 3_600


@dataclass(frozen=True)
class Verified:
    """A credential that holds: whom it names, until when (seconds since 1970), and who vouches for it."""

    principal: Principal
    expires_at: int
    issuer: str


class Bearer(AuthenticatedUser):
    """The caller of an HTTP request as the request carries it: our principal, which the SDK sees when it asks."""

    def __init__(self, verified: Verified, resource: str) -> None:
        self.verified = verified
        self._resource = resource
        self.username = verified.principal.client

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.verified.principal

    @cached_property
    def access_token(self) -> AccessToken:  # type: ignore[override]
        """See AuthenticatedUser."""
        return access_token(self.verified, self._resource)

    @cached_property
    def scopes(self) -> list[str]:  # type: ignore[override]
        """See AuthenticatedUser."""
        return sorted(self.principal.scopes)


class TokenAuthority:
    """Issues and verifies the tokens of one home, for one audience (RFC 7519, RFC 8707)."""

    def __init__(self, keys: Keyring, audience: str) -> None:
        self._keys = keys
        self.audience = audience

    def issue(self, principal: Principal, *, lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS) -> str:
        """A signed token for this principal. Raises InvalidArgument for a subject or scope that cannot be."""
        if not principal.subject or principal.subject == ANONYMOUS.subject:
            raise InvalidArgument(f"a token needs a subject other than {principal.subject!r}.")
        for scope in principal.scopes - set(SCOPES):
            raise InvalidArgument(f"no scope {scope!r}.", hint="Use " + " or ".join(SCOPES) + ".")
        if not 0 < lifetime_seconds <= 366 * 86_400:
            raise InvalidArgument("a token lives between one second and 366 days.")
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": self.audience,
            "iat": now,
            "exp": now + lifetime_seconds,
            **_claims_of(replace(principal, client=principal.client or "development")),
        }
        key = self._keys.newest()
        return jwt.encode(claims, _private_key(key), algorithm=ALGORITHM, headers={"kid": key.id})

    def verify(self, token: str) -> Verified:
        """Whom a token names. Raises Unauthenticated with the reason, and never the token."""
        claims = self._claims(token)
        return Verified(_principal(claims), int(claims["exp"]), ISSUER)

    async def key(self, key_id: str, algorithm: str) -> Key:
        """The key of this workspace under this id. Raises Unauthenticated where there is none."""
        key = self._keys.find(key_id)
        if key is None or algorithm != ALGORITHM:
            raise _unusable("it was not signed by a key of this workspace")
        return key

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise _unusable("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(str(header.get("kid", "")))
            if key is None or header.get("alg") != ALGORITHM:
                raise _unusable("it was not signed by a key of this workspace")
            return jwt.decode(
                token,
                _private_key(key).public_key(),
                algorithms=[ALGORITHM],
                audience=self.audience,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unusable("it has expired") from None
        except jwt.InvalidAudienceError:
            raise _unusable(f"it was not issued for {self.audience}") from None
        except (jwt.PyJWTError, ValueError):
            raise _unusable("it is malformed or its signature does not fit") from None


def access_token(verified: Verified, resource: str) -> AccessToken:
    """A verified credential as the MCP SDK carries it through a request: our own claims, and never the token."""
    principal = verified.principal
    return AccessToken(
        token="",
        client_id=principal.client,
        scopes=sorted(principal.scopes),
        expires_at=verified.expires_at,
        resource=resource,
        subject=principal.subject,
        claims={"iss": verified.issuer, **_claims_of(principal)},
    )


def bearer_of(scope: Mapping[str, Any]) -> Bearer | None:
    """Who showed a good token with an HTTP request, by its ASGI scope; None where none was shown."""
    user = scope.get("user")
    return user if isinstance(user, Bearer) else None


def caller_of(scope: Mapping[str, Any]) -> Principal:
    """The caller of an HTTP request, by its ASGI scope: whom its token names, or ANONYMOUS where it showed none."""
    bearer = bearer_of(scope)
    return ANONYMOUS if bearer is None else bearer.principal


def _claims_of(principal: Principal) -> dict[str, Any]:
    return {
        "sub": principal.subject,
        "client_id": principal.client,
        "scope": " ".join(sorted(principal.scopes)),
        "roles": sorted(principal.roles),
        "attributes": _plain(principal.attributes),
        "tenant": principal.tenant,
        "purposes": sorted(principal.purposes),
    }


def _principal(claims: Mapping[str, Any]) -> Principal:
    try:
        return Principal(
            subject=str(claims["sub"]),
            roles=frozenset(_strings(claims.get("roles", []), "roles")),
            attributes=_attributes(claims.get("attributes") or {}),
            client=str(claims.get("client_id", "")),
            scopes=frozenset(str(claims.get("scope", "")).split()),
            tenant=str(claims.get("tenant", "")),
            purposes=frozenset(_strings(claims.get("purposes", []), "purposes")),
        )
    except (InvalidArgument, KeyError):
        raise _unusable("its claims do not name a principal") from None


def _strings(raw: Any, name: str) -> list[str]:
    items = cast("list[Any]", raw) if isinstance(raw, list) else None
    if items is None or not all(isinstance(item, str) and item for item in items):
        raise InvalidArgument(f"{name} must be a list of strings, not {raw!r}.")
    return items


def _attributes(raw: Any) -> dict[str, AttributeValue]:
    if not isinstance(raw, Mapping):
        raise InvalidArgument(f"attributes must be an object, not {raw!r}.")
    held: dict[str, AttributeValue] = {}
    for name, value in cast("Mapping[Any, Any]", raw).items():
        items = cast("list[Any]", value if isinstance(value, list) else [value])
        if not all(isinstance(item, (str, int, bool)) for item in items):
            raise InvalidArgument(f"attribute {name!r} must hold strings, numbers or booleans, not {value!r}.")
        held[str(name)] = tuple(items) if isinstance(value, list) else items[0]
    return held


def _plain(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in attributes.items()}


@lru_cache(maxsize=64)
def _private_key(key: Key) -> Ed25519PrivateKey:
    loaded = load_pem_private_key(key.material, password=None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError(f"key {key.id} is not an Ed25519 key")
    return loaded


def _unusable(why: str) -> Unauthenticated:
    return Unauthenticated(f"the bearer token cannot be used: {why}.", hint="Get one with `wellhead token`.")
