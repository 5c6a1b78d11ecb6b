"""JSON paths of a contract's columns, and the flat row that they make of a nested record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from semantic_layer.errors import InvalidArgument
from semantic_layer.product import Column

_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|(\[\*\])")

Steps = tuple[str | None, ...]
"""A path's names in order; None stands for every element."""


def flatten(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """One flat row from a nested record: for each column the value at its JSON path, None where nothing is there.

    Paths begin with `$` and go by `.name`, `['name']` or `[*]` (every element): `$.a.b`, `$.tags[*]`,
    `$.variants[*].size`. A path with `[*]` gives a list, without the elements that lack the rest of the path.
    An empty path means the key with the column's own name. Raises InvalidArgument for any other form.
    """
    return {name: _value(record, steps_of(name, path)) for name, path in columns.items()}


def path_of(column: Column) -> str:
    """The column's path in a record: its own, else the key with its name at the source."""
    name = column.source_name
    return column.path or (f"$['{name}']" if "'" not in name else "")


def root_of(path: str) -> str:
    """The first name of a JSON path: `$.attributes.colour` and `$['attributes']` both begin at `attributes`."""
    rest = path.removeprefix("$").removeprefix(".")
    if rest.startswith("['"):
        return rest[2:].split("'", 1)[0]
    return rest.split(".", 1)[0].split("[", 1)[0]


def steps_of(name: str, path: str) -> Steps:
    """The steps of the path of the column called `name`; see `flatten`."""
    if not path:
        return (name,)
    steps: list[str | None] = []
    position = 1
    while path.startswith("$") and position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            break
        steps.append(None if step.group(3) else step.group(1) or step.group(2))
        position = step.end()
    if not steps or position < len(path):
        raise InvalidArgument(
            f"column {name!r}: {path!r} is not a JSON path that is understood.",
            hint="Use $.name, $.a.b, $.list[*] or $.list[*].name.",
        )
    return tuple(steps)


def _value(value: Any, steps: Steps) -> Any:
    for index, step in enumerate(steps):
        if step is None:
            if not isinstance(value, list):
                return None
            rest = steps[index + 1 :]
            found = [_value(element, rest) for element in cast("list[Any]", value)]
            if None in rest:
                return [inner for each in found if each is not None for inner in each]
            return [each for each in found if each is not None]
        if not isinstance(value, dict) or step not in value:
            return None
        value = cast("dict[str, Any]", value)[step]
    return value
