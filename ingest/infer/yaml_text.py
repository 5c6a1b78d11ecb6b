"""YAML as a person would write it: comments between lines, one line for what belongs together."""

from __future__ import annotations

from typing import Any

import yaml


def one_line(value: Any) -> str:
    """A value in flow style on one line: `{name: order_id, logicalType: integer}`."""
    return (
        yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
        .strip()
        .removesuffix("\n...")
        .strip()
    )


def comment(text: str, indent: int = 0) -> str:
    """The text as a comment line; what is not printable is replaced, so that no line can end early."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return f"{' ' * indent}# {shown}"
