"""Reads requests of the stateless era that are a tool call in good order, and nothing but that."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

from mcp.server.connection import Connection
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from mcp_types.methods import validate_client_request
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.types import Message, Receive

METHOD = "tools/call"
MOST_META_CHARACTERS = 2_000
_META = frozenset({PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY})
_ONCE = frozenset(
    {b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"accept", b"content-type", b"content-length"}
)
_MOST_DIGITS = 18
_EITHER = frozenset({"application/json", "text/event-stream"})


class Named(NamedTuple):
    """What the headers of a call name."""

    tool: str
    version: str


@dataclass(frozen=True)
class PlainCall:
    """One call as its request says it."""

    id: str | int
    tool: str
    arguments: Mapping[str, Any]
    client: str
    version: str


def named_in(headers: Iterable[tuple[bytes, bytes]], most_bytes: int) -> Named | None:
    """What the headers name, where each that counts is there once and says what it must; else None."""
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ONCE:
            if name in said:
                return None
            said[name] = value
        elif name.startswith(b"mcp-param-"):
            return None
    if len(said) < len(_ONCE) or said[b"mcp-method"] != METHOD.encode():
        return None
    size, version = said[b"content-length"], said[b"mcp-protocol-version"].decode("latin-1")
    right = (
        said[b"content-type"] == b"application/json"
        and size.isdigit()
        and len(size) <= _MOST_DIGITS
        and int(size) <= most_bytes
        and version in MODERN_PROTOCOL_VERSIONS
        and _takes_both(said[b"accept"])
    )
    return Named(said[b"mcp-name"].decode("latin-1"), version) if right else None


async def read_whole(receive: Receive) -> tuple[deque[Message], bytes | None]:
    """What came in, and the body that it makes; None where the caller hung up before its end."""
    read: deque[Message] = deque()
    while True:
        message = await receive()
        read.append(message)
        if message["type"] != "http.request":
            return read, None
        if not message.get("more_body", False):
            return read, b"".join(one.get("body", b"") for one in read)


def replayed(read: deque[Message], receive: Receive) -> Receive:
    """Receives what was read already, and then what follows."""

    async def again() -> Message:
        return read.popleft() if read else await receive()

    return again


def call_in(body: bytes, named: Named) -> PlainCall | None:
    """The call in a body, of the tool and revision that the headers name; None where it is anything else, or more."""
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match message:
        case {
            "jsonrpc": "2.0",
            "method": "tools/call",
            "id": int() | str() as number,
            "params": {"name": name, "_meta": dict() as meta, **rest},
            **more,
        } if name == named.tool and not more and not isinstance(number, bool):
            pass
        case _:
            return None
    arguments = cast("dict[str, Any]", rest).pop("arguments", {})
    if (
        rest
        or not isinstance(arguments, dict)
        or meta.keys() - _META
        or meta.get(PROTOCOL_VERSION_META_KEY) != named.version
    ):
        return None
    envelope = json.dumps(meta, sort_keys=True)
    client = _client_of(envelope) if len(envelope) <= MOST_META_CHARACTERS else None
    return (
        PlainCall(number, named.tool, cast("dict[str, Any]", arguments), client, named.version)
        if client is not None
        else None
    )


@lru_cache(maxsize=1_000)
def _client_of(envelope: str) -> str | None:
    """What a client calls itself in an envelope, empty where it does not say; None where the SDK must look at it."""
    meta: dict[str, Any] = json.loads(envelope)
    version, capabilities = meta.get(PROTOCOL_VERSION_META_KEY), meta.get(CLIENT_CAPABILITIES_META_KEY)
    if (
        version not in MODERN_PROTOCOL_VERSIONS
        or not isinstance(capabilities, dict)
        or "extensions" in capabilities
    ):
        return None
    try:
        validate_client_request(METHOD, str(version), {"name": "", "_meta": meta})
    except ValidationError:
        return None
    given = Connection.from_envelope(str(version), meta.get(CLIENT_INFO_META_KEY), capabilities).client_params
    return f"{given.client_info.name} {given.client_info.version}" if given else ""


@lru_cache(maxsize=100)
def _takes_both(accept: bytes) -> bool:
    return {part.strip().lower() for part in accept.decode("latin-1").split(",")} >= _EITHER
