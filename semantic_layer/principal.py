"""Who asks: a subject with roles and attributes, as an identity provider or a settings file named it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

AttributeValue = str | int | bool | tuple[str | int | bool, ...]

PUBLIC = "public"


@dataclass(frozen=True)
class Principal:
    """A caller. `roles` decide which policy rules apply; `attributes` fill row filters (`{principal: regions}`).

    A missing attribute never widens access: the rule that needs it denies.
    """

    subject: str
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    client: str = ""
    scopes: frozenset[str] = frozenset()

    @property
    def anonymous(self) -> bool:
        """Whether the caller showed no credential."""
        return self.subject == ANONYMOUS.subject


ANONYMOUS = Principal(subject="anonymous", roles=frozenset({PUBLIC}), scopes=frozenset({"read"}))
"""The caller without a credential: only the role `public`, no attributes."""
