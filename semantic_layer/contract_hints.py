"""Hints that ODCS has no field for, read from `customProperties` under the property `wellhead`."""

from __future__ import annotations

from collections.abc import Iterable

from semantic_layer.errors import Problem
from semantic_layer.section import Section
from semantic_layer.yaml_file import Node

PROPERTY = "wellhead"
APPROVED = "approved_texts"
PRODUCT = ("synonyms", "audit_arguments", APPROVED)
SERVER = ("dsn", "role", "timeout")
RELATIONSHIP = ("severity",)
DATASET = (
    "server",
    "path",
    "query",
    "cursor",
    "on_error",
    "live",
    "deprecated",
    "search_language",
    "token_vectors",
    "synonyms",
)
COLUMN = ("text", "title", "filterable", "key", "path", "search_personal", "synonyms", "unit")


def read_hints(owner: Node, known: Iterable[str], what: str, problems: list[Problem]) -> Section:
    """The `wellhead` hints of a contract, server, object or property; an empty section where it has none.

    An unknown hint is a problem with a suggestion; a second block of hints is one too.
    """
    custom = owner.get("customProperties")
    blocks = [item for item in (custom.items if custom else None) or () if item.at("property").value == PROPERTY]
    for extra in blocks[1:]:
        problems.append(extra.problem(f"{what} has two `{PROPERTY}` blocks.", "Join them."))
    value = blocks[0].get("value") if blocks else None
    return Section(
        value or Node(owner.file, owner.line, None), known, f"the `{PROPERTY}` hints of {what}", problems
    )
