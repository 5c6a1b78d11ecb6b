"""Who is calling: signed development tokens become Principals; nothing else does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mcp.server.auth.provider import AccessToken

from mcp_server.keys import Key, Keyring
from semantic_layer.errors import InvalidArgument, Unauthenticated
from semantic_layer.principal import ANONYMOUS, AttributeValue, Principal

ISSUER = "wellhead-development"
ALGORITHM = "EdDSA"
MAX_TOKEN_CHARS = 8_192
LEEWAY_SECONDS = 5
READ, OPERATE = "read", "operate"
SCOPES = (READ, OPERATE)
DEFAULT_LIFETIME_SECONDS = 8 * 3_600


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
            "sub": principal.subject,
            "iat": now,
            "exp": now + lifetime_seconds,
            "client_id": principal.client or "development",
            "scope": " ".join(sorted(principal.scopes)),
            "roles": sorted(principal.roles),
            "attributes": _plain(principal.attributes),
        }
        key = self._keys.newest()
        return jwt.encode(claims, _private_key(key), algorithm=ALGORITHM, headers={"kid": key.id})

    def verify(self, token: str) -> Principal:
        """The principal a token names. Raises Unauthenticated with the reason, and never the token."""
        return _principal(self._claims(token))

    def access_token(self, token: str) -> AccessToken:
        """The token as the MCP SDK carries it. Raises Unauthenticated."""
        claims = self._claims(token)
        principal = _principal(claims)
        return AccessToken(
            token="",
            client_id=principal.client,
            scopes=sorted(principal.scopes),
            expires_at=int(claims["exp"]),
            resource=self.audience,
            subject=principal.subject,
            claims={name: claims[name] for name in ("iss", "sub", "client_id", "scope", "roles", "attributes")},
        )

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


class DevelopmentTokenVerifier:
    """The SDK's TokenVerifier over a TokenAuthority: None for anything that does not verify."""

    def __init__(self, authority: TokenAuthority) -> None:
        self._authority = authority

    async def verify_token(self, token: str) -> AccessToken | None:
        """The access token, or None where the credential is not usable."""
        try:
            return self._authority.access_token(token)
        except Unauthenticated:
            return None


def principal_of(access: AccessToken | None) -> Principal:
    """The caller of an HTTP request: what its verified token says, or ANONYMOUS where it showed none."""
    return ANONYMOUS if access is None else _principal(access.claims or {})


def _principal(claims: Mapping[str, Any]) -> Principal:
    try:
        return Principal(
            subject=str(claims["sub"]),
            roles=frozenset(_strings(claims.get("roles", []), "roles")),
            attributes=_attributes(claims.get("attributes") or {}),
            client=str(claims.get("client_id", "")),
            scopes=frozenset(str(claims.get("scope", "")).split()),
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


def _private_key(key: Key) -> Ed25519PrivateKey:
    loaded = load_pem_private_key(key.material, password=None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError(f"key {key.id} is not an Ed25519 key")
    return loaded


def _unusable(why: str) -> Unauthenticated:
    return Unauthenticated(f"the bearer token cannot be used: {why}.", hint="Get one with `wellhead token`.")
