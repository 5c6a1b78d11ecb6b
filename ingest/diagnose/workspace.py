"""The workspace: its files, the variables that its contracts name, and whether every source can be reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ingest.diagnose.finding import Finding, failed
from ingest.diagnose.sources import look_at_source
from semantic_layer.environment import variables_in
from semantic_layer.errors import WellheadError
from semantic_layer.product import Server
from semantic_layer.settings import WorkspaceSettings
from semantic_layer.workspace import load_workspace


def look_at_workspace(
    root: Path, settings: WorkspaceSettings, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Every finding about what the team edits, and about the sources that its contracts name."""
    try:
        workspace = load_workspace(root, settings=settings)
    except WellheadError as error:
        yield failed("workspace", error)
        return
    warnings = len(workspace.warnings)
    counted = f"{len(workspace.products)} products without a mistake"
    if warnings:
        yield Finding("workspace", "warn", f"{counted}, {warnings} warnings", "Run `wellhead validate`.")
    else:
        yield Finding("workspace", "ok", counted)
    for name, folder in workspace.products.items():
        for server in folder.product.servers:
            unset = [one for one in _variables(server) if not environment.get(one)]
            yield from (_unset(name, server, variable) for variable in unset)
            if not unset:
                yield from look_at_source(folder.product, server, environment)


def _variables(server: Server) -> tuple[str, ...]:
    """The environment variables that a server's path and options name, each once."""
    texts = [server.path, *map(str, server.options.values())]
    return tuple(dict.fromkeys(name for text in texts for name in variables_in(text)))


def _unset(product: str, server: Server, variable: str) -> Finding:
    said = f"{product}: server {server.name!r} needs the environment variable {variable}, which is not set."
    return Finding(f"variable {variable}", "fail", said, f"Set it: export {variable}=…")
