"""A server of nested JSON documents: what each kind promises, read whole at ingest and by key while serving."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any, Protocol
from urllib.parse import urlsplit

from semantic_layer.environment import filled
from semantic_layer.errors import DeadlineExceeded, InvalidArgument
from semantic_layer.predicate import And, Compare, In, Predicate
from semantic_layer.product import Dataset, Server

CONNECT_SECONDS = 5.0
MOST_DOCUMENTS = 10_000
"""No live lookup reads more documents than these; one that would is told to ask by key."""
MOST_KEYS = 1_000


@dataclass(frozen=True)
class StoredDocument:
    """One document as its server holds it: `key` is unique there, `body` has JSON's types, and moments."""

    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Deadline:
    """When a live read must have ended; `name` is the server that it reads."""

    name: str
    seconds: float
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """The seconds that are left. Raises DeadlineExceeded where none are."""
        rest = self.started + self.seconds - time.monotonic()
        if rest <= 0:
            raise self.exceeded()
        return rest

    def exceeded(self) -> DeadlineExceeded:
        """The error of a read that took too long."""
        return DeadlineExceeded(
            f"{self.name} did not answer within {self.seconds:g} s.", hint="Ask by key, or for fewer documents."
        )


class DocumentStore(Protocol):
    """Reads one server. Thread-safe. Every method raises EngineUnavailable by name for a server that is down."""

    @property
    def name(self) -> str:
        """What a user knows the server as: its kind, host, port and database; no password."""
        ...

    def require(self, dataset: Dataset) -> None:
        """Raise InvalidArgument where the contract asks for what this kind of server cannot hold."""
        ...

    def documents(self, dataset: Dataset) -> Iterator[StoredDocument]:
        """Every document of the dataset, in any order; one that changes meanwhile may come twice.

        Raises SourceFailed naming the document that cannot be read.
        """
        ...

    def candidates(self, dataset: Dataset, where: Predicate, deadline: Deadline) -> Iterator[StoredDocument]:
        """Documents among which all are that make `where` TRUE; by key, only those of the keys.

        Raises DeadlineExceeded, and InvalidArgument where more than MOST_DOCUMENTS would have to be read.
        """
        ...

    def facts(self) -> tuple[str, datetime | None]:
        """The server's version and its clock, aware; None where it does not tell the time."""
        ...

    def count(self, dataset: Dataset) -> int:
        """How many documents the dataset has about now; needs the right to read them."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


def server_url(server: Server, environment: Mapping[str, str], *, scheme: str, port: int) -> str:
    """The URL of a contract's server: its hint `dsn`, else its host, port and database, `${NAME}` filled in.

    Raises InvalidArgument where a variable is not set or the server names neither.
    """
    where = f"server {server.name!r}"
    given = {key: filled(str(value), environment, where=where) for key, value in server.options.items()}
    if given.get("dsn"):
        return given["dsn"]
    if not given.get("host"):
        raise InvalidArgument(
            f"{where} names no host.", hint='Give it host, port and database, or the hint dsn: "${NAME}".'
        )
    return f"{scheme}://{given['host']}:{given.get('port') or port}/{given.get('database', '')}"


def place_of(url: str) -> str:
    """Where a URL points to, without user, password and options: `host:port/database`."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")


def keys_wanted(where: Predicate, key: tuple[str, ...]) -> list[tuple[Any, ...]] | None:
    """The values of the key columns, one tuple a row, outside of which `where` is TRUE nowhere.

    None where it does not say so by equality for each, or for more than MOST_KEYS of them.
    """
    parts = where.parts if isinstance(where, And) else (where,)
    wanted: dict[str, tuple[Any, ...]] = {}
    for part in parts:
        if isinstance(part, Compare) and part.operator == "eq":
            wanted.setdefault(part.field, (part.value,))
        elif isinstance(part, In):
            wanted.setdefault(part.field, part.values)
    if not key or any(name not in wanted for name in key):
        return None
    found = list(product(*(dict.fromkeys(wanted[name]) for name in key)))
    return found if len(found) <= MOST_KEYS else None


def too_many(dataset: Dataset) -> InvalidArgument:
    """The error of a lookup that would read more than MOST_DOCUMENTS."""
    return InvalidArgument(
        f"this lookup would read more than {MOST_DOCUMENTS:,} documents of {dataset.name!r}.",
        hint=f"Ask by key: {', '.join(dataset.key)}.",
    )
