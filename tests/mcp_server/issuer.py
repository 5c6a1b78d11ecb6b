"""A small authorization server with real keys, for tests: metadata, keys, introspection, and what it was asked."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI, Form, Request
from starlette.responses import JSONResponse

from mcp_server.settings import ServingSettings
from semantic_layer.identity_settings import (
    ClaimMapping,
    IdentitySettings,
    IntrospectionSettings,
    IssuerSettings,
)

CLIENT_ID, CLIENT_SECRET = "wellhead", "s3cret-of-the-server"
MAPPING = ClaimMapping(
    roles=("realm_access.roles",),
    tenant=("org",),
    purposes=("https://example.com/purposes",),
    attributes={"regions": ("regions",)},
)
EU_CLAIMS: dict[str, Any] = {"realm_access": {"roles": ["analyst"]}, "regions": ["EU"], "azp": "agent"}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_ALGORITHMS = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}
_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def new_key(algorithm: str) -> PrivateKey:
    """A key for this algorithm; RSA keys are one and the same, for they are slow to make."""
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return _RSA


@dataclass
class Issuer:
    """What the issuer knows and was asked. `keys` are published by id; `opaque` tokens are known by their text."""

    url: str = ""
    keys: dict[str, tuple[str, PrivateKey]] = field(default_factory=dict)
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    down: bool = False
    more_keys: list[dict[str, Any]] = field(default_factory=list)

    def asked(self, path: str) -> int:
        """How often this path was asked for."""
        return sum(one[0] == path for one in self.requests)

    def sign(self, key_id: str, claims: dict[str, Any], **header: Any) -> str:
        """A token with these claims over the usual ones, signed with one of the keys. None removes a claim."""
        algorithm, key = self.keys[key_id]
        now = int(time.time())
        whole = {"iss": self.url, "sub": "ann", "iat": now, "exp": now + 600, "scope": "read", **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, key, algorithm=algorithm, headers={"kid": key_id, **header})

    def public_pem(self, key_id: str) -> bytes:
        """The public key as PEM, as anybody may have it."""
        return self.keys[key_id][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def jwks(self) -> dict[str, Any]:
        """The published keys (RFC 7517)."""
        return {"keys": [*(_public(kid, *held) for kid, held in self.keys.items()), *self.more_keys]}

    def app(self) -> FastAPI:
        """The application."""
        app = FastAPI()

        @app.middleware("http")
        async def noted(request: Request, follow: Any) -> Any:
            body = (await request.body()).decode()
            self.requests.append((request.url.path, request.headers.get("authorization", ""), body))
            return JSONResponse({}, status_code=503) if self.down else await follow(request)

        @app.get("/.well-known/openid-configuration")
        def metadata() -> dict[str, Any]:
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

        @app.get("/jwks")
        def keys() -> dict[str, Any]:
            return self.jwks()

        @app.post("/introspect")
        def introspect(request: Request, token: str = Form()) -> JSONResponse:
            expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            if request.headers.get("authorization") != f"Basic {expected}":
                return JSONResponse({"error": "invalid_client"}, status_code=401)
            held = self.opaque.get(token)
            return JSONResponse({"active": True, **held} if held else {"active": False})

        return app


def _public(key_id: str, algorithm: str, key: PrivateKey) -> dict[str, Any]:
    known = _ALGORITHMS.get(algorithm, jwt.algorithms.OKPAlgorithm)
    return {**json.loads(known.to_jwk(key.public_key())), "kid": key_id, "use": "sig", "alg": algorithm}


@contextlib.contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer on a free port until the block ends, with an RSA, an EC and an Ed25519 key."""
    issuer = Issuer()
    for algorithm in ("RS256", "ES256", "EdDSA"):
        issuer.keys[algorithm.lower()] = (algorithm, new_key(algorithm))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        issuer.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(issuer.app(), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.01)
            yield issuer
        finally:
            server.should_exit = True
            thread.join()


def serving_with(issuer: Issuer, home: Path, **changes: Any) -> ServingSettings:
    """Settings of a server that accepts this issuer's tokens."""
    return ServingSettings(home, identity=accepting(issuer, **changes))


def accepting(issuer: Issuer, **changes: Any) -> IdentitySettings:
    """Identity settings for this issuer, mapped by MAPPING."""
    introspection = IntrospectionSettings(f"{issuer.url}/introspect", CLIENT_ID, "${ISSUER_SECRET}", 0)
    one = IssuerSettings(issuer.url, claims=MAPPING, introspection=introspection)
    return IdentitySettings((replace(one, **changes),), development=False)
