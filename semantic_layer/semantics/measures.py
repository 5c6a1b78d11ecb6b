"""A metric's formula as inputs of the model: each aggregate a measure at the grain of its own dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Measure, MetricInput, MetricKind, NonAdditive, Relationship
from semantic_layer.semantics.fields import Names, base_of
from semantic_layer.sql.expressions import AggregateCall, Formula, read_formula


def read_inputs(
    text: str,
    names: Names,
    relationships: Sequence[Relationship],
    *,
    dialect: str = "",
    default_time: str = "",
    non_additive: NonAdditive | None = None,
    home: str = "",
    at_home: bool = False,
) -> tuple[Formula, MetricKind, tuple[MetricInput, ...]]:
    """The formula, the kind of metric it makes, and its inputs in order.

    `home` is the dataset whose columns bare names mean; with `at_home` its rows are what every aggregate counts, as
    where a view joins everything to one table first. Raises InvalidArgument for SQL that is not allowed or an
    aggregate without a dataset, UnknownName for a name.
    """
    formula = read_formula(text, lambda parts: names.in_metric(parts, home), dialect=dialect)
    bases = _bases(formula, names, relationships, default_time, home, at_home)
    together = list(dict.fromkeys(bases.values()))
    root = base_of(together, relationships) if len(together) > 1 else None
    inputs = [
        MetricInput(
            alias,
            measure=replace(
                _measure(call, bases[alias], root or ""), default_time=default_time, non_additive=non_additive
            ),
        )
        for alias, call in formula.aggregates.items()
    ]
    inputs += [MetricInput(name, metric=names.metric(name, home)) for name in formula.metrics]
    if not inputs:
        raise InvalidArgument(f"the expression {text!r} aggregates nothing.", hint="Write SUM(orders.total), say.")
    only = formula.expression == '"#0"'
    return formula, "simple" if only else "ratio" if formula.is_ratio else "derived", tuple(inputs)


def _measure(call: AggregateCall, dataset: str, root: str) -> Measure:
    return Measure(
        name="",
        dataset=dataset,
        aggregation=call.aggregation,
        expression=call.argument.sql,
        columns=call.argument.columns,
        percentile=call.percentile,
        discrete=call.discrete,
        root="" if root == dataset else root,
    )


def _bases(
    formula: Formula,
    names: Names,
    relationships: Sequence[Relationship],
    default_time: str,
    home: str,
    at_home: bool,
) -> dict[str, str]:
    """The dataset whose rows each aggregate counts."""
    found: dict[str, str] = {}
    for alias, call in formula.aggregates.items():
        read = sorted(call.argument.datasets | ({home} if at_home else set()))
        base = names.aliases.get(call.dataset, call.dataset) or (base_of(read, relationships) if read else home)
        if base is None:
            raise InvalidArgument(
                f"one aggregate reads {' and '.join(map(repr, read))}, which no relationship joins.",
                hint="Add a many-to-one relationship, or aggregate each apart.",
            )
        found[alias] = base
    for alias, base in found.items():
        found[alias] = base or _counted(list(found.values()), names, relationships, default_time)
    return found


def _counted(others: list[str], names: Names, relationships: Sequence[Relationship], default_time: str) -> str:
    """The dataset whose rows a bare COUNT(*) counts, where there is only one it can be."""
    named = list(dict.fromkeys(other for other in others if other))
    if not named and "." in default_time:
        named = [default_time.rpartition(".")[0]]
    named = named or list(names.datasets)
    base = base_of(named, relationships)
    if base is None:
        raise InvalidArgument("COUNT(*) does not say of which dataset.", hint=f"Write COUNT({named[0]}.*).")
    return base
