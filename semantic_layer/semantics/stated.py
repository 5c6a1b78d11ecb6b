"""Parts of the model that an extension states itself, because Ossie has no words for them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.metric import Dimension, Measure, Metric, Relationship
from semantic_layer.section import Section
from semantic_layer.semantics.fields import Names
from semantic_layer.semantics.forms import hints_of, part_of
from semantic_layer.sql.expressions import Scalar, read_formula, read_scalar

_Part = TypeVar("_Part")
_WORDS = {"type": "kind"}


@dataclass(frozen=True)
class Stated:
    """Lays what an extension states over a part as the file's own keys give it. SQL goes through the allow-list."""

    names: Names

    def over(self, part: _Part, section: Section, read_apart: Collection[str] = ()) -> _Part:
        """The part with every field that the section states, but those that were read apart.

        What does not fit is noted in the section's problems, and the part returned as it was.
        """
        kind: type[Any] = type(part)
        words = _WORDS if kind is Metric else {}
        hints = hints_of(kind)
        given = {
            words.get(key, key): (key, child)
            for key, child in (section.node.mapping or {}).items()
            if words.get(key, key) in hints and key not in read_apart
        }
        try:
            read = {
                name: part_of(hints[name], child.plain(), self.rebuilt, key)
                for name, (key, child) in given.items()
            }
            return replace(part, **self.rebuilt(kind, read)) if read else part  # pyright: ignore[reportArgumentType, reportCallIssue]
        except InvalidArgument as error:
            section.wrong(error.message, error.hint)
            return part

    def rebuilt(self, kind: type[Any], read: dict[str, Any]) -> dict[str, Any]:
        """The fields of a part with its SQL read again, and the columns that this SQL names."""
        if kind is Measure and "expression" in read:
            dataset = str(read.get("dataset", ""))
            if dataset not in self.names.datasets and "." not in dataset:
                raise UnknownName("dataset", dataset, self.names.datasets)
            scalar = self.scalar(read["expression"])
            return {**read, "expression": scalar.sql, "columns": scalar.columns}
        if kind is Dimension and "expression" in read:
            scalar = self.scalar(read["expression"])
            columns = frozenset(column for _, column in scalar.columns)
            return {**read, "expression": scalar.sql, "columns": columns}
        if kind is Relationship:
            keys = {key: tuple(self.scalar(one).sql for one in read[key]) for key in _KEYS if key in read}
            return {**read, **keys}
        if kind is Metric and "expression" in read:
            return {**read, "expression": self.formula(read)}
        return read

    def scalar(self, text: str) -> Scalar:
        """Canonical SQL, checked. Raises InvalidArgument."""
        return read_scalar(text, self.names.canonical, dialect="duckdb")

    def formula(self, read: dict[str, Any]) -> str:
        """A formula over the names of a metric's inputs, checked. Raises InvalidArgument."""
        formula = read_formula(read["expression"], self.names.canonical, dialect="duckdb")
        aliases = [one.alias for one in read.get("inputs", ())]
        unknown = [name for name in formula.metrics if name not in aliases]
        if formula.aggregates or (aliases and unknown):
            raise InvalidArgument(
                f"`expression` {read['expression']!r} names what is none of its inputs.",
                hint="Name each input by its alias.",
            )
        return formula.expression


_KEYS = ("from_keys", "to_keys")
