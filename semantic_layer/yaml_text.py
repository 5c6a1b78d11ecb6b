"""Values as YAML that reads back the same under YAML 1.2's core schema, which `yaml_file` reads by."""

from __future__ import annotations

from typing import Any

import yaml

from semantic_layer.yaml_file import reads_as_text

_WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, no aliases, and quotes wherever YAML 1.2 would read something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if reads_as_text(value) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(value: Any, *, heading: str = "") -> str:
    """The value as a block document, keys in their order; `heading` stands above as comment lines."""
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    body = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return comment + body
