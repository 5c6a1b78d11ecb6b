"""What a name in a semantic file stands for: a field of a dataset, or a physical column of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.metric import Relationship, quoted
from semantic_layer.product import Column, DataProduct, Dataset
from semantic_layer.sql.expressions import Scalar


@dataclass
class DatasetNames:
    """One semantic dataset while its file is read: its table (None in another product) and fields so far."""

    name: str
    product: str
    table: str
    contract: Dataset | None
    fields: dict[str, Scalar] = field(default_factory=dict[str, Scalar])

    def column(self, name: str) -> Column | None:
        """The physical column of that name, whatever its case; None where the table has none or is not known."""
        if self.contract is None:
            return None
        exact = self.contract.column(name)
        folded = name.casefold()
        return exact or next((one for one in self.contract.columns if one.name.casefold() == folded), None)

    def physical(self, name: str) -> Scalar:
        """A physical column as an expression. Raises UnknownName where the known table has no such column."""
        found = self.column(name)
        if found is None and self.contract is not None:
            raise UnknownName(f"column of {self.name}", name, [one.name for one in self.contract.columns])
        kept = found.name if found else name
        return Scalar(quoted(self.name, kept), frozenset({(self.name, kept)}), found.type if found else None)

    def value(self, name: str) -> Scalar:
        """A field of that name, or else a physical column. Raises UnknownName with both kinds as suggestions."""
        if name in self.fields:
            return self.fields[name]
        if self.contract is not None and self.column(name) is None:
            known = [*self.fields, *(one.name for one in self.contract.columns)]
            raise UnknownName(f"field of {self.name}", name, known)
        return self.physical(name)


@dataclass
class Names:
    """All datasets of one file. `aliases` are other names of datasets (a join's, or `source`), `metrics` how a
    formula may name a metric besides its own name."""

    datasets: dict[str, DatasetNames] = field(default_factory=dict[str, DatasetNames])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    metrics: dict[str, str] = field(default_factory=dict[str, str])

    def named(self, parts: Sequence[str]) -> DatasetNames | None:
        """The dataset that the qualifiers of a name mean, or None."""
        name = ".".join(parts)
        return self.datasets.get(self.aliases.get(name, name))

    def metric(self, name: str, home: str = "") -> str:
        """The metric that a formula names; a bare name is first one of `home`."""
        return self.metrics.get(f"{home}.{name}", self.metrics.get(name, name))

    def in_row(self, dataset: str, parts: Sequence[str]) -> Scalar:
        """A name in a field's own expression: a physical column of its dataset, qualified or not, or else a field
        declared before."""
        own = self.datasets[dataset]
        if len(parts) > 1 and parts[-2] != own.table and self.named(parts[:-1]) is not own:
            raise InvalidArgument(
                f"{'.'.join(parts)!r} is no column of {dataset!r}.",
                hint="A field reads its own dataset; use a metric to join others.",
            )
        if parts[-1] in own.fields and (own.contract is None or own.column(parts[-1]) is None):
            return own.fields[parts[-1]]
        return own.physical(parts[-1])

    def canonical(self, parts: Sequence[str]) -> Scalar:
        """A name in canonical SQL: a dataset and a physical column of it, never a field."""
        name = ".".join(parts[:-1])
        return (self.datasets.get(name) or elsewhere(name)).physical(parts[-1])

    def in_metric(self, parts: Sequence[str], home: str = "") -> Scalar:
        """A name inside an aggregate: `dataset.field`, a field that only one dataset has, or a column of
        `product.dataset`. A bare name is a field or column of `home` where that has one."""
        if len(parts) > 1:
            name = ".".join(parts[:-1])
            found = self.named(parts[:-1])
            if found is None and len(parts) == 2:
                raise UnknownName("dataset", name, self.datasets)
            return (found or elsewhere(name)).value(parts[-1])
        owners = [one for one in self.datasets.values() if parts[0] in one.fields or one.column(parts[0])]
        own = self.datasets.get(home)
        if own is not None and (own in owners or own.contract is None):
            return own.value(parts[0])
        if len(owners) > 1:
            choices = ", ".join(f"{one.name}.{parts[0]}" for one in owners)
            raise InvalidArgument(
                f"{parts[0]!r} could be a field of several datasets.", hint=f"Write one of {choices}."
            )
        if not owners and own is not None:
            return own.value(parts[0])
        if not owners:
            raise UnknownName("field", parts[0], [name for one in self.datasets.values() for name in one.fields])
        return owners[0].value(parts[0])


def elsewhere(name: str) -> DatasetNames:
    """A dataset of another product: its columns are known only where both products are."""
    product, _, table = name.partition(".")
    return DatasetNames(name, product, table, None)


def base_of(datasets: Sequence[str], relationships: Sequence[Relationship]) -> str | None:
    """The one dataset whose rows reach all the others through many-to-one relationships; None where none does."""
    onward: dict[str, set[str]] = {}
    for relationship in relationships:
        onward.setdefault(relationship.from_dataset, set()).add(relationship.to_dataset)
    for candidate in datasets:
        reached, waiting = {candidate}, [candidate]
        while waiting:
            for target in onward.get(waiting.pop(), set()) - reached:
                reached.add(target)
                waiting.append(target)
        if set(datasets) <= reached:
            return candidate
    return None


def source_of(source: str, product: DataProduct) -> tuple[str, str]:
    """The (product, table) that a source names: `dataset`, `product.dataset`, or a warehouse's three parts.

    Warehouses fold names to one case, so a table that has no dataset of exactly its name is looked for in any case.
    """
    names = {name: one.name for one in product.datasets for name in (one.physical_name, one.name) if name}
    if source in names:
        return product.name, names[source]
    parts = source.split(".")
    owner = parts[0] if len(parts) == 2 else product.name
    folded = {name.casefold(): table for name, table in names.items()} if owner == product.name else {}
    return owner, folded.get(parts[-1].casefold(), parts[-1])
