"""What every command is handed: the workspace it works on, with `WELLHEAD_*` laid over `wellhead.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml

from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem, close_names
from semantic_layer.settings import FILE, WorkspaceSettings, read_settings
from semantic_layer.yaml_file import Node, read_yaml

PREFIX = "WELLHEAD_"

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "WELLHEAD_HOME": ("home",),
    "WELLHEAD_PRODUCTS": ("products",),
    "WELLHEAD_EMBEDDING_MODEL": ("embedding", "model"),
    "WELLHEAD_EMBEDDING_PRECISION": ("embedding", "precision"),
    "WELLHEAD_REPORTING_TIME_ZONE": ("reporting", "time_zone"),
    "WELLHEAD_SERVER_HOST": ("server", "host"),
    "WELLHEAD_SERVER_PORT": ("server", "port"),
    "WELLHEAD_SERVER_ANONYMOUS": ("server", "anonymous"),
}
"""Environment variable → the place in wellhead.yaml that it overrides."""

OTHERS = (
    "WELLHEAD_WORKSPACE",
    "WELLHEAD_DEVICE",
    "WELLHEAD_POSTGRES_DSN",
    "WELLHEAD_PYTHON",
    "WELLHEAD_REQUIRE_ENGINES",
    "WELLHEAD_TOKEN",
)
"""Variables that others read: the launcher, the tests, MCP clients, the device choice, a contract's `${NAME}`."""


class Door:
    """One command's view of its workspace. Nothing is read until it is asked for.

    The workspace is `workspace`, else WELLHEAD_WORKSPACE, else the nearest folder upward that holds wellhead.yaml.
    """

    def __init__(self, workspace: Path | None, environment: Mapping[str, str]) -> None:
        self._asked = workspace
        self._environment = environment

    @cached_property
    def root(self) -> Path:
        """The workspace's folder. Raises InvalidArgument naming where was looked."""
        named = self._asked or self._environment.get("WELLHEAD_WORKSPACE")
        if named is not None:
            folder = Path(named).resolve()
            if not (folder / FILE).is_file():
                raise InvalidArgument(f"no {FILE} in {folder}.", hint="Name a workspace, or run `wellhead init`.")
            return folder
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / FILE).is_file():
                return folder
        raise InvalidArgument(
            f"no {FILE} in {here} or above.", hint="Go to a workspace, pass --workspace, or run `wellhead init`."
        )

    @cached_property
    def settings(self) -> WorkspaceSettings:
        """`WELLHEAD_*` over wellhead.yaml over defaults. Raises InvalidWorkspace with every mistake."""
        problems: list[Problem] = []
        node = read_yaml(self.root / FILE, shown_as=FILE)
        for name, value in sorted(self._environment.items()):
            if not name.startswith(PREFIX) or name in OTHERS:
                continue
            path = SETTINGS.get(name)
            if path is None:
                near = close_names(name, [*SETTINGS, *OTHERS])
                suggestion = f"Did you mean {near[0]}?" if near else "Unset it."
                problems.append(Problem("environment", 0, f"no setting {name}.", suggestion))
            else:
                node = _with(node, path, Node(name, 0, yaml.safe_load(value)))
        settings = read_settings(node, problems)
        if problems:
            raise InvalidWorkspace(problems, root=self.root)
        return settings

    @property
    def home(self) -> Path:
        """The folder of what is built; `home` of the settings, relative to the workspace."""
        return self.root / self.settings.home

    @property
    def device(self) -> Literal["auto", "cpu", "gpu"]:
        """WELLHEAD_DEVICE: auto, cpu or gpu."""
        match self._environment.get("WELLHEAD_DEVICE", "auto"):
            case "auto" | "cpu" | "gpu" as device:
                return device
            case other:
                raise InvalidArgument(f"WELLHEAD_DEVICE is {other!r}.", hint="Use auto, cpu or gpu.")


def _with(node: Node, path: tuple[str, ...], value: Node) -> Node:
    """The mapping with the value at this path replaced."""
    children = dict(node.mapping or {})
    key, *rest = path
    below = children.get(key, Node(node.file, node.line, {}))
    children[key] = _with(below, tuple(rest), value) if rest else value
    return Node(node.file, node.line, children)
