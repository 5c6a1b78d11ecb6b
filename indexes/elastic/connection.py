"""A cluster of Elasticsearch as the settings name it; every failure is named, nothing waits past its deadline."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from indexes.cancellation import current_cancellation, require_wanted
from indexes.elastic.breaker import Breaker
from semantic_layer.engine_settings import ElasticsearchSettings
from semantic_layer.environment import filled
from semantic_layer.errors import CorruptGeneration, EngineUnavailable, WellheadError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

T = TypeVar("T")

OLDEST = (8, 13)
"""The first version with everything that is asked of it here (flat vector indices, maximum inner product)."""

LOOK_SECONDS, LOOK_EVERY_SECONDS = 1.0, 2.0
BULK_SECONDS = 60.0
BULK_BYTES = 8 * 2**20
BULK_DOCUMENTS = 1_000
_TRIES = 6
_TRIES_UNREACHED = 3
_FIRST_WAIT = 0.05
_CLIENTS_KEPT = 64
"""Making a client with another timeout or mark costs half a millisecond; the same are asked for again and again."""
CANCEL_SECONDS = 2.0
_JSON = {"accept": "application/json"}
_OVERLOADED = (429, 502, 503, 504)


class _Failed(Exception):
    """A question that was not answered. `passing` says that it may be in a moment, `answered` that a node spoke."""

    def __init__(self, error: WellheadError, *, passing: bool = False, answered: bool = True) -> None:
        super().__init__(error.message)
        self.error = error
        self.passing = passing
        self.answered = answered


class Cluster:
    """One cluster. Thread-safe; the client is made at the first question and checks the server's version.

    `environment` fills `${NAME}` in the credentials.
    """

    def __init__(
        self, settings: ElasticsearchSettings, environment: Mapping[str, str], *, breaker: Breaker | None = None
    ) -> None:
        self.settings = settings
        self.breaker = breaker or Breaker()
        self._environment = environment
        self._lock = threading.Lock()
        self._client: Elasticsearch | None = None
        self._checked = False
        self._timed: dict[tuple[float, str], Elasticsearch] = {}
        self._looking = threading.Lock()
        self._looked, self._seen = -LOOK_EVERY_SECONDS, True

    @property
    def name(self) -> str:
        """How messages call it: its first node's address, and how many more there are."""
        more = len(self.settings.url) - 1
        return f"Elasticsearch at {self.settings.url[0]}" + (f" and {more} more" if more else "")

    def ask(self, call: Callable[[Elasticsearch], T], *, seconds: float | None = None) -> T:
        """What `call` answers. A node that is away or overloaded is asked again, or another one is, for a while.

        Raises EngineUnavailable naming the cluster and the reason, CorruptGeneration for an index that is gone;
        within `seconds` (the settings' timeout by default). After several failures in a row it raises at once,
        until the cluster answers again. Raises Cancelled where the call that asks was cancelled; its search is ended.
        """
        require_wanted(self.name)
        if not self.breaker.admit():
            raise EngineUnavailable(
                f"{self.name} did not answer the last questions and is given a moment.",
                hint="Try again in some seconds; `wellhead doctor` checks it.",
            )
        try:
            with current_cancellation().over(partial(self._end, _mark())):
                answer = self._tried(call, seconds or self.settings.timeout_seconds)
        except _Failed as failure:
            if failure.answered and not failure.passing:
                self.breaker.succeeded()
            else:
                self.breaker.failed()
            require_wanted(self.name)
            raise failure.error from failure.__cause__
        except BaseException:
            self.breaker.failed()  # a probe that ended some other way must not leave the breaker waiting for it
            raise
        self.breaker.succeeded()
        return answer

    def load(self, index: str, documents: Iterable[Mapping[str, Any]]) -> int:
        """Write documents, whose `number` is their id; returns how many. A full queue (429) slows it down.

        Raises EngineUnavailable; what was written by then stays.
        """
        from elasticsearch import helpers

        actions = ({"_index": index, "_id": str(one["number"]), "_source": one} for one in documents)
        written = 0

        def run(client: Elasticsearch) -> None:
            nonlocal written
            found = helpers.streaming_bulk(
                client.options(max_retries=len(self.settings.url) + 1),  # ids make it safe to send twice
                actions,
                chunk_size=BULK_DOCUMENTS,
                max_chunk_bytes=BULK_BYTES,
                max_retries=8,
                initial_backoff=0.2,
                max_backoff=20,
                retry_on_status=_OVERLOADED,
            )
            written += sum(1 for _ in found)

        try:
            self._named(run, BULK_SECONDS)
        except _Failed as failure:
            raise failure.error from failure.__cause__
        return written

    def version(self) -> str:
        """The server's version, asked now. Raises EngineUnavailable where it is too old."""
        answer: Mapping[str, Any] = self.ask(lambda client: client.info().body)
        return self._known_version(answer)

    def answers(self) -> bool:
        """Whether the cluster answers: looked at anew every two seconds, by one short question."""
        with self._looking:
            now = time.monotonic()
            if now - self._looked > LOOK_EVERY_SECONDS:
                try:
                    self.ask(lambda es: es.info(), seconds=LOOK_SECONDS)
                    self._seen = True
                except WellheadError:
                    self._seen = False
                self._looked = time.monotonic()
            return self._seen

    def close(self) -> None:
        """Close the connections; a later question opens them again."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client, self._checked = None, False
                self._timed.clear()

    def _end(self, mark: str) -> None:
        """End the searches that bear this mark, as far as the server lets this user: they are of one cancelled call."""
        from elasticsearch import ApiError, TransportError

        client = self._client
        if client is None:
            return
        asking = client.options(request_timeout=CANCEL_SECONDS)
        with contextlib.suppress(ApiError, TransportError, OSError):
            for node in searches(asking):
                for number, task in node["tasks"].items():
                    if task.get("headers", {}).get("X-Opaque-Id") == mark:
                        asking.perform_request("POST", f"/_tasks/{number}/_cancel", headers=_JSON)

    def _tried(self, call: Callable[[Elasticsearch], T], seconds: float) -> T:
        end = time.monotonic() + seconds
        wait = _FIRST_WAIT
        for attempt in range(1, _TRIES + 1):
            try:
                return self._named(call, seconds if attempt == 1 else max(0.05, end - time.monotonic()))
            except _Failed as failure:
                tries = _TRIES if failure.answered else max(_TRIES_UNREACHED, len(self.settings.url) + 1)
                over = attempt >= tries or time.monotonic() + wait >= end
                if over or not failure.passing or current_cancellation().cancelled:
                    raise
            time.sleep(wait * random.uniform(0.8, 1.2))
            wait *= 2
        raise AssertionError("unreachable")

    def _named(self, call: Callable[[Elasticsearch], T], seconds: float) -> T:
        """The call's answer, each of its requests within `seconds`; or its failure by name."""
        import elasticsearch as es
        from elasticsearch.helpers import BulkIndexError

        try:
            return call(self._connected(seconds))
        except es.UnsupportedProductError as error:
            said = f"what answers at {self.settings.url[0]} is not Elasticsearch."
            raise _Failed(EngineUnavailable(said, hint="Mend elasticsearch.url.")) from error
        except es.ApiError as error:
            raise self._failure(error) from error
        except BulkIndexError as error:
            raise self._not_written(error) from error
        except es.ConnectionTimeout as error:
            said, hint = f"{self.name} did not answer in time.", "It is overloaded or hangs; look at its nodes."
            raise _Failed(EngineUnavailable(said, hint=hint), answered=False) from error
        except es.SSLError as error:
            said, hint = f"{self.name} cannot be trusted: {_reason(error)}.", "Mend elasticsearch.ca_certs."
            raise _Failed(EngineUnavailable(said, hint=hint), answered=False) from error
        except (es.TransportError, OSError) as error:
            said = f"{self.name} cannot be reached: {_reason(error)}."
            hint = "Start it, or mend elasticsearch.url."
            raise _Failed(EngineUnavailable(said, hint=hint), passing=True, answered=False) from error

    def _connected(self, seconds: float) -> Elasticsearch:
        """The client with this timeout, marked as this thread's; of a server whose version was looked at."""
        kind = (seconds, _mark())
        with self._lock:
            client = self._client = self._client or self._made()
            timed = self._timed.get(kind)
            if timed is None:
                timed = client.options(request_timeout=seconds, opaque_id=kind[1])
                if len(self._timed) < _CLIENTS_KEPT:
                    self._timed[kind] = timed
        if not self._checked:
            self._known_version(timed.info().body)
            self._checked = True
        return timed

    def _made(self) -> Elasticsearch:
        from elasticsearch import Elasticsearch

        chosen = self.settings
        options: dict[str, Any] = {}
        if chosen.api_key:
            options["api_key"] = self._secret(chosen.api_key, "api_key")
        elif chosen.username:
            password = self._secret(chosen.password, "password")
            options["basic_auth"] = (self._secret(chosen.username, "username"), password)
        if chosen.ca_certs:
            options["ca_certs"] = chosen.ca_certs
        # Trying again is done here, where the deadline is known.
        return Elasticsearch(
            list(chosen.url), request_timeout=chosen.timeout_seconds, max_retries=0, retry_on_status=(), **options
        )

    def _secret(self, text: str, key: str) -> str:
        return filled(text, self._environment, where=f"elasticsearch.{key}")

    def _known_version(self, info: Mapping[str, Any]) -> str:
        number = str(info["version"]["number"])
        major, minor = (int(part) for part in number.split(".")[:2])
        if (major, minor) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            said = f"{self.name} is version {number}."
            raise _Failed(EngineUnavailable(said, hint=f"Version {wanted} or newer is needed, or 9."))
        return number

    def _failure(self, error: Any) -> _Failed:
        status = int(error.status_code)
        kind, reason = _told(error)
        if kind == "index_not_found_exception":
            said = f"{self.name} has not got an index that was built: {reason}."
            return _Failed(CorruptGeneration(said, hint="Run `wellhead ingest`: it builds the index again."))
        if "cluster_block" in kind:
            said, hint = f"{self.name} takes no more: {reason}.", "Its disk is full: free some space."
            return _Failed(EngineUnavailable(said, hint=hint))
        if status in (401, 403):
            what = "does not know these credentials" if status == 401 else f"does not allow this: {reason}"
            hint = "Mend elasticsearch.api_key, or username and password, or their rights."
            return _Failed(EngineUnavailable(f"{self.name} {what} ({status}).", hint=hint))
        if status in _OVERLOADED:
            said = f"{self.name} is overloaded ({status} {kind})."
            return _Failed(EngineUnavailable(said, hint="Try again later, or give it more nodes."), passing=True)
        said = f"{self.name} refused ({status} {kind}): {reason}."
        return _Failed(EngineUnavailable(said, hint="Its own log says more."))

    def _not_written(self, error: Any) -> _Failed:
        first: Mapping[str, Any] = next(iter(error.errors[0].values()))
        told: Any = first.get("error", {})
        reason = str(told.get("reason", "") if isinstance(told, dict) else told)
        said = f"{self.name} did not take {len(error.errors)} passages ({first.get('status')}): {reason.rstrip('.;')}."
        full = "watermark" in reason
        hint = "Its disk is full: free some space." if full else "Its own log says more; nothing was published."
        return _Failed(EngineUnavailable(said, hint=hint))


def searches(client: Elasticsearch) -> list[Mapping[str, Any]]:
    """The nodes that search at the moment, each with its tasks. The client calls its own method for this a preview."""
    found: Any = client.perform_request("GET", "/_tasks?actions=indices:data/read/search", headers=_JSON).body
    return list(found.get("nodes", {}).values())


def _mark() -> str:
    """What this thread's requests bear, so that those of one call are known: a thread works for one at a time."""
    return f"wellhead-{os.getpid()}-{threading.get_ident()}"


def _told(error: Any) -> tuple[str, str]:
    """The type and reason in an error of the server."""
    body: Any = error.body
    told: Any = body.get("error") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        return "", str(told or error.message)[:200]
    causes: list[Any] = told.get("root_cause") or [told]
    return str(told.get("type", "")), str(causes[0].get("reason") or told.get("reason"))[:300]


def _reason(error: BaseException) -> str:
    """What lies at the bottom of a failed connection."""
    causes = [error, *getattr(error, "errors", ())]
    deepest = next((one for one in reversed(causes) if str(one).strip()), error)
    below = deepest.__cause__ or deepest.__context__
    said = _reason(below) if below is not None and str(below).strip() else str(deepest)
    return said.strip().rstrip(".")[:200] or type(error).__name__
