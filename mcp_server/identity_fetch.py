"""Asks an issuer over HTTPS: only at addresses from `wellhead.yaml` or the issuer's own metadata, never a token's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2

from semantic_layer.errors import EngineUnavailable

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024
_LOCAL = ("localhost", "127.0.0.1", "::1")


class IssuerClient:
    """Requests to issuers, one connection pool for all. Follows no redirect and reads at most MAX_BYTES."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def get(self, url: str) -> Mapping[str, Any]:
        """The JSON object at this address. Raises EngineUnavailable naming the host."""
        return await self._object("GET", url)

    async def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str]) -> Mapping[str, Any]:
        """The JSON object that answers a form, sent with HTTP Basic credentials. Raises EngineUnavailable."""
        return await self._object("POST", url, data=dict(form), auth=httpx2.BasicAuth(*credentials))

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _object(self, method: str, url: str, **more: Any) -> Mapping[str, Any]:
        require_safe(url)
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, headers={"Accept": "application/json"})
        body = bytearray()
        try:
            async with self._client.stream(method, url, **more) as response:
                if response.status_code != 200:
                    raise unreachable(url, f"it answered {response.status_code}")
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise unreachable(url, "its answer is too large")
            data: Any = json.loads(body)
        except httpx2.HTTPError as error:
            raise unreachable(url, type(error).__name__) from None
        except ValueError:
            raise unreachable(url, "its answer is not JSON") from None
        if not isinstance(data, dict):
            raise unreachable(url, "its answer is not an object")
        return cast("dict[str, Any]", data)


def require_safe(url: str) -> None:
    """Raises EngineUnavailable for an address that is neither https nor on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise unreachable(url, "its address is not https")


def unreachable(url: str, why: str) -> EngineUnavailable:
    """What a caller hears where an issuer cannot be asked: its host, never what was sent."""
    return EngineUnavailable(
        f"the issuer at {urlsplit(url).hostname} cannot be asked: {why}.",
        hint="No token can be checked until it answers; try again.",
    )
