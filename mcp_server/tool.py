"""A tool: its name and words, its closed arguments, and the one function that every door calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp.types import Tool as ToolDescription
from mcp.types import ToolAnnotations

from mcp_server.answer import Answer
from mcp_server.arguments import Arguments, input_schema
from mcp_server.identity import READ
from mcp_server.session import Session

OUTPUT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string"},
        "data": {"type": "object"},
        "page": {"type": "object"},
        "receipt": {"type": "object"},
    },
}
"""The same small schema for every tool; the resource `wellhead://answer-schema` holds the full one."""


@dataclass(frozen=True)
class Tool:
    """One tool. `run` asks for grants before it reads; `open_world` warns that texts come from outside.

    `at_once` says that it reads nothing but memory and a small file, so that it needs no thread and no turn.
    """

    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Session, Any], Answer]
    scope: str = READ
    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True
    open_world: bool = False
    at_once: bool = False

    def described(self) -> ToolDescription:
        """The tool as `tools/list` shows it."""
        return ToolDescription(
            name=self.name,
            description=self.description,
            input_schema=input_schema(self.arguments),
            output_schema=dict(OUTPUT_SCHEMA),
            annotations=ToolAnnotations(
                read_only_hint=self.read_only,
                destructive_hint=None if self.read_only else self.destructive,
                idempotent_hint=self.idempotent,
                open_world_hint=self.open_world,
            ),
        )
