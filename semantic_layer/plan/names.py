"""What a dimension's name in a query means for each metric, and the way there; ambiguity lists the choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.metric import Dimension
from semantic_layer.plan.cut import Calendar, Cut, read_cut
from semantic_layer.plan.world import Path, Place, World

METRIC_TIME = "metric_time"
SEPARATOR = "__"
BY = " by "
"""Between a metric and the entities it is grouped by, where its value is a field: `bookings by listing`."""


@dataclass(frozen=True)
class Found:
    """One reading of a name: a dimension, the way to it from the metric's base, and what its time is cut to."""

    path: Path
    place: Place
    dimension: Dimension
    cut: Cut | None = None
    spelled: bool = False

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for the same value of the same table, whichever model describes it."""
        if self.dimension.entity:
            return ("entity", *_entities(self.path, self.dimension.entity))
        expression = self.dimension.expression.replace(f'"{self.place.dataset.name}".', "")
        return (*self.place.table, expression, self.cut)

    @property
    def name(self) -> str:
        """How to ask for exactly this dimension."""
        dataset = self.place.dataset
        grain = (self.cut.value,) if self.cut else ()
        owner = dataset.primary_entity or dataset.name
        between = "." if "." in owner else SEPARATOR  # a bare table of another product goes by both its names
        return SEPARATOR.join((owner + between + self.dimension.name, *grain))

    @property
    def way(self) -> str:
        """How to ask for this dimension by exactly this way."""
        grain = (self.cut.value,) if self.cut else ()
        return SEPARATOR.join((*(step.relationship.name for step in self.path), self.dimension.name, *grain))


def _entities(path: Path, *further: str) -> tuple[str, ...]:
    """The hops by name, one name after itself left out: both hops follow the same key."""
    names = [*(step.relationship.name for step in path), *further]
    return tuple(name for name, before in zip(names, ["", *names], strict=False) if name != before)


def find(world: World, base: Place, name: str, *, facts: bool = False) -> list[Found]:
    """Every reading of a name from one base, many-to-one ways only where there is one. Rights are not looked at.

    Among the others a way to the copies of one row goes before one to many rows.

    `entity__field`, `dataset.field`, a bare field, each with `__grain` after it where it is a time dimension: a
    grain, a custom one, or a part of the date.
    `facts` also finds fields that are no dimensions, for the filters of metrics.
    """
    for paths in (world.onward(base), world.across(base, copies=True), world.across(base)):
        found: list[Found] = []
        for path in paths:
            found.extend(_at(path, base, name, facts, world.calendars(base.home)))
        if found:
            exact = [one for one in found if one.cut is None] or found
            own = [one for one in exact if one.spelled and not one.path]
            return own or [one for one in exact if one.spelled] or exact
    return []


def _at(path: Path, base: Place, name: str, facts: bool, known: Mapping[str, Calendar]) -> Iterator[Found]:
    place = path[-1].end if path else base
    for elements, field, cut in _readings(name, known):
        spelled = _spells(elements, path, base)
        dimension = place.dataset.dimension(field) if spelled is not None else None
        if dimension is not None and (facts or not dimension.fact) and (cut is None or dimension.truncatable):
            yield Found(path, place, dimension, cut, bool(spelled))


def _readings(name: str, known: Mapping[str, Calendar]) -> Iterator[tuple[tuple[str, ...], str, Cut | None]]:
    """The elements before the field, the field, and the grain, in every way the name can be cut."""
    dataset, dot, rest = name.rpartition(".")
    parts = rest.split(SEPARATOR)
    cut_to = read_cut(parts[-1], known) if len(parts) > 1 else None
    for cut in (None, cut_to) if cut_to else (None,):
        kept = parts[:-1] if cut else parts
        if dot:
            yield (dataset + ".",), SEPARATOR.join(kept), cut
        else:
            for place in range(len(kept)):
                yield tuple(kept[:place]), SEPARATOR.join(kept[place:]), cut


def _spells(elements: tuple[str, ...], path: Path, base: Place) -> bool | None:
    """Whether the elements name this way: None for no, True where they name its every hop, else False."""
    end = path[-1].end if path else base
    if elements and elements[0].endswith("."):
        wanted = elements[0][:-1]
        return False if wanted in (end.dataset.name, f"{end.home}.{end.dataset.name}") else None
    own = base.dataset.names
    if not path:
        return True if not elements or (len(elements) == 1 and elements[0] in own) else None
    if not elements:
        return False
    whole = _leads(elements, path)
    if whole is None and len(elements) > 1 and elements[0] in own:
        whole = _leads(elements[1:], path)
    return whole


def _leads(elements: Sequence[str], path: Path) -> bool | None:
    """Whether the elements are hops of this way in order, the last its last; True where they are all of them."""
    wanted, hops = list(elements), list(path)
    if wanted.pop() not in hops.pop().names:
        return None
    while wanted:
        if not hops:
            return None
        if wanted[-1] in hops.pop().names:
            wanted.pop()
    return len(elements) == len(path)


def choose(world: World, bases: Sequence[tuple[str, Place]], name: str, *, joining: bool = False) -> list[Found]:
    """The one dimension that a name means for all these metrics, and each one's way to it.

    With `joining` its values are only joined on, which for an entity needs no right to see them. `bases` are (metric,
    its base). Raises UnknownName for a name that does not exist for the caller, InvalidArgument where it is
    ambiguous or does not go with a metric, Refused where it may not be used.
    """
    readings = [[one for one in find(world, base, name) if _exists(world, one)] for _, base in bases]
    common = [
        one for one in readings[0] if all(one.identity in {other.identity for other in more} for more in readings)
    ]
    identities = list(dict.fromkeys(one.identity for one in common))
    if not identities:
        raise _nothing(world, bases, name, readings)
    if len(identities) > 1:
        local = [
            identity
            for identity in identities
            if all(any(not one.path and one.identity == identity for one in more) for more in readings)
        ]
        if len(local) != 1:
            choices = ", ".join(dict.fromkeys(one.name for one in common))
            raise InvalidArgument(f"{name!r} could be several dimensions.", hint=f"Write one of {choices}.")
        identities = local
    chosen = [only_way([one for one in more if one.identity == identities[0]], name) for more in readings]
    for one in chosen:
        if not (joining and one.dimension.entity):
            require_allowed(world, one, name)
    return chosen


def only_way(found: Sequence[Found], name: str) -> Found:
    """The one way among several to the same dimension. Raises InvalidArgument listing the ways."""
    if found[0].dimension.entity:
        return min(found, key=lambda one: len(one.path))
    shortest: dict[tuple[str, ...], Found] = {}
    for one in sorted(found, key=lambda one: len(one.path)):
        shortest.setdefault(_entities(one.path), one)
    found = list(shortest.values())
    if len(found) > 1:
        spelled = [one for one in found if one.spelled]
        if len(spelled) != 1:
            ways = ", ".join(one.way for one in found)
            raise InvalidArgument(f"there are several ways to {name!r}.", hint=f"Write one of {ways}.")
        found = spelled
    return found[0]


def require_allowed(world: World, found: Found, name: str) -> None:
    """Raises Refused where the caller may know the dimension but not group, filter or sort by it."""
    if not world.allowed(found.place, found.dimension.columns):
        raise Refused(
            f"{name!r} is masked or withheld for you: it cannot group, filter or sort.",
            rule="column_withheld",
            hint="Leave it out, or ask the product's owner.",
        )


def _exists(world: World, found: Found) -> bool:
    return world.discoverable(found.place, found.dimension)


def _shows(world: World, place: Place, name: str) -> bool:
    return any(not one.path and _exists(world, one) for one in find(world, place, name))


def _nothing(
    world: World, bases: Sequence[tuple[str, Place]], name: str, readings: Sequence[Sequence[Found]]
) -> Exception:
    offered = [offered_names(world, base) for _, base in bases]
    both = [one for one in offered[0] if all(one in more for more in offered)]
    if any(readings):
        lacking = " and ".join(repr(metric) for (metric, _), more in zip(bases, readings, strict=True) if not more)
        said = (
            f"{name!r} does not go with {lacking}."
            if lacking
            else f"{name!r} means another thing for each metric."
        )
        return InvalidArgument(said, hint=f"What goes with all: {', '.join(both[:20])}." if both else "")
    if any(_shows(world, place, name) for place in world.places()):
        metrics = " and ".join(repr(metric) for metric, _ in bases)
        hint = f"What goes with them: {', '.join(both[:20])}." if both else ""
        return InvalidArgument(f"{name!r} does not go with {metrics}.", hint=hint)
    plain = [one.rpartition(SEPARATOR)[2] for one in both]
    return UnknownName("dimension", name, [*both, *plain], hint="`describe` lists a metric's dimensions.")


def offered_names(world: World, base: Place) -> list[str]:
    """The dimensions that a metric over this base can be grouped by, as far as the caller may use them."""
    found: list[str] = []
    for path in world.onward(base):
        place = path[-1].end if path else base
        found.extend(
            Found(path, place, dimension).name
            for dimension in place.dataset.dimensions
            if not dimension.fact and world.allowed(place, dimension.columns)
        )
    return list(dict.fromkeys(found))
