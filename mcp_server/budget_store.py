"""Where callers' accounts are kept: files of the home, or PostgreSQL where servers on several machines share them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from indexes.postgres.cells import PostgresCells
from semantic_layer.errors import EngineUnavailable, WellheadError

T = TypeVar("T")
FORGOTTEN_SECONDS = 3_600.0
"""An account that nobody used for so long is as good as new, and its file is removed."""


@dataclass
class Account:
    """What one caller has left. `levels` are (units left, when that was) by limit; `running` leases by their end.

    Moments are in seconds since 1970. A level may be below zero: what a call turns out to cost is owed.
    """

    levels: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    running: dict[str, float] = field(default_factory=dict[str, float])


class BudgetStore(Protocol):
    """Keeps accounts. `change` is atomic among all processes that share the store."""

    def change(self, who: str, step: Callable[[Account], T]) -> T:
        """Run `step` on this caller's account, alone, keep what it changed also where it raises, and return its
        result. Raises EngineUnavailable where accounts cannot be kept."""
        ...


class FileBudgets:
    """One file a caller in `<home>/budgets`, named by a digest of who it is.

    Nothing is synced to disk: after a power cut callers start with full accounts. A file that does not read, such as
    one whose writer was killed, counts as a full account too.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "budgets"

    def change(self, who: str, step: Callable[[Account], T]) -> T:
        path = self._folder / f"{hashlib.sha256(who.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}.json"
        try:
            descriptor = self._opened(path)
        except OSError as error:
            raise EngineUnavailable(
                f"budgets cannot be kept: {error.strerror}.",
                hint="Free space or mend the home's `budgets` folder.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            account = _account(os.pread(descriptor, 1 << 20, 0))
            try:
                return step(account)
            finally:
                text = _json_of(account).encode()
                os.pwrite(descriptor, text, 0)
                os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Nothing is held open."""

    def forget_idle(self) -> None:
        """Remove the files of callers who have been away for FORGOTTEN_SECONDS."""
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                    path.unlink()

    def _opened(self, path: Path) -> int:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


class SharedBudgets:
    """Accounts in PostgreSQL, for the callers of several servers; after a crash of it they are full again."""

    def __init__(self, cells: PostgresCells) -> None:
        self._cells = cells

    def change(self, who: str, step: Callable[[Account], T]) -> T:
        """See BudgetStore."""

        def turn(text: str) -> tuple[str, tuple[T | None, WellheadError | None]]:
            account = _account(text.encode())
            try:
                outcome = step(account), None
            except WellheadError as error:
                outcome = None, error  # what the step changed is kept, so it must not roll back
            return _json_of(account), outcome

        result, refusal = self._cells.change(who, turn)
        if refusal is not None:
            raise refusal
        return cast("T", result)

    def forget_idle(self) -> None:
        """Remove the accounts of callers who have been away for FORGOTTEN_SECONDS; later, where PostgreSQL is down."""
        with contextlib.suppress(EngineUnavailable):
            self._cells.forget(FORGOTTEN_SECONDS)

    def close(self) -> None:
        """Close every connection."""
        self._cells.close()


def _json_of(account: Account) -> str:
    return json.dumps({"levels": account.levels, "running": account.running})


def _account(text: bytes) -> Account:
    try:
        form: dict[str, dict[str, Any]] = json.loads(text)
        levels = {name: (float(level), float(at)) for name, (level, at) in form["levels"].items()}
        return Account(levels, {lease: float(end) for lease, end in form["running"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return Account()
