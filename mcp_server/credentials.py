"""The HTTP door's first question: a good token, or none where that is allowed; a bad token is always 401."""

from __future__ import annotations

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.problem import problem_response
from semantic_layer.errors import Unauthenticated

GUARDED = ("/mcp", "/api")


class RequireCredential:
    """ASGI middleware behind Starlette's AuthenticationMiddleware, which has verified the token if any.

    A request with an Authorization header must have been authenticated by it; one without is served as
    anonymous only where `anonymous` says so. Health checks are open.
    """

    def __init__(self, app: ASGIApp, anonymous: bool) -> None:
        self._app = app
        self._anonymous = anonymous

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _guarded(scope["path"]) and not self._admitted(scope):
            showed_one = "authorization" in Headers(scope=scope)
            refusal = Unauthenticated(
                "the bearer token cannot be used." if showed_one else "a bearer token is required.",
                hint="Get one with `wellhead token`.",
            )
            challenge = 'Bearer error="invalid_token"' if showed_one else "Bearer"
            response = problem_response(refusal, headers={"WWW-Authenticate": challenge})
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admitted(self, scope: Scope) -> bool:
        if isinstance(scope.get("user"), AuthenticatedUser):
            return True
        return self._anonymous and "authorization" not in Headers(scope=scope)


def _guarded(path: str) -> bool:
    return any(path == root or path.startswith(root + "/") for root in GUARDED)
