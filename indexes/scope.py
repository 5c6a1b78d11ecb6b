"""What of each product a question may search: its own filter AND the grant AND what was erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexes.filtering import AllowedCache
from indexes.library import LiveGeneration, Snapshot
from indexes.ports import Allowed
from indexes.visibility import visible_chunks
from semantic_layer.errors import InvalidFilter, UnknownName
from semantic_layer.policy import DatasetGrant, Grant, Grants
from semantic_layer.predicate import FALSE, TRUE, Predicate, all_of, bind, fields_of
from semantic_layer.product import Column, Dataset


@dataclass(frozen=True)
class Scope:
    """One product's part of a search. `allowed` is None where every chunk may be found.

    `where` holds, for each dataset that may be searched, what a chunk's own row must make TRUE. `limited` says
    that a grant's rows, not only the question's filter, leave some out.
    """

    generation: LiveGeneration
    grant: Grant
    where: Mapping[str, Predicate]
    allowed: Allowed | None
    limited: bool

    @property
    def empty(self) -> bool:
        """Whether nothing may be found."""
        return self.allowed is not None and not len(self.allowed.numbers)


@dataclass(frozen=True)
class _Candidate:
    """A dataset with searchable text that the caller may search, and the columns they may filter it by."""

    generation: LiveGeneration
    grant: Grant
    dataset: Dataset
    granted: DatasetGrant

    @property
    def columns(self) -> dict[str, Column]:
        return {
            column.name: column
            for column in self.dataset.columns
            if column.filterable and column.scalar and not column.is_text and column.name in self.granted.columns
        }


def scopes(
    snapshot: Snapshot,
    products: Sequence[str],
    datasets: Sequence[str],
    where: Predicate,
    grants: Grants,
    cache: AllowedCache,
) -> list[Scope]:
    """The products' scopes, in the order given; without `products` all that the grants allow anything of.

    A dataset that lacks a column of the filter drops out, as long as another has them all. Raises UnknownName
    for a product, dataset or column that does not exist for the caller, InvalidFilter for a value that does
    not fit or columns that no dataset has together, Refused where nothing is granted.
    """
    asked = _granted(snapshot, products, grants)
    candidates = _candidates(snapshot, asked, datasets)
    if candidates:
        _check_fields(where, candidates)
    return [
        _scope(snapshot, snapshot.generations[grant.product], grant, where, candidates, cache) for grant in asked
    ]


def _granted(snapshot: Snapshot, products: Sequence[str], grants: Grants) -> list[Grant]:
    for product in products:
        if product not in grants or product not in snapshot.generations:
            raise UnknownName("product", product, grants)
    if products:
        return [grants[product].require() for product in dict.fromkeys(products)]
    live = [grant for product, grant in grants.items() if product in snapshot.generations]
    return [grant for grant in live if grant.allowed] or [grant.require() for grant in live]


def _candidates(snapshot: Snapshot, grants: Sequence[Grant], names: Sequence[str]) -> list[_Candidate]:
    found = [
        _Candidate(snapshot.generations[grant.product], grant, dataset, grant.dataset(dataset.name))
        for grant in grants
        for dataset in snapshot.generations[grant.product].product.datasets
        if grant.dataset(dataset.name).allowances
    ]
    known = {candidate.dataset.name for candidate in found}
    for name in names:
        if name not in known:
            raise UnknownName("dataset", name, known)
    return [
        candidate
        for candidate in found
        if (candidate.dataset.kind == "document" or candidate.dataset.text_columns)
        and (not names or candidate.dataset.name in names)
    ]


def _check_fields(where: Predicate, candidates: Sequence[_Candidate]) -> None:
    fields = fields_of(where)
    known = {name for candidate in candidates for name in candidate.columns}
    for name in sorted(fields):
        if name not in known:
            raise UnknownName("column", name, known, hint="`describe` lists a dataset's columns.")
    if not any(fields <= candidate.columns.keys() for candidate in candidates):
        raise InvalidFilter(
            f"no dataset has all of the columns {', '.join(sorted(fields))}.",
            hint="Filter each dataset in a search of its own; `describe` lists its columns.",
        )


def _scope(
    snapshot: Snapshot,
    generation: LiveGeneration,
    grant: Grant,
    where: Predicate,
    candidates: Sequence[_Candidate],
    cache: AllowedCache,
) -> Scope:
    fields = fields_of(where)
    predicates: dict[str, Predicate] = {}
    limited = False
    for candidate in candidates:
        if candidate.generation is not generation or not fields <= candidate.columns.keys():
            continue
        dataset = candidate.dataset
        rows = visible_chunks(dataset, candidate.granted, fields)
        erased = snapshot.tombstones.excluding(generation.product, dataset.name)
        limited = limited or rows != TRUE
        predicate = all_of(rows, bind(where, candidate.columns), erased)
        if predicate != FALSE:
            predicates[dataset.name] = predicate
    return Scope(generation, grant, predicates, _allowed(generation, predicates, cache), limited)


def _allowed(generation: LiveGeneration, where: Mapping[str, Predicate], cache: AllowedCache) -> Allowed | None:
    """The chunks that may be found; None where that is all of them."""
    allowed = cache.allowed(generation.folder, generation.id, generation.tables, where)
    return None if len(allowed.numbers) == allowed.total else allowed
