"""`limits:` of wellhead.yaml: what one caller may use of the server; 0 means without a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from semantic_layer.principal import Principal
from semantic_layer.section import Section

GENEROUS_CALLS = 60_000


@dataclass(frozen=True)
class CallerLimits:
    """Limits of one principal with one client. Those per minute refill steadily and may be used in one burst.

    `reply_tokens` are estimated at four characters each. `scanned_rows` are those that a call would read at most,
    by the counts of the sealed tables, and are counted before it runs.
    """

    calls_per_minute: int = GENEROUS_CALLS
    rows_per_minute: int = 0
    bytes_per_minute: int = 0
    reply_tokens_per_minute: int = 0
    scanned_rows_per_minute: int = 0
    scanned_rows_per_call: int = 0
    concurrent_calls: int = 0


LIMITS = tuple(one.name for one in fields(CallerLimits))
LIMITS_KEYS = (*LIMITS, "roles")


@dataclass(frozen=True)
class LimitSettings(CallerLimits):
    """The limits of every caller, and those of callers with a role. One with several roles has the widest."""

    roles: Mapping[str, CallerLimits] = field(default_factory=dict[str, CallerLimits])

    @property
    def everyone(self) -> CallerLimits:
        """The limits of callers without a role that has its own."""
        return CallerLimits(**{name: getattr(self, name) for name in LIMITS})

    def of(self, principal: Principal) -> CallerLimits:
        """The limits of this caller."""
        held = [self.roles[role] for role in sorted(principal.roles) if role in self.roles]
        if not held:
            return self.everyone
        return CallerLimits(**{name: _widest([getattr(one, name) for one in held]) for name in LIMITS})


def _widest(limits: list[int]) -> int:
    return 0 if 0 in limits else max(limits)


def read_limits(section: Section) -> LimitSettings:
    """The settings of `limits:` (keys LIMITS_KEYS); a role takes over what it does not set itself."""
    everyone = _limits(section, CallerLimits())
    node = section.node_of("roles")
    roles: dict[str, CallerLimits] = {}
    for role, child in (node.mapping or {}).items() if node else ():
        roles[role] = _limits(Section(child, LIMITS, f"the limits of {role!r}", section.problems), everyone)
    if node is not None and node.mapping is None:
        section.wrong("`roles` must be a mapping.", "Write roles: {batch: {calls_per_minute: 600}}.", key="roles")
    return LimitSettings(**asdict(everyone), roles=roles)


def _limits(section: Section, default: CallerLimits) -> CallerLimits:
    return CallerLimits(**{name: section.integer(name, getattr(default, name), low=0) for name in LIMITS})
