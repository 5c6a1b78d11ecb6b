"""The governed reads of one part: which rows of each joined table count for this caller, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

from semantic_layer.errors import Refused
from semantic_layer.metric import TimeSpine
from semantic_layer.plan.leaves import Leaf
from semantic_layer.plan.plan import Source
from semantic_layer.plan.world import Path, Place, World
from semantic_layer.predicate import FALSE, TRUE


@dataclass
class Reading:
    """One dataset on one way, while a part is built. `used` columns are grouped, filtered or computed with.

    `shown` says that its values decide the groups of the answer.
    """

    path: Path
    place: Place
    alias: str
    used: set[str] = field(default_factory=set[str])
    shown: bool = False


@dataclass
class Readings:
    """Every dataset that a part reads, the base first. Columns used with the caller's rights narrow the rows."""

    world: World
    leaf: Leaf
    found: dict[tuple[str, ...], Reading] = field(default_factory=dict[tuple[str, ...], Reading])

    def at(self, path: Path) -> Reading:
        """The reading at the end of a way, joined with everything before it."""
        key = tuple(part for step in path for part in (step.relationship.name, step.end.dataset.name))
        if key not in self.found:
            if path:
                self.at(path[:-1])
            self.found[key] = self._new(path, path[-1].end if path else self.leaf.base)
        return self.found[key]

    def spine(self, spine: TimeSpine, purpose: str) -> Reading:
        """A further reading of a time spine, apart from all others; `purpose` tells it from them."""
        key = ("", purpose)
        if key not in self.found:
            self.found[key] = self._new((), self.world.spine_place(spine))
        return self.found[key]

    def _new(self, path: Path, place: Place) -> Reading:
        taken = {reading.alias for reading in self.found.values()}
        wanted = place.dataset.name.replace(".", "_")
        alias, number = wanted, 2
        while alias in taken:
            alias, number = f"{wanted}_{number}", number + 1
        return Reading(path, place, alias)

    @property
    def joined(self) -> list[Reading]:
        """The base and all that is joined along relationships, in that order."""
        return [reading for key, reading in self.found.items() if not key or key[0]]

    def restricting(self) -> None:
        """Join what the grant withholds rows of, so that facts of a forbidden dimension row can be dropped."""
        fanned = [reading.path for reading in self.joined if reading.path and reading.path[-1].many]
        starts: list[Path] = [(), *fanned]
        for start in starts:
            for way in self.world.onward(start[-1].end if start else self.leaf.base):
                if way and self._withholds(way[-1].end):
                    self.at((*start, *way))

    def _withholds(self, place: Place) -> bool:
        product = place.dataset.product
        if product not in self.world.products:
            return False
        grant = self.world.grants.get(product)
        if grant is None or not grant.dataset(place.dataset.table).allowances:
            raise Refused(
                f"the rows of {self.leaf.metric!r} belong to data that is not granted to you.",
                rule="restricts_facts",
                hint="Ask the owner for the rows behind it; `describe` names the owner.",
            )
        return grant.restricts_facts and grant.dataset(place.dataset.table).access().rows != TRUE

    def source(self, reading: Reading) -> Source:
        """The read itself, with only the rows that one rule allows for all used columns. Raises Refused."""
        place = reading.place
        product, table = place.table
        columns = self.world.columns(place)
        access = self.world.dataset_grant(place).access(used=reading.used)
        if access.rows == FALSE:
            raise self._uncovered(reading)
        grant = self.world.grants[product]
        return Source(
            alias=reading.alias,
            dataset=place.dataset.name,
            product=product,
            table=table,
            rows=access.rows,
            keep=self.world.keep(product, table),
            forbids=bool(reading.path) and grant.restricts_facts and access.rows != TRUE,
            columns=columns,
        )

    def _uncovered(self, reading: Reading) -> Refused:
        names = ", ".join(sorted(reading.used))
        dataset = reading.place.dataset.name
        if not self.world.dataset_grant(reading.place).allowances:
            said = f"{self.leaf.metric!r} reads data that is not granted to you."
            return Refused(said, rule="not_granted", hint="Ask the product's owner for access.")
        if reading.used <= self.world.dataset_grant(reading.place).columns:
            said = f"no rule shows you {names} of {dataset!r} together."
            return Refused(said, rule="policy_overlap", hint="Ask for fewer of them at a time.")
        return Refused(
            f"the metric {self.leaf.metric!r} is not certified and reads columns that are withheld from you.",
            rule="uncertified_metric",
            hint="Ask its owner to certify it; a certified metric runs with its owner's column rights.",
        )

    def minimum(self, also: Reading) -> int:
        """How many rows a group must have, by the strictest of the products whose rows or groups are shown."""
        shown = [self.at(()), also, *(one for one in self.found.values() if one.shown)]
        return max(self.world.grants[one.place.dataset.product].minimum_group_size for one in shown)
