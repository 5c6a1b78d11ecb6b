"""Decisions that were made lately: asked at every call, made anew only where something they rest on has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from semantic_layer.policy import Action, Grant, Policy, decide
from semantic_layer.predicate import TRUE
from semantic_layer.principal import Principal
from semantic_layer.product import DataProduct

MOST_KEPT = 5_000


class Governed(Protocol):
    """What holds a product, such as one of its generations."""

    @property
    def product(self) -> DataProduct: ...


Products = Mapping[str, Governed]
Policies = Mapping[str, Policy]


@dataclass(frozen=True)
class Withheld:
    """Whether a grant hides some rows or some columns of its product."""

    rows: bool
    columns: bool


@dataclass(frozen=True)
class _Decided:
    products: Products
    policies: Policies
    revision: int
    grants: dict[str, Grant]
    withheld: dict[str, Withheld]


class Decisions:
    """Grants by caller and action; they count only for the very products and policies that they were decided by.

    Policies that changed are other objects, whatever their revision says, so a right that was revoked is gone with
    them. Thread-safe; once there are `most`, all are forgotten.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: dict[tuple[Action, tuple[object, ...]], _Decided] = {}

    def grants(
        self, principal: Principal, action: Action, products: Products, policies: Policies, revision: int
    ) -> Mapping[str, Grant]:
        """As `decide`, for each of the products."""
        return self._decided(principal, action, products, policies, revision).grants

    def withheld(self, grant: Grant, products: Products, policies: Policies, revision: int) -> Withheld:
        """What a grant hides of its product."""
        kept = self._decided(grant.principal, grant.action, products, policies, revision)
        if kept.grants.get(grant.product) is not grant:  # narrowed since, to one metric for example
            return _withheld(grant, products[grant.product].product)
        found = kept.withheld.get(grant.product)
        if found is None:
            found = kept.withheld[grant.product] = _withheld(grant, products[grant.product].product)
        return found

    def _decided(
        self, principal: Principal, action: Action, products: Products, policies: Policies, revision: int
    ) -> _Decided:
        key = (action, principal.key)
        kept = self._kept.get(key)
        if (
            kept is not None
            and kept.products is products
            and kept.policies is policies
            and kept.revision == revision
        ):
            return kept
        grants = {
            name: decide(principal, one.product, action, policies.get(name), policy_revision=revision)
            for name, one in products.items()
        }
        if len(self._kept) >= self._most:
            self._kept = {}
        kept = self._kept[key] = _Decided(products, policies, revision, grants, {})
        return kept


def sees_every_row(grant: Grant) -> bool:
    """Whether some rule shows all rows of each dataset that the grant speaks of."""
    return all(any(one.rows == TRUE for one in held.allowances) for held in grant.datasets.values())


def _withheld(grant: Grant, product: DataProduct) -> Withheld:
    return Withheld(
        rows=not sees_every_row(grant),
        columns=any(
            not grant.dataset(dataset.name).columns.issuperset(column.name for column in dataset.columns)
            for dataset in product.datasets
        ),
    )
