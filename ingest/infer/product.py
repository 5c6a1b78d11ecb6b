"""One data product from one path: its datasets under names of their own, and where their files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.infer.dataset import InferredDataset, infer_datasets
from ingest.infer.files import find_groups
from ingest.infer.names import Names, plain_name
from semantic_layer.errors import SourceFailed


@dataclass(frozen=True)
class InferredServer:
    """A folder of files with the options that read them."""

    name: str
    folder: Path
    options: Mapping[str, str]

    def path_from(self, product: Path, workspace: Path) -> str:
        """The folder as the contract names it: relative inside the workspace, which may move, else absolute."""
        if self.folder.is_relative_to(workspace):
            return Path(os.path.relpath(self.folder, product)).as_posix()
        return self.folder.as_posix()


@dataclass(frozen=True)
class InferredProduct:
    """A product to be written. `left_out` names files that cannot be read as rows, and why."""

    name: str
    path: Path
    datasets: tuple[InferredDataset, ...]
    servers: tuple[InferredServer, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def server_of(self, dataset: InferredDataset) -> InferredServer:
        """The server that holds the dataset's files."""
        return next(
            server
            for server in self.servers
            if (server.folder, server.options) == (dataset.group.root, dataset.dialect.options)
        )


def infer_product(path: Path, names: Names) -> InferredProduct:
    """The product at a path; `names` keeps its name apart from those of other products.

    A file of a folder that cannot be read is left out with its reason; a path of its own raises SourceFailed.
    """
    found = find_groups(path)
    taken = Names()
    datasets: list[InferredDataset] = []
    left_out = [(str(file), "has an ending that is not read") for file in found.unread]
    for group in found.groups:
        try:
            inferred = infer_datasets(group, group.name)
        except SourceFailed as failure:
            if found.path.is_file():
                raise
            left_out.append((group.pattern, failure.message))
            continue
        single = "documents" if len(found.groups) == 1 and not group.is_rows else ""
        for one in inferred:
            fallback = "documents" if one.kind == "document" else "rows"
            datasets.append(replace(one, name=taken.unique(plain_name(single or one.name, fallback))))
    if not datasets:
        raise SourceFailed(
            f"nothing in {found.path} can be read: {left_out[0][0]}: {left_out[0][1]}",
            hint="Mend the files, or name another path with --data.",
        )
    stem = found.path.stem if found.path.is_file() else found.path.name
    name = names.unique(plain_name(stem, "data"))
    return InferredProduct(name, found.path, tuple(datasets), _servers(datasets), tuple(left_out))


def _servers(datasets: list[InferredDataset]) -> tuple[InferredServer, ...]:
    servers: list[InferredServer] = []
    for dataset in datasets:
        folder, options = dataset.group.root, dataset.dialect.options
        if not any((one.folder, one.options) == (folder, options) for one in servers):
            name = f"files_{len(servers) + 1}" if servers else "files"
            servers.append(InferredServer(name, folder, options))
    return tuple(servers)
