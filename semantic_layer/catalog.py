"""What one edition offers, by name: products, datasets, columns, metrics, dimensions; and how to find them.

References: `dp://orders`, `dp://orders/lines` (a dataset), `dp://orders/lines/net_cents` (a column),
`metric://orders/net_revenue`, `dim://orders/lines.region`, `query://orders/monthly` (a saved query).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar, get_args

from semantic_layer.catalog_index import LexicalIndex, Weighted
from semantic_layer.errors import InvalidArgument, Problem, UnknownName, close_names
from semantic_layer.metric import Metric, SavedQuery, SemanticModel
from semantic_layer.policy import Grant
from semantic_layer.product import DataProduct, Dataset
from semantic_layer.references import check_references
from semantic_layer.semantics.checks import check_across
from semantic_layer.visibility import Visibility, visibility

Kind = Literal["product", "dataset", "metric", "dimension", "query", "column"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class CatalogEntry:
    """One product as its live generation sealed it."""

    product: DataProduct
    semantics: SemanticModel | None
    generation: str


@dataclass(frozen=True)
class CatalogItem:
    """One thing of the catalogue that a caller may find. `name` is unique within its product and kind."""

    kind: Kind
    ref: str
    product: str
    name: str
    title: str = ""
    description: str = ""
    deprecated: str = ""
    certified: bool = False
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class CatalogHit:
    """An item with how well it fits the question; 0 where none was asked."""

    item: CatalogItem
    score: float


class Catalog:
    """All products of one edition. Built once an edition; every answer is over what a caller may see."""

    def __init__(self, entries: Mapping[str, CatalogEntry]) -> None:
        self.entries = dict(entries)

    @property
    def products(self) -> dict[str, DataProduct]:
        """Each product by name."""
        return {name: entry.product for name, entry in self.entries.items()}

    @property
    def models(self) -> dict[str, SemanticModel]:
        """Each product's semantic model, where it has one."""
        return {name: entry.semantics for name, entry in self.entries.items() if entry.semantics is not None}

    @cached_property
    def items(self) -> tuple[CatalogItem, ...]:
        """Everything there is, products first, then their parts in the order declared."""
        return tuple(item for name, entry in sorted(self.entries.items()) for item in _items(name, entry))

    @cached_property
    def _index(self) -> LexicalIndex:
        return LexicalIndex(_fields(item) for item in self.items)

    def visibility(self, grants: Mapping[str, Grant]) -> Visibility:
        """What exists for the caller whose `discover` grants these are."""
        return visibility(self.products, self.models, grants)

    def visible_items(self, visible: Visibility, kinds: Iterable[Kind] = KINDS) -> Iterator[CatalogItem]:
        """The items that exist for a caller, in the catalogue's order."""
        wanted = frozenset(kinds)
        return (item for item in self.items if item.kind in wanted and _sees(visible, item))

    def search(
        self, query: str, visible: Visibility, kinds: Iterable[Kind] = KINDS, limit: int = 20
    ) -> list[CatalogHit]:
        """The best items for the words asked, best first; without words, all in the catalogue's order.

        Ties go to products before their parts, then by reference. Nothing hidden is found, counted or ranked by.
        """
        wanted = frozenset(kinds)
        if not query.strip():
            return [CatalogHit(item, 0.0) for item in self.visible_items(visible, wanted)][:limit]
        seen = frozenset(number for number, item in enumerate(self.items) if _sees(visible, item))
        scores = self._index.search(query, seen)
        hits = [CatalogHit(self.items[at], score) for at, score in scores.items() if self.items[at].kind in wanted]
        hits.sort(key=lambda hit: (-round(hit.score, 9), KINDS.index(hit.item.kind), hit.item.ref))
        return hits[:limit]

    def names(self, kind: Kind, visible: Visibility) -> list[str]:
        """The names of a kind that exist for a caller, sorted, for suggestions and completions.

        A name that two visible products share stands as `product.name`.
        """
        found = list(self.visible_items(visible, (kind,)))
        counts: dict[str, int] = {}
        for item in found:
            counts[item.name] = counts.get(item.name, 0) + 1
        return sorted({item.name if counts[item.name] == 1 else _qualified(item) for item in found})

    def product(self, asked: str, visible: Visibility) -> CatalogEntry:
        """The product of this name or reference. Raises UnknownName for one that does not exist for the caller."""
        name = asked.removeprefix("dp://")
        if name not in visible.products or name not in self.entries:
            raise UnknownName("product", asked, visible.products)
        return self.entries[name]

    def dataset(self, asked: str, visible: Visibility) -> tuple[CatalogEntry, Dataset]:
        """The dataset of this name, `product.dataset` or reference, with its product."""
        entry, name = self._find("dataset", asked, visible)
        dataset = entry.product.dataset(name)
        return entry, _there(dataset, "dataset", asked)

    def metric(self, asked: str, visible: Visibility) -> tuple[CatalogEntry, Metric]:
        """The metric of this name, `product.name` or reference, with its product.

        Raises UnknownName, and InvalidArgument listing the choices where several visible products have the name.
        """
        entry, name = self._find("metric", asked, visible)
        metric = entry.semantics.metric(name) if entry.semantics else None
        return entry, _there(metric, "metric", asked)

    def saved_query(self, asked: str, visible: Visibility) -> tuple[CatalogEntry, SavedQuery]:
        """The saved query of this name, `product.name` or reference, with its product."""
        entry, name = self._find("query", asked, visible)
        query = entry.semantics.saved_query(name) if entry.semantics else None
        return entry, _there(query, "saved query", asked)

    def item(self, asked: str, visible: Visibility) -> CatalogItem:
        """The item of this reference or name, whatever its kind; a bare name is taken for a product first."""
        items = list(self.visible_items(visible))
        by_ref = [item for item in items if item.ref == asked]
        found = by_ref or [item for item in items if asked in (item.name, _qualified(item))]
        first = [item for item in found if item.kind == found[0].kind]
        known = [item.name for item in items if item.kind != "column"]
        hint = "`discover` lists what there is."
        if not found and "://" in asked:
            # a reference as a whole is near to every other one: its last part is compared, with its own kind's
            alike = [one.name for one in items if _shape(one.ref) == _shape(asked)]
            if near := close_names(asked.rpartition("/")[2], alike, 1):
                hint = f"Did you mean {near[0]!r}? {hint}"
            known = []
        return self._only(first, asked, "name", known, hint=hint)

    def problems(self) -> list[Problem]:
        """What does not hold in the whole catalogue: names that lead to nothing, metrics that share a name."""
        files = {name: f"{entry.product.folder}/contract.yaml" for name, entry in self.entries.items()}
        found = [*check_references(self.products, files), *check_across(self.models, self.products)]
        for name, model in self.models.items():
            seen: set[str] = set()
            for metric in model.metrics:
                if metric.name in seen:
                    message = f"two metrics of {name!r} are named {metric.name!r}."
                    found.append(Problem(model.file, metric.line, message, "Rename one."))
                seen.add(metric.name)
        return sorted(set(found))

    def _find(self, kind: Kind, asked: str, visible: Visibility) -> tuple[CatalogEntry, str]:
        items = list(self.visible_items(visible, (kind,)))
        found = [item for item in items if asked in (item.ref, item.name, _qualified(item))]
        item = self._only(found, asked, "saved query" if kind == "query" else kind, self.names(kind, visible))
        return self.entries[item.product], item.name

    def _only(
        self, found: list[CatalogItem], asked: str, kind: str, known: Iterable[str], *, hint: str = ""
    ) -> CatalogItem:
        if not found:
            raise UnknownName(kind, asked, known, hint=hint)
        if len(found) > 1:
            choices = ", ".join(sorted(_qualified(item) for item in found))
            raise InvalidArgument(f"{kind} {asked!r} is in several products.", hint=f"Say which: {choices}.")
        return found[0]


def _there(found: _Found | None, kind: str, asked: str) -> _Found:
    if found is None:
        raise UnknownName(kind, asked)
    return found


def _shape(ref: str) -> tuple[str, int]:
    """A reference's scheme and depth, which tell what kind of thing it names."""
    scheme, _, path = ref.partition("://")
    return scheme, path.count("/")


def _qualified(item: CatalogItem) -> str:
    return item.name if item.kind == "product" else f"{item.product}.{item.name}"


def _sees(visible: Visibility, item: CatalogItem) -> bool:
    own = (item.product, item.name)
    match item.kind:
        case "product":
            return item.product in visible.products
        case "dataset":
            return own in visible.datasets
        case "column":
            dataset, _, column = item.name.partition(".")
            return (item.product, dataset, column) in visible.columns
        case "metric":
            return own in visible.metrics
        case "dimension":
            return own in visible.dimensions
        case "query":
            return own in visible.saved_queries


def _items(name: str, entry: CatalogEntry) -> Iterator[CatalogItem]:
    product = entry.product
    about = " ".join(part for part in (product.purpose, product.usage) if part)
    yield CatalogItem(
        "product", f"dp://{name}", name, name, product.title, about, synonyms=(*product.synonyms, product.domain)
    )
    for dataset in product.datasets:
        yield CatalogItem(
            "dataset",
            f"dp://{name}/{dataset.name}",
            name,
            dataset.name,
            dataset.title,
            dataset.description,
            dataset.deprecated,
            synonyms=dataset.synonyms,
        )
    if entry.semantics is not None:
        yield from _semantic_items(name, entry.semantics)
    for dataset in product.datasets:
        for column in dataset.columns:
            yield CatalogItem(
                "column",
                f"dp://{name}/{dataset.name}/{column.name}",
                name,
                f"{dataset.name}.{column.name}",
                column.title,
                column.description,
                synonyms=column.synonyms,
            )


def _semantic_items(name: str, model: SemanticModel) -> Iterator[CatalogItem]:
    for metric in model.metrics:
        yield CatalogItem(
            "metric",
            f"metric://{name}/{metric.name}",
            name,
            metric.name,
            metric.label,
            metric.description,
            certified=metric.certified,
            synonyms=metric.synonyms,
        )
    for dataset in model.datasets:
        for dimension in dataset.dimensions:
            full = f"{dataset.name}.{dimension.name}"
            yield CatalogItem(
                "dimension",
                f"dim://{name}/{full}",
                name,
                full,
                dimension.label,
                dimension.description,
                synonyms=dimension.synonyms,
            )
    for query in model.saved_queries:
        yield CatalogItem("query", f"query://{name}/{query.name}", name, query.name, "", query.description)


def _fields(item: CatalogItem) -> Weighted:
    own_name = item.name.rpartition(".")[2]
    around = item.name.rpartition(".")[0]
    context = (around, item.product) if item.kind != "product" else ()
    return (
        (4.0, (own_name,)),
        (3.0, (item.title, *item.synonyms)),
        (1.0, (item.description,)),
        (0.5, context),
    )
