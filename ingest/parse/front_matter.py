"""YAML front matter of a Markdown file: typed values for its columns, mistakes named by file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode

from semantic_layer.errors import SourceFailed

_FENCED = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_MAPPING_LINE = re.compile(r"\s*(#.*)?\Z|[\w\"'][^\n]*?:(\s|\Z)")
_LONGEST = 64 * 1024


class _StrictLoader(yaml.SafeLoader):
    """YAML without what nobody writes by intent: duplicate keys, tags of programs, references."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem="references (*name) are not read", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key: Any = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.MarkedYAMLError(
                    problem="a key must be one plain value", problem_mark=key_node.start_mark
                )
            if key in mapping:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark
                )
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


def split_front_matter(text: str, path: Path) -> tuple[dict[str, Any], str]:
    """The front matter's values and the text after it; no values where the file has none.

    Two rules of dashes around something that is no mapping are ordinary Markdown and stay in the text.
    Raises SourceFailed with file and line where the front matter is not plain YAML.
    """
    match = _FENCED.match(text)
    if not match or not _MAPPING_LINE.match(match.group(1).split("\n", 1)[0]):
        return {}, text
    source = match.group(1)
    if len(source) > _LONGEST:
        raise SourceFailed(
            f"{path}, line 1: the front matter is {len(source):,} characters long, more than {_LONGEST:,}.",
            hint="Close it with a line `---` before the text.",
        )
    try:
        values: Any = yaml.load(source, _StrictLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark: Any = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error)
        raise SourceFailed(
            f"{path}, line {mark.line + 2 if mark else 1}: the front matter is not valid YAML ({problem}).",
            hint="Mend that line; put text with a colon in quotes.",
        ) from error
    if values is None:
        return {}, text[match.end() :]
    if not isinstance(values, dict):
        return {}, text
    return {str(key): value for key, value in values.items()}, text[match.end() :]
