"""Nested documents out of a server that speaks MongoDB's protocol. The only home of pymongo."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from indexes.cancellation import current_cancellation
from indexes.document_store import (
    CONNECT_SECONDS,
    MOST_DOCUMENTS,
    Deadline,
    StoredDocument,
    place_of,
    server_url,
    too_many,
)
from semantic_layer.environment import filled
from semantic_layer.errors import Cancelled, EngineUnavailable, InvalidArgument, SourceFailed, WellheadError
from semantic_layer.json_path import path_of, root_of, steps_of
from semantic_layer.predicate import And, Compare, In, Predicate
from semantic_layer.product import Column, ColumnType, Dataset, Server

PORT = 27017
DOCUMENTS_AT_ONCE = 1_000
READ_SECONDS = 30.0
"""How long one batch of an ingest may take."""

_REFUSED = frozenset({13, 18})
"""MongoDB's error codes Unauthorized and AuthenticationFailed."""

_LONGEST_INTEGER = 18
"""Digits of a whole number that BSON certainly holds."""


class MongoStore:
    """A `DocumentStore` over one database. A dataset's `physicalName` is its collection.

    An ObjectId or UUID is a string, a Decimal128 a decimal, a date a moment in UTC. What JSON has no type for
    (binary data, code, regular expressions …) is refused where a declared column holds it.
    """

    def __init__(self, url: str, database: str) -> None:
        self._url = url
        self._database = database
        self._lock = threading.Lock()
        self._made: Any = None

    @classmethod
    def of(cls, server: Server, environment: Mapping[str, str]) -> MongoStore:
        """The store of a contract's server, with its `database`, or the one in the URL."""
        url = server_url(server, environment, scheme="mongodb", port=PORT)
        named = filled(str(server.options.get("database", "")), environment, where=f"server {server.name!r}")
        database = named or urlsplit(url).path.strip("/")
        if not database:
            raise InvalidArgument(f"server {server.name!r} names no database.", hint="Add `database:` to it.")
        return cls(url, database)

    @property
    def name(self) -> str:
        """See DocumentStore."""
        return f"MongoDB ({place_of(self._url).partition('/')[0]}/{self._database})"

    def require(self, dataset: Dataset) -> None:
        """See DocumentStore; a collection can hold every record."""

    def documents(self, dataset: Dataset) -> Iterator[StoredDocument]:
        """See DocumentStore; in the order of `_id`."""
        with self._named(None):
            found = self._collection(dataset).find({}, batch_size=DOCUMENTS_AT_ONCE)
            for document in found.sort("_id", 1):
                yield self._stored(dataset, document)

    def candidates(self, dataset: Dataset, where: Predicate, deadline: Deadline) -> Iterator[StoredDocument]:
        """See DocumentStore. Equality with strings and integers is asked of the server, which may have an index.

        Where the call is cancelled, the server is told to stop; one without sessions works until the deadline.
        """
        query = narrowed(where, {column.name: column for column in dataset.columns})
        with self._named(deadline):
            try:
                found = self._found(dataset, query, deadline)
            except _driver().errors.AutoReconnect as error:
                if error.timeout:
                    raise
                found = self._found(dataset, query, deadline)  # the server had restarted: connected anew
        if len(found) > MOST_DOCUMENTS:
            raise too_many(dataset)
        for document in found:
            yield self._stored(dataset, document)

    def facts(self) -> tuple[str, datetime | None]:
        """See DocumentStore."""
        with self._named(None), _driver().timeout(CONNECT_SECONDS):
            admin = self._client().admin
            version = str(admin.command("buildInfo")["version"])
            return version, admin.command("isMaster").get("localTime")

    def count(self, dataset: Dataset) -> int:
        """How many documents the collection holds by its own count; needs the right to read it."""
        with self._named(None):
            return int(self._collection(dataset).estimated_document_count())

    def close(self) -> None:
        """See DocumentStore."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _client(self) -> Any:
        """The one pool. An operation waits READ_SECONDS, or as long as the `timeout` says that it runs in."""
        pymongo = _driver()
        connecting = int(CONNECT_SECONDS * 1000)
        with self._lock:
            if self._made is None:
                try:
                    self._made = pymongo.MongoClient(
                        self._url,
                        appname="wellhead",
                        serverSelectionTimeoutMS=connecting,
                        connectTimeoutMS=connecting,
                        socketTimeoutMS=int(READ_SECONDS * 1000),
                        retryReads=False,
                        tz_aware=True,
                        uuidRepresentation="standard",
                    )
                except (pymongo.errors.PyMongoError, ValueError) as error:
                    raise InvalidArgument(
                        f"the URL of {self.name} cannot be read: {_said(error)}.",
                        hint="Write mongodb://user:password@host:27017/database.",
                    ) from error
            return self._made

    def _collection(self, dataset: Dataset) -> Any:
        return self._client()[self._database][dataset.physical_name or dataset.name]

    def _found(self, dataset: Dataset, query: Mapping[str, Any], deadline: Deadline) -> list[Mapping[str, Any]]:
        """What the query finds within the deadline, which the server is told of (`maxTimeMS`)."""
        with _driver().timeout(deadline.left()), self._stoppable() as session:
            return list(self._collection(dataset).find(query, limit=MOST_DOCUMENTS + 1, session=session))

    @contextlib.contextmanager
    def _stoppable(self) -> Generator[Any]:
        """A session, whose operations the server ends when the call is cancelled; None where it has no sessions."""
        client, driver = self._client(), _driver()
        if not client.topology_description.has_readable_server():
            client.admin.command("ping")  # only then is known what the server can do
        if client.topology_description.logical_session_timeout_minutes is None:
            with current_cancellation().over(lambda: None):
                yield None
            return
        with client.start_session() as session:
            session_id = session.session_id

            def stop() -> None:
                with contextlib.suppress(driver.errors.PyMongoError), driver.timeout(CONNECT_SECONDS):
                    client.admin.command("killSessions", [session_id])

            with current_cancellation().over(stop):
                yield session

    def _stored(self, dataset: Dataset, document: Mapping[str, Any]) -> StoredDocument:
        """The document with what the declared columns are read from; the rest of it may hold anything."""
        roots = {root_of(path_of(column)): column.name for column in dataset.columns}
        body: dict[str, Any] = {}
        for root, value in document.items():
            try:
                body[root] = plain(value) if root in roots else None
            except TypeError as error:
                raise SourceFailed(
                    f"{self.name}: {root!r} of the document {document['_id']} of {dataset.name!r} holds {error}.",
                    hint=f"JSON has no such type: leave the column {roots[root]!r} out of the contract.",
                ) from error
        return StoredDocument(f"{type(document['_id']).__name__} {document['_id']}", body)

    @contextlib.contextmanager
    def _named(self, deadline: Deadline | None) -> Generator[None]:
        """The driver's errors as ours, naming the server."""
        try:
            yield
        except _driver().errors.PyMongoError as error:
            raise self._failure(error, deadline) from error

    def _failure(self, error: Any, deadline: Deadline | None) -> WellheadError:
        errors = _driver().errors
        if current_cancellation().cancelled:
            return Cancelled(f"reading {self.name} was cancelled.", hint="Ask again.")
        if getattr(error, "code", None) in _REFUSED:
            return EngineUnavailable(
                f"{self.name} refuses: {_said(error)}.",
                hint="Mend user and password in the environment variable, and the roles of that user.",
            )
        if deadline is not None and error.timeout and not isinstance(error, errors.ServerSelectionTimeoutError):
            return deadline.exceeded()
        if isinstance(error, errors.ConnectionFailure):
            return EngineUnavailable(
                f"{self.name} does not answer: {_said(error)}.",
                hint="Start it, or mend the contract's server and the environment variable it names.",
            )
        return SourceFailed(f"{self.name} cannot be read: {_said(error)}.", hint="Check the collection's name.")


def plain(value: Any) -> Any:
    """A BSON value as JSON has it, with moments and decimals. Raises TypeError that says what it is instead."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [plain(inner) for inner in cast("list[Any]", value)]
    if kind == "Int64":
        return int(value)
    if kind in ("ObjectId", "UUID"):
        return str(value)
    if kind == "Decimal128":
        return value.to_decimal()
    if value is None or isinstance(value, (str, bool, int, float, datetime)):
        return value
    raise TypeError(f"a value of type {kind}")


def narrowed(where: Predicate, columns: Mapping[str, Column]) -> dict[str, Any]:
    """A MongoDB filter that every document passes whose row makes `where` TRUE; `{}` passes all.

    Only equality with strings and integers is asked, in each form that a document may store them in: a number as
    text must be without leading zeros. A path through an array (`[*]`) matches any element, in MongoDB too.
    """
    asked: list[dict[str, Any]] = []
    for part in where.parts if isinstance(where, And) else (where,):
        values: tuple[Any, ...] = ()
        if isinstance(part, Compare) and part.operator == "eq":
            values = (part.value,)
        elif isinstance(part, In):
            values = part.values
        column = columns.get(part.field) if isinstance(part, (Compare, In)) else None
        field = _dotted(column) if column is not None else ""
        forms = [_forms(value) for value in values]
        if field and forms and all(forms):
            asked.append({field: {"$in": [form for one in forms for form in one]}})
    return {"$and": asked} if asked else {}


def _dotted(column: Column) -> str:
    """The column's path in MongoDB's words; empty where equality cannot be asked of it."""
    kind = (column.items or ColumnType.STRING) if column.type is ColumnType.ARRAY else column.type
    steps = steps_of(column.name, path_of(column))
    names = [step for step in steps if step is not None]
    spelt = all("." not in name and not name.startswith("$") and not name.isdecimal() for name in names)
    asked = kind in (ColumnType.STRING, ColumnType.INTEGER) and spelt and steps.count(None) <= 1
    return ".".join(names) if asked else ""


def _forms(value: Any) -> list[Any]:
    """Every form in which a document may store what its contract reads as this value; none where that is unsure."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value, str(value)]
    if not isinstance(value, str):
        return []
    from bson import ObjectId

    forms: list[Any] = [value]
    if ObjectId.is_valid(value):
        forms.append(ObjectId(value))
    with contextlib.suppress(ValueError):
        forms.append(UUID(value))
    if value.removeprefix("-").isdecimal() and len(value) <= _LONGEST_INTEGER and str(int(value)) == value:
        forms.append(int(value))
    # A decimal or a date is read as text too, in more than one form.
    return forms if len(forms) > 1 or (not value[:1].isdecimal() and value[:1] != "-") else []


def _driver() -> Any:
    """The library, which is an extra."""
    try:
        import pymongo
    except ImportError as error:
        raise EngineUnavailable(
            "a server of type mongodb needs the library pymongo, which is not installed.",
            hint="Install the extra: pip install 'wellhead[mongodb]'.",
        ) from error
    return pymongo


def _said(error: Exception) -> str:
    """The driver's own words on one line, without topology and a final full stop."""
    return (" ".join(str(error).split(", Timeout:")[0].split()) or type(error).__name__).removesuffix(".")
