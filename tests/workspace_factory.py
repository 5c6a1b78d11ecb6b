"""Workspaces for tests: a copy of one under tests/workspaces, ingested for real."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ingest.products import ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.door import Door
from semantic_layer.workspace import load_workspace

WORKSPACES = Path(__file__).parent / "workspaces"


@dataclass(frozen=True)
class BuiltWorkspace:
    """A copied workspace with its home; what `ingest` published is live."""

    root: Path

    @property
    def door(self) -> Door:
        """The workspace as a command sees it, without the machine's environment."""
        return Door(self.root, {})

    @property
    def home(self) -> Path:
        """Where what is built lies."""
        return self.door.home

    def ingest(self, *products: str) -> None:
        """Publish these products, or all, from what their files hold now."""
        workspace, settings = load_workspace(self.root), IngestSettings(device="cpu")
        for _, outcome in ingest_all(workspace, products, settings, by="test", progress=Silent()):
            if not isinstance(outcome, RunReport):
                raise outcome


def copy_workspace(name: str, target: Path, model_home: Path) -> BuiltWorkspace:
    """A copy of tests/workspaces/<name> in `target`, with the embedding model of `model_home` linked in."""
    shutil.copytree(WORKSPACES / name, target, dirs_exist_ok=True)
    home = target / ".wellhead"
    home.mkdir(exist_ok=True)
    (home / "models").symlink_to(model_home / "models")
    return BuiltWorkspace(target)


def build_workspace(name: str, target: Path, model_home: Path) -> BuiltWorkspace:
    """A copied workspace with all its products published."""
    built = copy_workspace(name, target, model_home)
    built.ingest()
    return built
