"""Which sealed generations must stay, and how one that nobody needs is removed without disturbing a reader.

A generation stays while an edition within retention names it, while a process has it open, and while it is younger
than retention is long. Everything else of `generations/` can be removed: under the product's build lock, one rename
at a time, so that a kill leaves a generation whole or gone.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from indexes.durable import fsync_folder
from indexes.generation import MANIFEST, generations_folder
from indexes.hold import alone_with
from indexes.ledger import Edition, Ledger
from semantic_layer.errors import UnknownName
from semantic_layer.retention_settings import RetentionSettings

Fate = Literal["removed", "surplus", "held"]
"""`surplus`: it can be removed. `held`: it could be, but a process has it open; a later look finds it again."""


@dataclass(frozen=True)
class Surplus:
    """A generation that no edition within retention names, what it takes on disk, and what became of it."""

    product: str
    generation: str
    bytes: int
    fate: Fate

    def entry(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def retained_editions(ledger: Ledger, kept: RetentionSettings, now: datetime) -> list[Edition]:
    """The editions within retention, newest first: the newest `editions`, and those that were live since `days` ago."""
    oldest = now - timedelta(days=kept.days)
    found: list[Edition] = []
    for number in range(ledger.latest_edition_number(), 0, -1):
        # An edition was live until the one after it was published.
        if len(found) >= kept.editions and datetime.fromisoformat(found[-1].at) < oldest:
            break
        found.append(ledger.edition(number))
    return found


def retained(editions: Iterable[Edition], product: str) -> frozenset[str]:
    """The product's generations that these editions name."""
    return frozenset(one.products[product] for one in editions if product in one.products)


def surplus(ledger: Ledger, product: str, kept: RetentionSettings, now: datetime) -> list[Surplus]:
    """What of the product's generations can be removed, oldest first; nothing is touched."""
    return [
        Surplus(product, folder.name, size_of(folder), "held" if held(folder) else "surplus")
        for folder in _unneeded(ledger, product, kept, now)
    ]


def collect(ledger: Ledger, product: str, kept: RetentionSettings, now: datetime) -> list[Surplus]:
    """Remove the product's surplus generations; returns what was removed, and what was held and therefore not.

    Use it under the product's build lock. What a kill left behind of an earlier collection is removed too. Raises
    OSError where a folder may not be moved or removed.
    """
    for leftover in _stages(ledger.home).glob(f"{product}@*"):
        shutil.rmtree(leftover)
    found: list[Surplus] = []
    for folder in _unneeded(ledger, product, kept, now):
        size = size_of(folder)
        with contextlib.suppress(UnknownName):
            aside = _moved_aside(ledger, product, folder, kept, now)
            if aside is not None:
                shutil.rmtree(aside)
            found.append(Surplus(product, folder.name, size, "removed" if aside else "held"))
    return found


def held(folder: Path) -> bool:
    """Whether a process has the generation open."""
    with alone_with(folder) as alone:
        return not alone


def size_of(folder: Path) -> int:
    """The bytes of a folder's files; of what is left of them, where it is being removed."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _unneeded(ledger: Ledger, product: str, kept: RetentionSettings, now: datetime) -> list[Path]:
    oldest = (now - timedelta(days=kept.days)).timestamp()
    manifests = generations_folder(ledger.home, product).glob("*/" + MANIFEST)
    sealed = {path.parent: path.stat().st_mtime for path in manifests}
    old = sorted((folder for folder, moment in sealed.items() if moment <= oldest), key=lambda one: sealed[one])
    if not old:
        return []  # without reading a month of editions
    named = retained(retained_editions(ledger, kept, now), product)
    return [folder for folder in old if folder.name not in named]


def _moved_aside(
    ledger: Ledger, product: str, folder: Path, kept: RetentionSettings, now: datetime
) -> Path | None:
    """Where the generation lies now, out of every reader's sight; None where it is held.

    Whoever makes a generation live holds it meanwhile, so the ledger is asked again once nobody does.
    """
    with alone_with(folder) as alone:
        if not alone or folder.name in retained(retained_editions(ledger, kept, now), product):
            return None
        aside = _stages(ledger.home) / f"{product}@{uuid.uuid4().hex}"
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)
        fsync_folder(folder.parent)
        return aside


def _stages(home: Path) -> Path:
    return home / "stages"


def utc_now() -> datetime:
    """The moment that retention is counted from."""
    return datetime.now(UTC)
