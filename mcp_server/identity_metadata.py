"""Where clients learn who issues tokens for this server (RFC 9728), and what a refused one is told (RFC 6750)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.responses import JSONResponse

from mcp_server.settings import ServingSettings
from semantic_layer.errors import InvalidArgument
from semantic_layer.identity_settings import SCOPES

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_LOCAL = ("localhost", "127.0.0.1", "::1")


def metadata_url(settings: ServingSettings) -> str:
    """Where the metadata of this server's MCP endpoint lies: the well-known path before its own."""
    parts = urlsplit(settings.resource_url)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path}"


def metadata_routes(settings: ServingSettings) -> APIRouter:
    """The metadata, open to all as RFC 9728 wants it."""
    routes = APIRouter(tags=["identity"])

    def protected_resource() -> JSONResponse:
        """Who issues tokens for this server, and for which scopes."""
        return JSONResponse(protected_resource_metadata(settings), headers={"Cache-Control": "max-age=3600"})

    routes.add_api_route(WELL_KNOWN + urlsplit(settings.resource_url).path, protected_resource, methods=["GET"])
    return routes


def protected_resource_metadata(settings: ServingSettings) -> Mapping[str, Any]:
    """The document of RFC 9728; without issuers it names none, as development tokens are got by hand."""
    issuers = [one.issuer for one in settings.identity.issuers]
    document: dict[str, Any] = {
        "resource": settings.resource_url,
        "resource_name": settings.name,
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }
    return {**document, "authorization_servers": issuers} if issuers else document


def challenge(settings: ServingSettings, *, error: str = "", description: str = "", scope: str = "") -> str:
    """The WWW-Authenticate header of a refusal; it points at the metadata."""
    parts = {
        "error": error,
        "error_description": description,
        "scope": scope,
        "resource_metadata": metadata_url(settings),
    }
    return "Bearer " + ", ".join(f'{name}="{_quotable(value)}"' for name, value in parts.items() if value)


def require_safe_address(settings: ServingSettings) -> None:
    """Raises InvalidArgument where tokens of an issuer would cross a network in the clear."""
    parts = urlsplit(settings.origin)
    if settings.identity.issuers and parts.scheme != "https" and parts.hostname not in _LOCAL:
        raise InvalidArgument(
            f"tokens would reach {settings.origin} in the clear.",
            hint="Put a proxy with TLS in front and set `server.public_url` to its https URL.",
        )


def _quotable(text: str) -> str:
    """What may stand in a quoted string of a header."""
    return "".join(char for char in text if " " <= char <= "~" and char not in '"\\')
