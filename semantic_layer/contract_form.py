"""Holds a contract against the Open Data Contract Standard's own model, with the line of every deviation.

The package `open-data-contract-standard` knows the keys and types of ODCS 3.0 to 3.2 (https://bitol.io); it
ignores unknown keys below the top, which would drop a misspelt one in silence, so they are found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from open_data_contract_standard.model import DataQuality, OpenDataContractStandard, TeamMember
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from semantic_layer.errors import Problem
from semantic_layer.section import unknown_key
from semantic_layer.yaml_file import Node

OLDER_KEYS: Mapping[type[BaseModel], tuple[str, ...]] = {
    TeamMember: ("comment",),
    DataQuality: ("validValues",),
}
"""Keys of ODCS 3.0 that the package's newer model no longer lists."""


def conform(node: Node, problems: list[Problem]) -> tuple[OpenDataContractStandard, Node]:
    """The contract as the standard's model, and the nodes it was made of.

    Deviations are added to `problems`; the values that deviate are left out of both, so that reading can go on and
    find the rest. A list in the model and its nodes keep the same order and length.
    """
    unknown = list(_unknown(node, OpenDataContractStandard, "the contract", ()))
    problems.extend(problem for _, problem in unknown)
    node = _without(node, [path for path, _ in unknown])
    while True:
        try:
            return OpenDataContractStandard.model_validate(node.plain(), strict=True), node
        except ValidationError as error:
            paths: list[tuple[str | int, ...]] = []
            for detail in error.errors(include_url=False):
                path, place = _place(node, detail["loc"])
                name = next((step for step in reversed(path) if isinstance(step, str)), "contract")
                said = detail["msg"].removeprefix("Input ").rstrip(".")
                problems.append(place.problem(f"`{name}` {said}, not {place.plain()!r}.", _advice(detail, place)))
                paths.append(path)
            node = _without(node, paths)


def _advice(detail: ErrorDetails, place: Node) -> str:
    if detail["type"] == "string_type" and place.mapping is None and place.items is None:
        return f'Put it in quotes: "{place.value}".'
    if detail["type"] == "bool_type":
        return "Write true or false."
    return "See the ODCS reference: https://bitol-io.github.io/open-data-contract-standard/."


def _place(node: Node, location: Iterable[str | int]) -> tuple[tuple[str | int, ...], Node]:
    """Where pydantic's location lies in the file; the names of union branches in it are passed over."""
    path: list[str | int] = []
    for step in location:
        child = node.at(step)
        if child is not node:
            path.append(step)
            node = child
    return tuple(path), node


def _without(node: Node, paths: Iterable[tuple[str | int, ...]]) -> Node:
    """The node without the values at these paths."""
    for path in sorted(
        set(paths), key=lambda path: [(isinstance(step, int), str(step).zfill(9)) for step in path]
    )[::-1]:
        node = _removed(node, path)
    return node


def _removed(node: Node, path: tuple[str | int, ...]) -> Node:
    if not path:
        return replace(node, value={})
    step, rest = path[0], path[1:]
    if node.mapping is not None:
        children = dict(node.mapping)
        if rest:
            children[str(step)] = _removed(children[str(step)], rest)
        else:
            children.pop(str(step), None)
        return replace(node, value=children)
    items = list(node.items or ())
    if isinstance(step, int) and step < len(items):
        items[step : step + 1] = [_removed(items[step], rest)] if rest else []
    return replace(node, value=tuple(items))


def _unknown(
    node: Node, model: type[BaseModel], what: str, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Problem]]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    known = (*fields, *OLDER_KEYS.get(model, ()))
    for key, child in (node.mapping or {}).items():
        if key not in known:
            yield (*path, key), unknown_key(child, key, known, what)
        elif key in fields and (models := _models(fields[key].annotation)):
            yield from _unknown(child, models[0], f"`{key}`", (*path, key))
            for number, item in enumerate(child.items or ()):
                yield from _unknown(item, models[-1], f"an item of `{key}`", (*path, key, number))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation such as `Team | list[TeamMember] | None` speaks of, lists last."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
