"""The HTTP door's first question: a good token, or none where that is allowed; a bad token is always 401."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.identity import Bearer, Verified
from mcp_server.identity_metadata import challenge
from mcp_server.identity_verifier import TokenVerifier
from mcp_server.problem import problem_response
from mcp_server.refusals import DoorRefusals
from mcp_server.settings import ServingSettings
from semantic_layer.errors import EngineUnavailable, Refused, Unauthenticated
from semantic_layer.identity_settings import SCOPES
from semantic_layer.principal import ANONYMOUS, Principal

GUARDED = ("/mcp", "/api")
PURPOSE_HEADER = "Wellhead-Purpose"
_PURPOSE = PURPOSE_HEADER.lower().encode()
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

    def __init__(
        self, app: ASGIApp, settings: ServingSettings, verifier: TokenVerifier, refusals: DoorRefusals
    ) -> None:
        self._app = app
        self._refusals = refusals
        self._settings = settings
        self._verifier = verifier
        self._skew = max(5, *(one.clock_skew_seconds for one in settings.identity.issuers), 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            verified = await self._verified(scope)
        except (Unauthenticated, Refused, EngineUnavailable) as refusal:
            self._refusals.note_error(scope, refusal)
            await self._response(refusal)(scope, receive, send)
            return
        if verified is not None:
            scope["user"] = Bearer(verified, self._settings.resource_url)
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"authorization"]
        await self._app(scope, receive, send)

    async def _verified(self, scope: Scope) -> Verified | None:
        """Who asks; None for anonymous. Raises Unauthenticated, Refused, EngineUnavailable."""
        if scope["query_string"] and any(name in Request(scope).query_params for name in _IN_ADDRESS):
            raise Unauthenticated("a token in the address is no credential.", hint=_SEND)
        held = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        purpose = next((value.decode("latin-1") for name, value in scope["headers"] if name == _PURPOSE), None)
        if not held:
            if self._settings.anonymous:
                if purpose is not None:
                    ANONYMOUS.acting_for(purpose)
                return None
            raise _NoCredential("a bearer token is required.", hint=_SEND)
        kind, _, token = held[0].partition(" ")
        if len(held) > 1 or kind.casefold() != "bearer" or not token.strip():
            raise Unauthenticated("the bearer token cannot be used: it is malformed.", hint=_SEND)
        verified = await self._verifier.verify(token.strip())
        if verified.expires_at + self._skew < time.time():
            raise Unauthenticated("the bearer token cannot be used: it has expired.")
        if not verified.principal.scopes & set(SCOPES):
            raise Refused("the token has none of the scopes of this server.", rule="scope", hint=_SCOPES)
        return replace(verified, principal=verified.principal.acting_for(purpose)) if purpose else verified

    def known(self, headers: Sequence[tuple[bytes, bytes]]) -> Principal | None:
        """Who a request with these headers says it is of, as far as its token was checked lately. Good enough to turn
        it away, never to let it in."""
        held = [value for name, value in headers if name == b"authorization"]
        if not held:
            return ANONYMOUS
        verified = self._verifier.known(held[0].partition(b" ")[2].strip().decode("latin-1"))
        return verified.principal if verified is not None else None

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
