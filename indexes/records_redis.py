"""JSON documents and hashes out of Redis, found by the pattern of their keys. The only home of redis."""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from indexes.cancellation import require_wanted
from indexes.document_store import (
    CONNECT_SECONDS,
    MOST_DOCUMENTS,
    Deadline,
    StoredDocument,
    keys_wanted,
    place_of,
    server_url,
    too_many,
)
from semantic_layer.errors import EngineUnavailable, InvalidArgument, SourceFailed
from semantic_layer.json_path import path_of, root_of, steps_of
from semantic_layer.predicate import Predicate
from semantic_layer.product import Column, ColumnType, Dataset, Server

PORT = 6379
KEYS_AT_ONCE = 500
TIMEOUT_STEP = 0.5
"""Timeouts are rounded up to it: calls whose deadlines are nearly alike share connections. Seconds."""
READ_SECONDS = 30.0
"""How long one command of an ingest may take."""

_KEY_TYPES = frozenset({ColumnType.STRING, ColumnType.INTEGER})
_READS: Mapping[str, tuple[str, ...]] = {
    "string": ("GET", "{}"),
    "hash": ("HGETALL", "{}"),
    "ReJSON-RL": ("JSON.GET", "{}", "$"),
}
"""How each type of Redis that can hold a document is read; the last is of the JSON module (Redis 8, Stack)."""


@dataclass(frozen=True)
class KeyPattern:
    """The keys of a dataset: each `*` stands for one key column's value, as in `product:*` or `order:*:line:*`."""

    text: str

    @classmethod
    def of(cls, dataset: Dataset) -> KeyPattern:
        """The dataset's hint `path`, else `<physical name>:*`."""
        return cls(dataset.path or f"{dataset.physical_name or dataset.name}:*")

    @property
    def count(self) -> int:
        """How many values the pattern holds."""
        return self.text.count("*")

    @property
    def match(self) -> str:
        """The pattern for SCAN, in which only `*` is special."""
        return re.sub(r"([?\[\]\\])", r"\\\1", self.text)

    def key(self, values: Sequence[Any]) -> str:
        """The key of these values."""
        first, *rest = self.text.split("*")
        return first + "".join(f"{value}{part}" for value, part in zip(values, rest, strict=True))

    def values(self, key: str) -> tuple[str, ...]:
        """The values in a key that matches."""
        found = re.fullmatch("(.*?)".join(map(re.escape, self.text.split("*"))), key, re.DOTALL)
        return found.groups() if found else ()


class RedisStore:
    """A `DocumentStore` over one Redis: strings of JSON, hashes, and values of the JSON module.

    A dataset's keys follow its `KeyPattern`; the key columns are read from them. A hash is one level of text, whose
    fields are parsed as JSON where a column is an object, an array or a path into one; an empty one is NULL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._clients: dict[float, Any] = {}

    @classmethod
    def of(cls, server: Server, environment: Mapping[str, str]) -> RedisStore:
        """The store of a contract's server; see `server_url`."""
        return cls(server_url(server, environment, scheme="redis", port=PORT))

    @property
    def name(self) -> str:
        """See DocumentStore."""
        return f"Redis ({place_of(self._url)})"

    def require(self, dataset: Dataset) -> None:
        """See DocumentStore: the key columns are strings or integers at the top of a document, one for each `*`."""
        pattern = KeyPattern.of(dataset)
        keyed = [column for column in dataset.columns if column.name in dataset.key]
        if pattern.count != len(keyed) or not keyed:
            raise InvalidArgument(
                f"dataset {dataset.name!r}: its key pattern {pattern.text!r} has {pattern.count} times `*`, and its "
                f"primary key {len(keyed)} columns.",
                hint='Set the hint path, such as "product:*", with one `*` for each key column.',
            )
        for column in keyed:
            if column.type not in _KEY_TYPES or len(steps_of(column.name, path_of(column))) != 1:
                raise InvalidArgument(
                    f"dataset {dataset.name!r}: the key column {column.name!r} is read from the Redis key.",
                    hint="Declare it as a string or an integer at the top of the document.",
                )

    def documents(self, dataset: Dataset) -> Iterator[StoredDocument]:
        """See DocumentStore."""
        self.require(dataset)
        client = self._client(READ_SECONDS)
        with self._named(None):
            for keys in _batches(client, KeyPattern.of(dataset)):
                yield from self._read(client, dataset, keys)

    def candidates(self, dataset: Dataset, where: Predicate, deadline: Deadline) -> Iterator[StoredDocument]:
        """See DocumentStore. Without a key in `where` the whole pattern is scanned: Redis has no other index.

        A call that was cancelled ends before its next command; the server works for one of them at most, on a batch.
        """
        self.require(dataset)
        require_wanted(self.name)
        client = self._client(deadline.seconds)
        pattern = KeyPattern.of(dataset)
        wanted = keys_wanted(where, dataset.key)
        with self._named(deadline):
            if wanted is not None:
                yield from self._read(client, dataset, [pattern.key(values) for values in wanted])
                return
            seen: set[str] = set()
            for keys in _batches(client, pattern):
                require_wanted(self.name)
                deadline.left()
                fresh = [key for key in dict.fromkeys(keys) if key not in seen]
                seen.update(fresh)
                if len(seen) > MOST_DOCUMENTS:
                    raise too_many(dataset)
                yield from self._read(client, dataset, fresh)

    def facts(self) -> tuple[str, datetime | None]:
        """See DocumentStore."""
        client = self._client(CONNECT_SECONDS)
        with self._named(None):
            info = client.info("server")
            seconds, microseconds = client.time()
        return str(info["redis_version"]), datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)

    def count(self, dataset: Dataset) -> int:
        """How many keys follow the dataset's pattern."""
        client = self._client(READ_SECONDS)
        with self._named(None):
            return len({key for keys in _batches(client, KeyPattern.of(dataset)) for key in keys})

    def close(self) -> None:
        """See DocumentStore."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _client(self, seconds: float) -> Any:
        """A pool whose commands wait so long. One that lost its connection connects once more before it fails."""
        redis = _driver()
        seconds = math.ceil(seconds / TIMEOUT_STEP) * TIMEOUT_STEP
        with self._lock:
            if seconds not in self._clients:
                try:
                    self._clients[seconds] = redis.Redis.from_url(
                        self._url,
                        socket_timeout=seconds,
                        socket_connect_timeout=min(seconds, CONNECT_SECONDS),
                        retry=redis.retry.Retry(redis.backoff.NoBackoff(), 1, (redis.ConnectionError,)),
                        client_name="wellhead",
                    )
                except ValueError as error:
                    raise InvalidArgument(
                        f"the URL of {self.name} cannot be read: {error}.",
                        hint="Write redis://user:password@host:6379/0, or rediss:// for TLS.",
                    ) from error
            return self._clients[seconds]

    def _read(self, client: Any, dataset: Dataset, keys: Sequence[str]) -> Iterator[StoredDocument]:
        """The documents of these keys, in their order; one that is gone is left out."""
        kinds = _at_once(client, [("TYPE", key) for key in keys])
        held = [(key, kind.decode()) for key, kind in zip(keys, kinds, strict=True) if kind != b"none"]
        for key, kind in held:
            if kind not in _READS:
                raise SourceFailed(
                    f"{self.name}: the key {key!r} of {dataset.name!r} is a {kind}, which holds no document.",
                    hint="A document is a string of JSON, a hash, or a value of the JSON module.",
                )
        commands = [tuple(key if part == "{}" else part for part in _READS[kind]) for key, kind in held]
        for (key, kind), value in zip(held, _at_once(client, commands), strict=True):
            if value:
                body = self._body(dataset, key, kind, value)
                yield StoredDocument(key, self._with_key(dataset, key, body))

    def _body(self, dataset: Dataset, key: str, kind: str, value: Any) -> dict[str, Any]:
        try:
            if kind == "hash":
                fields = value if isinstance(value, dict) else dict(zip(value[::2], value[1::2], strict=True))
                return _fields(dataset, {name.decode(): text.decode() for name, text in fields.items()})
            body = json.loads(value.decode(), parse_float=Decimal)
            body = body[0] if kind == "ReJSON-RL" else body
        except ValueError as error:
            raise SourceFailed(
                f"{self.name}: the value of {key!r} is not valid JSON in UTF-8 ({error}).",
                hint=f"Mend it, or keep it out of the pattern {KeyPattern.of(dataset).text!r}.",
            ) from error
        if not isinstance(body, dict):
            raise SourceFailed(
                f"{self.name}: the value of {key!r} is JSON, but no object.", hint="A document is a JSON object."
            )
        return body

    def _with_key(self, dataset: Dataset, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the key columns that only the key tells. Where both do, they must agree."""
        columns = {column.name: column for column in dataset.columns}
        for name, text in zip(dataset.key, KeyPattern.of(dataset).values(key), strict=True):
            root = root_of(path_of(columns[name]))
            held = body.get(root)
            if (held is not None and str(held) != text) or not _canonical(columns[name], text):
                said = f"holds {root!r} {held!r}" if held is not None else f"gives {name!r} as {text!r}"
                raise SourceFailed(
                    f"{self.name}: the document of {key!r} {said}, which is not what its key says.",
                    hint="Key and document must agree, and an integer stands in its key without leading zeros.",
                )
            body[root] = text if held is None else held
        return body

    @contextlib.contextmanager
    def _named(self, deadline: Deadline | None) -> Generator[None]:
        """The driver's errors as ours, naming the server."""
        exceptions = _driver().exceptions
        try:
            yield
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise EngineUnavailable(
                f"{self.name} refuses: {_said(error)}.",
                hint="Mend user and password in the environment variable, and the rights of that user (ACL).",
            ) from error
        except exceptions.TimeoutError as error:
            if deadline is not None:
                raise deadline.exceeded() from error
            raise self._unavailable(error) from error
        except exceptions.ConnectionError as error:
            raise self._unavailable(error) from error
        except exceptions.RedisError as error:
            raise SourceFailed(
                f"{self.name} cannot be read: {_said(error)}.", hint="A single server is read, not a cluster."
            ) from error

    def _unavailable(self, error: Exception) -> EngineUnavailable:
        return EngineUnavailable(
            f"{self.name} does not answer: {_said(error)}.",
            hint="Start it, or mend the contract's server and the environment variable it names.",
        )


def _driver() -> Any:
    """The library, which is an extra; its own types speak of sync and async clients at once."""
    try:
        import redis
    except ImportError as error:
        raise EngineUnavailable(
            "a server of type redis needs the library redis, which is not installed.",
            hint="Install the extra: pip install 'wellhead[redis]'.",
        ) from error
    return redis


def _batches(client: Any, pattern: KeyPattern) -> Iterator[list[str]]:
    """The keys that match, in batches; SCAN may give one twice."""
    cursor = 0
    while True:
        cursor, found = client.scan(cursor, match=pattern.match, count=KEYS_AT_ONCE)
        yield [_text(key) for key in found]
        if cursor == 0:
            return


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise SourceFailed(f"the Redis key {key!r} is not UTF-8.", hint="Keep it out of the pattern.") from error


def _at_once(client: Any, commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """The replies to these commands, sent together."""
    if not commands:
        return []
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return pipeline.execute()


def _fields(dataset: Dataset, fields: Mapping[str, str]) -> dict[str, Any]:
    """A hash as a document: text, and JSON where a column needs more than text of it."""
    nested = {root_of(path_of(column)) for column in dataset.columns if _needs_json(column)}
    return {
        name: None if text == "" else json.loads(text, parse_float=Decimal) if name in nested else text
        for name, text in fields.items()
    }


def _needs_json(column: Column) -> bool:
    deep = len(steps_of(column.name, path_of(column))) > 1
    return deep or column.type in (ColumnType.OBJECT, ColumnType.ARRAY)


def _canonical(column: Column, text: str) -> bool:
    """Whether a lookup of the value builds this very key again."""
    return column.type is not ColumnType.INTEGER or (text.lstrip("-").isdecimal() and str(int(text)) == text)


def _said(error: Exception) -> str:
    """The driver's own words on one line, without a final full stop."""
    return (" ".join(str(error).split()) or type(error).__name__).removesuffix(".")
