"""What every command is handed: the workspace it works on, with `WELLHEAD_*` laid over `wellhead.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml

from semantic_layer.environment import variables_in
from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem, close_names
from semantic_layer.settings import FILE, WorkspaceSettings, read_settings
from semantic_layer.yaml_file import Node, parse_yaml, read_yaml

PREFIX = "WELLHEAD_"

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "WELLHEAD_HOME": ("home",),
    "WELLHEAD_PRODUCTS": ("products",),
    "WELLHEAD_LEDGER": ("ledger",),
    "WELLHEAD_POSTGRES_SCHEMA": ("postgres", "schema"),
    "WELLHEAD_ENGINES_TEXT": ("engines", "text"),
    "WELLHEAD_ENGINES_VECTORS": ("engines", "vectors"),
    "WELLHEAD_FAISS_INDEX": ("faiss", "index"),
    "WELLHEAD_FAISS_RECALL": ("faiss", "recall"),
    "WELLHEAD_FAISS_SERVE_ON": ("faiss", "serve_on"),
    "WELLHEAD_ELASTICSEARCH_URL": ("elasticsearch", "url"),
    "WELLHEAD_ELASTICSEARCH_API_KEY": ("elasticsearch", "api_key"),
    "WELLHEAD_ELASTICSEARCH_USERNAME": ("elasticsearch", "username"),
    "WELLHEAD_ELASTICSEARCH_PASSWORD": ("elasticsearch", "password"),
    "WELLHEAD_ELASTICSEARCH_CA_CERTS": ("elasticsearch", "ca_certs"),
    "WELLHEAD_EMBEDDING_MODEL": ("embedding", "model"),
    "WELLHEAD_EMBEDDING_PRECISION": ("embedding", "precision"),
    "WELLHEAD_REPORTING_TIME_ZONE": ("reporting", "time_zone"),
    "WELLHEAD_AUDIT_ANCHOR": ("audit", "anchor"),
    "WELLHEAD_AUDIT_ON_FAILURE": ("audit", "on_failure"),
    "WELLHEAD_SERVER_HOST": ("server", "host"),
    "WELLHEAD_SERVER_PORT": ("server", "port"),
    "WELLHEAD_SERVER_ANONYMOUS": ("server", "anonymous"),
    "WELLHEAD_SERVER_PUBLIC_URL": ("server", "public_url"),
    "WELLHEAD_SERVER_METRICS": ("server", "metrics"),
    "WELLHEAD_SERVER_LOG": ("server", "log"),
    "WELLHEAD_SERVER_PROCESSES": ("server", "processes"),
    "WELLHEAD_STDIO_PRINCIPAL": ("stdio", "principal"),
    "WELLHEAD_CLI_PRINCIPAL": ("cli", "principal"),
}
"""Environment variable → the place in wellhead.yaml that it overrides."""

OTHERS = (
    "WELLHEAD_WORKSPACE",
    "WELLHEAD_DEVICE",
    "WELLHEAD_POSTGRES_DSN",
    "WELLHEAD_PYTHON",
    "WELLHEAD_REQUIRE_ENGINES",
    "WELLHEAD_TOKEN",
    "WELLHEAD_KEYS_TOKENS",
    "WELLHEAD_KEYS_CURSORS",
    "WELLHEAD_KEYS_MASKS",
    "WELLHEAD_KEYS_AUDIT",
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
        unknown: list[str] = []
        node = read_yaml(self.root / FILE, shown_as=FILE)
        for name, value in sorted(self._environment.items()):
            if not name.startswith(PREFIX) or name in OTHERS:
                continue
            path = SETTINGS.get(name)
            if path is None:
                unknown.append(name)
            else:
                node = _with(node, path, _value(name, value))
        settings = read_settings(node, problems)
        settings = replace(settings, engines=settings.engines.below(self.root))
        named = _variables_named(self.root, settings) if unknown else frozenset[str]()
        problems += [_no_setting(name) for name in unknown if name not in named]
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


def _value(name: str, text: str) -> Node:
    """What a variable holds: a scalar as YAML writes it, or a mapping such as a principal in JSON."""
    return (
        parse_yaml(text, shown_as=name) if text.lstrip().startswith("{") else Node(name, 0, yaml.safe_load(text))
    )


def _no_setting(name: str) -> Problem:
    near = close_names(name, [*SETTINGS, *OTHERS])
    return Problem("environment", 0, f"no setting {name}.", f"Did you mean {near[0]}?" if near else "Unset it.")


def _variables_named(root: Path, settings: WorkspaceSettings) -> frozenset[str]:
    """The variables that wellhead.yaml and contracts name as `${NAME}`: those of the workspace and sealed ones."""
    contracts = (
        *(root / settings.products).glob("*/contract.yaml"),
        *(root / settings.home).glob("generations/*/*/descriptors/contract.yaml"),
    )
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in (root / FILE, *contracts))
    return frozenset(name for text in texts for name in variables_in(text))


def _with(node: Node, path: tuple[str, ...], value: Node) -> Node:
    """The mapping with the value at this path replaced."""
    children = dict(node.mapping or {})
    key, *rest = path
    below = children.get(key, Node(node.file, node.line, {}))
    children[key] = _with(below, tuple(rest), value) if rest else value
    return Node(node.file, node.line, children)
