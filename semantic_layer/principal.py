"""Who asks: a subject with roles and attributes, as an identity provider or a settings file named it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from semantic_layer.errors import Refused

AttributeValue = str | int | bool | tuple[str | int | bool, ...]

PUBLIC = "public"
RESERVED_ATTRIBUTES = ("subject", "tenant")
"""Names that `{principal: …}` takes from the caller itself, so that no attribute may have them."""


@dataclass(frozen=True)
class Principal:
    """A caller. `roles` decide which policy rules apply; `attributes` fill row filters (`{principal: regions}`).

    A missing attribute never widens access: the rule that needs it denies. `tenant` is whom the caller belongs to,
    `purposes` what it acts for; rules may ask for either.
    """

    subject: str
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    client: str = ""
    scopes: frozenset[str] = frozenset()
    tenant: str = ""
    purposes: frozenset[str] = frozenset()

    def value(self, name: str) -> AttributeValue | None:
        """What `{principal: name}` stands for; `subject` and `tenant` are the caller's own. None where missing."""
        match name:
            case "subject":
                return self.subject or None
            case "tenant":
                return self.tenant or None
            case _:
                return self.attributes.get(name)

    def acting_for(self, purpose: str) -> Principal:
        """The caller narrowed to one of its purposes. Raises Refused for a purpose it does not hold."""
        if purpose not in self.purposes:
            raise Refused(
                f"{self.subject} may not act for the purpose {purpose[:100]!r}.",
                rule="purpose",
                hint="Name a purpose that you were granted: " + (", ".join(sorted(self.purposes)) or "none") + ".",
            )
        return replace(self, purposes=frozenset({purpose}))

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Everything about the caller that can change what it is shown, to look up by."""
        attributes = tuple(sorted((name, repr(value)) for name, value in self.attributes.items()))
        return (self.subject, self.client, self.tenant, self.roles, self.scopes, self.purposes, attributes)

    @property
    def anonymous(self) -> bool:
        """Whether the caller showed no credential."""
        return self.subject == ANONYMOUS.subject


ANONYMOUS = Principal(subject="anonymous", roles=frozenset({PUBLIC}), scopes=frozenset({"read"}))
"""The caller without a credential: only the role `public`, no attributes."""
