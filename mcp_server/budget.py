"""What one caller may use of the server: checked before a call runs, settled after it, shared by all workers."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mcp_server.budget_store import Account, BudgetStore
from mcp_server.receipt import Cost
from semantic_layer.errors import LimitExceeded, Refused
from semantic_layer.limit_settings import CallerLimits, LimitSettings
from semantic_layer.principal import Principal

MINUTE = 60.0
CHARACTERS_A_TOKEN = 4
LOTS_A_MINUTE = 600
LOT_SECONDS = 1.0
MOST_LOTS = 10_000
_CALLS, _ROWS, _BYTES, _TOKENS, _SCANNED = "calls", "rows", "bytes", "reply_tokens", "scanned_rows"
_OWED: Mapping[str, str] = MappingProxyType(
    {_ROWS: "rows_per_minute", _BYTES: "bytes_per_minute", _TOKENS: "reply_tokens_per_minute"}
)
"""What is known only after a call: it needs something left to begin, and may end in debt."""


class Budget:
    """The limits of every caller, over one store. Thread-safe; `clock` is the time in seconds since 1970."""

    def __init__(
        self, settings: LimitSettings, store: BudgetStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._lots: dict[str, tuple[int, float]] = {}

    def begin(self, principal: Principal, seconds: float) -> Spending:
        """Count a call that ends within these seconds. Raises LimitExceeded saying when to come back.

        Where only many calls a minute are limited, a process draws them in lots; what is left of one is lost after
        LOT_SECONDS, so that all together never make more calls than the limit, and at most one lot fewer each.
        """
        limits, who = self._settings.of(principal), account_of(principal)
        lot = _lot_of(limits)
        if lot == 0 or (lot > 1 and self._drawn(who)):
            return Spending(self, principal, limits, "")
        lease = secrets.token_hex(8)

        def step(account: Account) -> None:
            now = self._clock()
            running = {one: end for one, end in account.running.items() if end > now}
            account.running = running
            if limits.concurrent_calls and len(running) >= limits.concurrent_calls:
                raise _exceeded("concurrent_calls", limits.concurrent_calls, 1.0)
            for name, setting in _OWED.items():
                _require(account, name, getattr(limits, setting), 0.0, now)
            _take(account, _CALLS, limits.calls_per_minute, float(lot), now)
            if limits.concurrent_calls:
                running[lease] = now + seconds

        self._store.change(who, step)
        if lot > 1:
            self._draw(who, lot - 1)
        return Spending(self, principal, limits, lease)

    def _drawn(self, who: str) -> bool:
        """Whether a call was taken from what this process drew before."""
        with self._lock:
            left, until = self._lots.get(who, (0, 0.0))
            if not left or until < time.monotonic():
                return False
            self._lots[who] = left - 1, until
            return True

    def _draw(self, who: str, calls: int) -> None:
        with self._lock:
            if len(self._lots) >= MOST_LOTS:
                self._lots.clear()
            self._lots[who] = calls, time.monotonic() + LOT_SECONDS

    def scan(self, spending: Spending, rows: int) -> None:
        """Count rows that the call is about to read. Raises Refused past the limit of a call, LimitExceeded."""
        limits = spending.limits
        if limits.scanned_rows_per_call and rows > limits.scanned_rows_per_call:
            raise Refused(
                f"the call would read up to {rows} rows; {limits.scanned_rows_per_call} are allowed.",
                rule="scanned_rows_per_call",
                hint="Name fewer products, metrics or dimensions.",
            )
        if limits.scanned_rows_per_minute:
            self._store.change(
                account_of(spending.principal),
                lambda account: _take(
                    account, _SCANNED, limits.scanned_rows_per_minute, float(rows), self._clock()
                ),
            )

    def end(self, spending: Spending, cost: Cost, reply_characters: int) -> None:
        """Settle what the call has cost."""
        limits = spending.limits
        costs = {
            _ROWS: float(cost.rows),
            _BYTES: float(cost.bytes),
            _TOKENS: math.ceil(reply_characters / CHARACTERS_A_TOKEN),
        }
        owed = {name: costs[name] for name, setting in _OWED.items() if getattr(limits, setting)}
        if not owed and not limits.concurrent_calls:
            return

        def step(account: Account) -> None:
            account.running.pop(spending.lease, None)
            for name, amount in owed.items():
                limit = getattr(limits, _OWED[name])
                now = self._clock()
                account.levels[name] = (_level(account, name, limit, now) - amount, now)

        self._store.change(account_of(spending.principal), step)


@dataclass(frozen=True)
class Spending:
    """One call's account while it runs."""

    budget: Budget
    principal: Principal
    limits: CallerLimits
    lease: str

    def scan(self, rows: int) -> None:
        """As `Budget.scan`."""
        self.budget.scan(self, rows)

    def end(self, cost: Cost, reply_characters: int) -> None:
        """As `Budget.end`."""
        self.budget.end(self, cost, reply_characters)


def _lot_of(limits: CallerLimits) -> int:
    """How many calls are drawn at once; one where anything else is limited too, 0 where nothing is."""
    if limits == CallerLimits(calls_per_minute=limits.calls_per_minute):
        return max(1, limits.calls_per_minute // LOTS_A_MINUTE) if limits.calls_per_minute else 0
    return 1


def account_of(principal: Principal) -> str:
    """Who pays: the principal with its client, whatever token it shows and wherever it calls from."""
    return repr((principal.tenant, principal.subject, principal.client))


def _take(account: Account, name: str, limit: int, amount: float, now: float) -> None:
    """Take an amount out of a bucket that holds a minute's worth. Raises LimitExceeded where too little is left.

    More than a minute's worth at once is taken from a full bucket, as a debt: it could never be had otherwise.
    """
    if not limit:
        return
    _require(account, name, limit, min(amount, float(limit)), now)
    account.levels[name] = (_level(account, name, limit, now) - amount, now)


def _require(account: Account, name: str, limit: int, amount: float, now: float) -> None:
    if limit:
        lacking = max(amount, min(1.0, float(limit))) - _level(account, name, limit, now)
        if lacking > 1e-6:
            raise _exceeded(f"{name}_per_minute", limit, lacking * MINUTE / limit)


def _level(account: Account, name: str, limit: int, now: float) -> float:
    """What is left of a bucket now: it refills steadily; a clock that went back refills nothing."""
    level, at = account.levels.get(name, (float(limit), now))
    return min(float(limit), level + max(0.0, now - at) * limit / MINUTE)


def _exceeded(name: str, limit: int, seconds: float) -> LimitExceeded:
    wait = max(1, math.ceil(seconds))
    return LimitExceeded(
        f"the limit {name} of {limit} is used up.", retry_after=wait, hint=f"Try again in {wait} s."
    )
