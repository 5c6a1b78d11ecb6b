"""Which generation of each product is live, and by which policy: the only mutable facts, append-only.

Four numbered logs: editions (product → generation), policy revisions, tombstones and certifications. An entry is
appended as the next number or not at all (compare-and-swap), flushed before it is visible: in files by exclusive
creation, in PostgreSQL by a unique key (indexes/postgres/ledger.py). Only generations are part of an edition: a
rollback moves data, never rights or certificates, and never raises the erased.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from indexes.durable import create_exclusively, json_bytes, read_json
from semantic_layer.certification import Certificate, Certificates
from semantic_layer.errors import CorruptGeneration, EditionConflict, InvalidArgument, UnknownName
from semantic_layer.predicate import FALSE, TRUE, In, IsNull, Not, Predicate, all_of, any_of, bind
from semantic_layer.product import DataProduct

FORMAT = 1
FOLDER = "ledger"
LOGS = ("editions", "policies", "tombstones", "certifications")
MOVED = "moved.json"
"""The file that says that PostgreSQL has taken the logs over."""

T = TypeVar("T")


class Log(Protocol):
    """Immutable entries numbered 1, 2, 3 …; the highest number is the newest."""

    def latest(self) -> int:
        """The newest number, 0 when the log is empty; cheap enough for every call."""
        ...

    def read(self, number: int) -> dict[str, Any]:
        """One entry. Raises UnknownName when it does not exist, CorruptGeneration when it does not parse."""
        ...

    def append(self, after: int, entry: Mapping[str, Any]) -> int:
        """Append the entry as number `after + 1`. Raises EditionConflict where that number is already taken."""
        ...


class Logs(Protocol):
    """Where the logs of a ledger are kept."""

    def log(self, name: str) -> Log:
        """The log of this name, one of LOGS."""
        ...

    def wait(self, seconds: float) -> None:
        """Return as soon as something was appended, as far as this place can tell, and after `seconds` at last."""
        ...

    def close(self) -> None: ...


class FileLogs:
    """The logs of a home, as a folder each. Where PostgreSQL has taken them over, they are read no more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, name: str) -> NumberedLog:
        """See Logs. Raises InvalidArgument where the ledger of this home lies in PostgreSQL."""
        if (self.folder / MOVED).exists():
            raise InvalidArgument(
                f"the ledger of {self.folder.parent} was moved to PostgreSQL; its files tell the past.",
                hint=f"Set `ledger: postgres`; or, to go back to this past for good, remove {self.folder / MOVED}.",
            )
        return NumberedLog(self.folder / name)

    def wait(self, seconds: float) -> None:
        """Files tell nobody: it takes all of the `seconds`."""
        time.sleep(seconds)

    def close(self) -> None:
        """Nothing is held open."""


class NumberedLog:
    """Immutable JSON files 0000000001.json, 0000000002.json … in one folder; the highest number is the newest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last = 0
        self._next = self._path(1)
        self._listed = False

    def latest(self) -> int:
        """The newest number, 0 when the log is empty. Costs one failed lookup when nothing was appended."""
        if not self._listed:
            if not self.folder.is_dir():
                return 0
            numbers = [int(path.stem) for path in self.folder.glob("[0-9]*.json")]
            self._last = max(numbers, default=0)
            self._next = self._path(self._last + 1)
            self._listed = True
        while (following := self._next).exists():  # threads may look at once
            self._last = int(following.stem)
            self._next = self._path(self._last + 1)
        return self._last

    def read(self, number: int) -> dict[str, Any]:
        """One entry. Raises UnknownName when it does not exist, CorruptGeneration when it does not parse."""
        path = self._path(number)
        if not path.exists():
            raise UnknownName(self.folder.name.rstrip("s"), str(number), hint=f"The newest is {self.latest()}.")
        entry = read_json(path, FORMAT)
        if entry.get("number") != number:
            raise CorruptGeneration(f"{path} says it is number {entry.get('number')}.")
        return entry

    def append(self, after: int, entry: Mapping[str, Any]) -> int:
        """Append the entry as number `after + 1`. Raises EditionConflict where that number is already taken."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = after + 1
        numbered = {**entry, "format": FORMAT, "number": number}
        if self.latest() != after or not create_exclusively(self._path(number), json_bytes(numbered)):
            raise EditionConflict(
                f"{self.folder.name} moved past {after} meanwhile.", hint="Read the newest and try again."
            )
        return number

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:010d}.json"


@dataclass(frozen=True)
class Edition:
    """One consistent cut over all products: which generation of each is live."""

    number: int
    products: Mapping[str, str]
    action: str
    at: str
    by: str
    note: str = ""


@dataclass(frozen=True)
class PolicyRevision:
    """The policies of all products, newest wins. `documents` holds each product's policy in JSON form."""

    number: int
    documents: Mapping[str, Any]
    at: str = ""
    by: str = ""


@dataclass(frozen=True)
class Tombstone:
    """Erased subjects: rows and chunks of `dataset` whose `column` holds one of `values` no longer exist."""

    product: str
    dataset: str
    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Tombstones:
    """Every tombstone up to `number`; each reader excludes them, whatever the edition."""

    number: int = 0
    entries: tuple[Tombstone, ...] = ()

    def excluding(self, product: DataProduct, dataset: str) -> Predicate:
        """The rows that still exist: TRUE where nothing was erased.

        FALSE where the sealed dataset lacks the erased column: what cannot be checked is not shown.
        """
        found = [entry for entry in self.entries if (entry.product, entry.dataset) == (product.name, dataset)]
        declared = product.dataset(dataset)
        columns = {column.name: column for column in declared.columns} if declared else {}
        return all_of(*(self._kept(entry, columns) for entry in found)) if found else TRUE

    @staticmethod
    def _kept(entry: Tombstone, columns: Mapping[str, Any]) -> Predicate:
        if entry.column not in columns:
            return FALSE
        return bind(any_of(IsNull(entry.column), Not(In(entry.column, entry.values))), columns)


EMPTY = Edition(0, {}, "empty", "", "")


class Ledger:
    """The ledger of one home: in its files, or in the `logs` that are handed in. Safe under concurrent publishers
    and kills; thread-safe.
    """

    def __init__(self, home: Path, logs: Logs | None = None) -> None:
        self.home = home
        self._logs = logs or FileLogs(home / FOLDER)
        self._editions, self._policies, self._tombstones, self._certifications = (
            self._logs.log(name) for name in LOGS
        )
        self._cached_policies = PolicyRevision(0, {})
        self._cached_tombstones = Tombstones()
        self._cached_certificates = Certificates()

    def edition(self, number: int | None = None) -> Edition:
        """The newest edition, or the one of that number; edition 0 is empty."""
        wanted = self._editions.latest() if number is None else number
        return _edition(self._editions.read(wanted)) if wanted else EMPTY

    def latest_edition_number(self) -> int:
        """The newest edition's number; cheap enough for every call."""
        return self._editions.latest()

    def editions(self, limit: int = 50) -> list[Edition]:
        """The newest editions, newest first."""
        newest = self._editions.latest()
        return [self.edition(number) for number in range(newest, max(0, newest - limit), -1)]

    def publish(
        self, base: Edition, changes: Mapping[str, str | None], *, action: str, by: str, note: str = ""
    ) -> Edition:
        """Append the edition that follows `base` with these products changed (None removes one).

        Raises EditionConflict where another edition was appended after `base`; nothing is changed then.
        """
        products = {**base.products, **{name: one for name, one in changes.items() if one is not None}}
        for name in [name for name, one in changes.items() if one is None]:
            products.pop(name, None)
        entry = {"products": products, "action": action, "at": _now(), "by": by, "note": note}
        return self.edition(self._editions.append(base.number, entry))

    def policies(self) -> PolicyRevision:
        """The newest policy revision, which decides every call."""
        newest = self._policies.latest()
        if newest != self._cached_policies.number:
            entry = self._policies.read(newest)
            self._cached_policies = PolicyRevision(newest, entry["products"], entry["at"], entry["by"])
        return self._cached_policies

    def publish_policies(self, documents: Mapping[str, Any], *, by: str) -> PolicyRevision:
        """Make these products' policies the newest; unchanged ones append nothing."""

        def step() -> PolicyRevision:
            current = self.policies()
            merged = {**current.documents, **documents}
            if merged != dict(current.documents):
                self._policies.append(current.number, {"products": merged, "at": _now(), "by": by})
            return self.policies()

        return retry_on_conflict(step)

    def tombstones(self) -> Tombstones:
        """Every tombstone, whatever the edition."""
        newest = self._tombstones.latest()
        known = self._cached_tombstones
        if newest != known.number:
            added = tuple(_tombstone(self._tombstones.read(n)) for n in range(known.number + 1, newest + 1))
            self._cached_tombstones = Tombstones(newest, known.entries + added)
        return self._cached_tombstones

    def bury(self, tombstone: Tombstone, *, by: str, reason: str = "") -> int:
        """Append a tombstone; every reader honours it from its next call."""

        def step() -> int:
            entry = {
                "product": tombstone.product,
                "dataset": tombstone.dataset,
                "column": tombstone.column,
                "values": list(tombstone.values),
                "at": _now(),
                "by": by,
                "reason": reason,
            }
            return self._tombstones.append(self._tombstones.latest(), entry)

        return retry_on_conflict(step)

    def certificates(self) -> Certificates:
        """Every certificate of a metric, whatever the edition."""
        newest = self._certifications.latest()
        known = self._cached_certificates
        if newest != known.number:
            added = tuple(_certificate(self._certifications.read(n)) for n in range(known.number + 1, newest + 1))
            self._cached_certificates = Certificates(newest, known.entries + added)
        return self._cached_certificates

    def certify(self, certificate: Certificate) -> Certificate:
        """Append a certificate, or its withdrawal; every reader honours it from its next call. Says when it was."""
        dated = replace(certificate, at=_now())

        def step() -> Certificate:
            self._certifications.append(self._certifications.latest(), asdict(dated))
            return dated

        return retry_on_conflict(step)

    def wait(self, seconds: float) -> None:
        """Return as soon as a new entry is heard of, and after `seconds` at last."""
        self._logs.wait(seconds)

    def close(self) -> None:
        """Release connections; the ledger is not used afterwards."""
        self._logs.close()


def retry_on_conflict(step: Callable[[], T], attempts: int = 50) -> T:
    """Run a compare-and-swap step again while others win; the last conflict is raised."""
    for attempt in range(attempts):
        try:
            return step()
        except EditionConflict:
            if attempt == attempts - 1:
                raise
            time.sleep(0.002 * (attempt + 1))
    raise AssertionError("unreachable")


def _edition(entry: Mapping[str, Any]) -> Edition:
    return Edition(
        entry["number"], dict(entry["products"]), entry["action"], entry["at"], entry["by"], entry.get("note", "")
    )


def _certificate(entry: Mapping[str, Any]) -> Certificate:
    return Certificate(**{one.name: entry[one.name] for one in fields(Certificate)})


def _tombstone(entry: Mapping[str, Any]) -> Tombstone:
    return Tombstone(entry["product"], entry["dataset"], entry["column"], tuple(entry["values"]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
