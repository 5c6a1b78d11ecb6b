"""The addresses a server listens on."""

from __future__ import annotations

import socket

from semantic_layer.errors import InvalidArgument


def require_free(host: str, port: int) -> None:
    """Raises InvalidArgument where this process cannot listen there, which is told before anything is promised."""
    try:
        for family, kind, protocol, address in _addresses(host, port):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except OSError as error:
        raise InvalidArgument(
            f"nothing can be served on {host}:{port}: {error.strerror or error}.",
            hint="Stop what listens there, or name another address: wellhead serve --http HOST:PORT.",
        ) from None


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Bound sockets on every address of the host, not yet listening, that others of this user may share.

    The system spreads new connections among those who listen (SO_REUSEPORT, socket(7)). Raises OSError.
    """
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, address in _addresses(host, port):
            one = socket.socket(family, kind, protocol)
            found.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # the other family has its own
            one.bind(address)
    except OSError:
        for one in found:
            one.close()
        raise
    return found


def _addresses(host: str, port: int) -> list[tuple[int, int, int, tuple[object, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]
