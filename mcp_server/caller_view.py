"""What one caller sees of an edition, to tell whether it changed: the names it may discover, and the state of some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from indexes.library import Snapshot
from mcp_server.references import DOC, parse_text_reference
from semantic_layer.errors import WellheadError
from semantic_layer.policy import Action, Grant
from semantic_layer.principal import Principal
from semantic_layer.visibility import Visibility

Mark = tuple[int, int, int, int]
"""Numbers of the edition, the policy revision, the erasures and the certificates: while they stand, nothing changes."""


@dataclass(frozen=True)
class CallerView:
    """Two views are compared; nothing in one is ever shown. `states` are None of what does not exist for the caller."""

    mark: Mark
    names: Visibility
    states: Mapping[str, tuple[Any, ...] | None]

    def changed(self, before: CallerView) -> list[str]:
        """The resources that were watched before and whose state is another."""
        return [uri for uri, state in self.states.items() if uri in before.states and state != before.states[uri]]


def mark_of(snapshot: Snapshot, certificates: int) -> Mark:
    """What a view of this snapshot would be marked with."""
    return snapshot.edition.number, snapshot.policy_revision, snapshot.tombstones.number, certificates


def caller_view(snapshot: Snapshot, certificates: int, principal: Principal, uris: Iterable[str]) -> CallerView:
    """The view of one caller, who watches these resources. Names decide as they do for `describe` and `fetch`."""
    grants = snapshot.grants(principal, Action.DISCOVER)
    seen = {name: grant for name, grant in grants.items() if grant.allowed}
    names = snapshot.catalog.visibility(seen)
    states: dict[str, tuple[Any, ...] | None] = {}
    for uri in uris:
        product = _product(snapshot, names, uri)
        states[uri] = _state(snapshot, principal, product) if product in seen else None
    return CallerView(mark_of(snapshot, certificates), names, states)


def _product(snapshot: Snapshot, names: Visibility, uri: str) -> str:
    """The product whose part a resource is; empty where nothing of that name exists for the caller."""
    try:
        if uri.startswith(DOC):
            return parse_text_reference(uri).product
        return snapshot.catalog.item(uri, names).product
    except WellheadError:
        return ""


def _state(snapshot: Snapshot, principal: Principal, product: str) -> tuple[Any, ...]:
    """What an answer about the product stands on: its generation, its erasures, and what the caller may do with it."""
    generation = snapshot.generations[product]
    erased = [one for one in snapshot.tombstones.entries if one.product == product]
    granted = [_timeless(snapshot.grant(principal, product, action)) for action in Action]
    return generation.id, generation.semantics, len(erased), granted


def _timeless(grant: Grant) -> Grant:
    """The grant without the number of the revision, which counts those of every product."""
    return replace(grant, policy_revision=0)
