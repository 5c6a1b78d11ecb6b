"""Which files a dataset is made of: a folder, a file or a pattern of a contract's local server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from fsspec.implementations.local import LocalFileSystem

from ingest.parse.media import FORMATS
from ingest.parse.tabular import ROW_FORMATS
from semantic_layer.errors import SourceFailed, close_names
from semantic_layer.product import Dataset

_WILD = frozenset("*?[")
_ROW_ENDINGS = tuple(ending for ending, kind in FORMATS.items() if kind in ROW_FORMATS)


@dataclass(frozen=True)
class SourceFile:
    """A file of a dataset. `name` is its path below the server's folder, with `/`; citations show it."""

    name: str
    path: Path
    bytes: int
    modified_ns: int


def find_files(dataset: Dataset, root: Path) -> tuple[SourceFile, ...]:
    """The dataset's files below `root` (a folder, a file or a pattern), sorted by name.

    Which: the dataset's `path`; else the file or folder of its physical name, with a row format's ending or
    without; else, for documents, all. Names that begin with `.` or `~$` are passed over, as editors and Git
    leave them. Raises SourceFailed that names the folder and pattern where nothing is found.
    """
    folder, pattern = _parted(root)
    if not folder.exists():
        raise SourceFailed(
            f"dataset {dataset.name!r}: the folder {folder} is not there.",
            hint="Create it, or mend the path of the contract's server.",
        )
    patterns = [dataset.path] if dataset.path else [pattern] if pattern else _by_name(dataset)
    for one in patterns:
        if one.startswith("/") or ".." in PurePosixPath(one).parts:
            raise SourceFailed(
                f"dataset {dataset.name!r}: the path {one!r} leaves the server's folder {folder}.",
                hint="Give a path inside it, or the server another folder.",
            )
        if found := _matching(folder, one):
            return found
    raise SourceFailed(
        f"dataset {dataset.name!r}: no file in {folder} matches {' or '.join(patterns[:3])}.",
        hint=_advice(dataset, folder),
    )


def _parted(root: Path) -> tuple[Path, str]:
    """A server's path as its folder and, where it names a file or pattern, that."""
    if root.is_file():
        return root.parent, root.name
    steps = root.parts
    wild = next((place for place, step in enumerate(steps) if _WILD & set(step)), None)
    if wild is not None and not root.exists():
        return Path(*steps[:wild]), "/".join(steps[wild:])
    return root, ""


def _by_name(dataset: Dataset) -> list[str]:
    name = dataset.physical_name or dataset.name
    if dataset.kind == "document":
        return [name, f"{name}/**", "**"]
    return [name, *(f"{name}{ending}" for ending in _ROW_ENDINGS), f"{name}/*"]


def _matching(folder: Path, pattern: str) -> tuple[SourceFile, ...]:
    if (folder / pattern).is_dir():
        pattern = f"{pattern.rstrip('/')}/**"
    if (folder / pattern).is_file():
        return (_file(folder, folder / pattern),)
    found = cast("list[str]", LocalFileSystem().glob(f"{_literal(folder.as_posix())}/{pattern}"))
    paths = (Path(path) for path in found)
    kept = [path for path in paths if path.is_file() and not _hidden(path.relative_to(folder).parts)]
    return tuple(sorted((_file(folder, path) for path in kept), key=lambda file: file.name))


def _literal(folder: str) -> str:
    """A folder's name with characters that a pattern would read as wild in brackets."""
    return "".join(f"[{character}]" if character in _WILD else character for character in folder)


def _file(folder: Path, path: Path) -> SourceFile:
    status = path.stat()
    return SourceFile(path.relative_to(folder).as_posix(), path, status.st_size, status.st_mtime_ns)


def _hidden(steps: Iterable[str]) -> bool:
    return any(step.startswith((".", "~$")) for step in steps)


def _advice(dataset: Dataset, folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if not _hidden((path.name,)))
    wanted = PurePosixPath(dataset.path or dataset.physical_name or dataset.name).name
    near = close_names(wanted, names)
    if near:
        return f"There is {near[0]!r}: mend the hint `path` or `physicalName`."
    return "It is empty." if not names else f"It holds {', '.join(names[:5])}{' …' if len(names) > 5 else ''}."
