"""A server's clock beside this machine's: freshness, tokens and time filters are judged by both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ingest.diagnose.finding import Finding

SLACK = timedelta(minutes=1)


def clock_of(check: str, name: str, theirs: datetime) -> Finding:
    """How far the clock of the server called `name` is from ours; `theirs` is aware, read just now."""
    apart = theirs - datetime.now(UTC)
    if abs(apart) <= SLACK:
        return Finding(check, "ok", f"{name}'s clock agrees with this machine's")
    direction = "ahead of" if apart > timedelta() else "behind"
    said = f"{name}'s clock is {abs(apart).total_seconds():,.0f} s {direction} this machine's."
    return Finding(check, "warn", said, "Set both clocks (NTP): freshness and time filters are judged by them.")
