"""The HTTP door's first question: a good token, or none where that is allowed; a bad token is always 401."""

from __future__ import annotations

import time
from dataclasses import replace

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.identity import Verified, access_token
from mcp_server.identity_metadata import challenge
from mcp_server.identity_verifier import TokenVerifier
from mcp_server.problem import problem_response
from mcp_server.settings import ServingSettings
from semantic_layer.errors import EngineUnavailable, Refused, Unauthenticated
from semantic_layer.identity_settings import SCOPES
from semantic_layer.principal import ANONYMOUS

GUARDED = ("/mcp", "/api")
PURPOSE_HEADER = "Wellhead-Purpose"
_IN_ADDRESS = ("access_token", "token")
_SEND = "Send `Authorization: Bearer …`; in development get a token with `wellhead token`."
_SCOPES = "Ask the issuer for one of: " + ", ".join(SCOPES) + "."


class _NoCredential(Unauthenticated):
    """None was shown: the challenge names no error (RFC 6750, 3.1)."""


class Authenticate:
    """ASGI middleware that verifies the bearer token of a request on the guarded paths.

    A request without one is served as anonymous only where the settings say so; health checks and metadata are open.
    A token counts only in the Authorization header: one in the address is refused, since addresses are logged. The
    token goes no further than this: what follows sees the principal.
    """

    def __init__(self, app: ASGIApp, settings: ServingSettings, verifier: TokenVerifier) -> None:
        self._app = app
        self._settings = settings
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            verified = await self._verified(Request(scope))
        except (Unauthenticated, Refused, EngineUnavailable) as refusal:
            await self._response(refusal)(scope, receive, send)
            return
        if verified is not None:
            access = access_token(verified, self._settings.resource_url)
            scope["auth"], scope["user"] = AuthCredentials(access.scopes), AuthenticatedUser(access)
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
        await self._app(scope, receive, send)

    async def _verified(self, request: Request) -> Verified | None:
        """Who asks; None for anonymous. Raises Unauthenticated, Refused, EngineUnavailable."""
        if any(name in request.query_params for name in _IN_ADDRESS):
            raise Unauthenticated("a token in the address is no credential.", hint=_SEND)
        held = request.headers.getlist("authorization")
        if not held:
            if self._settings.anonymous:
                if PURPOSE_HEADER in request.headers:
                    ANONYMOUS.acting_for(request.headers[PURPOSE_HEADER])
                return None
            raise _NoCredential("a bearer token is required.", hint=_SEND)
        kind, _, token = held[0].partition(" ")
        if len(held) > 1 or kind.casefold() != "bearer" or not token.strip():
            raise Unauthenticated("the bearer token cannot be used: it is malformed.", hint=_SEND)
        verified = await self._verifier.verify(token.strip())
        skew = max((one.clock_skew_seconds for one in self._settings.identity.issuers), default=0)
        if verified.expires_at + max(skew, 5) < time.time():
            raise Unauthenticated("the bearer token cannot be used: it has expired.")
        if not verified.principal.scopes & set(SCOPES):
            raise Refused("the token has none of the scopes of this server.", rule="scope", hint=_SCOPES)
        purpose = request.headers.get(PURPOSE_HEADER, "")
        return replace(verified, principal=verified.principal.acting_for(purpose)) if purpose else verified

    def _response(self, refusal: Unauthenticated | Refused | EngineUnavailable) -> Response:
        if isinstance(refusal, EngineUnavailable):
            return problem_response(refusal)
        if isinstance(refusal, Unauthenticated):
            bare = isinstance(refusal, _NoCredential)
            error, why = ("", "") if bare else ("invalid_token", refusal.message)
            text = challenge(self._settings, error=error, description=why)
            return problem_response(refusal, headers={"WWW-Authenticate": text})
        text = challenge(self._settings, error="insufficient_scope", scope="read")
        headers = {"WWW-Authenticate": text} if refusal.rule == "scope" else {}
        return problem_response(refusal, headers=headers, rule=refusal.rule)


def guarded(path: str) -> bool:
    """Whether a path needs a credential, or the right to do without."""
    return any(path == root or path.startswith(root + "/") for root in GUARDED)
