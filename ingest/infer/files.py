"""What a path holds: which of its files make up a table, a set of records or a set of documents."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.parse.media import FORMATS
from ingest.parse.tabular import ROW_FORMATS
from ingest.parse.workbook import sheet_names
from semantic_layer.errors import InvalidArgument, SourceFailed

_TRAILING = re.compile(r"[\s_.-]*[0-9][0-9\s_.TZ-]*\Z")
_MOST_FILES = 100_000


@dataclass(frozen=True)
class FileGroup:
    """Files of one dataset: those that match `pattern` below `root`. `format` is empty for texts of all kinds."""

    name: str
    root: Path
    pattern: str
    files: tuple[Path, ...]
    format: str

    @property
    def is_rows(self) -> bool:
        """Whether the files hold rows or records; else they are documents."""
        return self.format in ROW_FORMATS


@dataclass(frozen=True)
class Found:
    """The datasets at one path, and its files that nothing here reads."""

    path: Path
    groups: tuple[FileGroup, ...]
    unread: tuple[Path, ...] = ()


def find_groups(path: Path) -> Found:
    """The datasets that a file or folder holds.

    A file of rows is a dataset; files that differ only by a number or date at the end of their name are one
    together. All other readable files of a folder are its documents, and beside documents a workbook of several
    sheets is one too. Raises InvalidArgument where nothing is there, SourceFailed where nothing can be read.
    """
    path = path.expanduser().absolute()
    if path.is_file():
        return Found(path, (_single(path),))
    if not path.is_dir():
        raise InvalidArgument(f"--data {path}: there is no such file or folder.", hint="Check the path.")
    files = _files_below(path)
    readable = [file for file in files if _format(file)]
    texts = [file for file in readable if _format(file) not in ROW_FORMATS]
    texts += [file for file in readable if texts and _is_report(file)]
    rows = sorted(set(readable) - set(texts))
    if not rows and not texts:
        held = f"{len(files)} files of other kinds" if files else "nothing"
        raise SourceFailed(
            f"{path} holds {held}; there is no table and no document to read.",
            hint="Readable endings are " + ", ".join(sorted(FORMATS)) + ".",
        )
    groups = [*_row_groups(path, rows), *_document_groups(path, texts, alone=not rows)]
    return Found(path, tuple(groups), tuple(file for file in files if not _format(file)))


def _single(path: Path) -> FileGroup:
    kind = _format(path)
    if not kind:
        raise SourceFailed(
            f"{path} has an ending that cannot be read ({path.suffix or 'none'}).",
            hint="Readable endings are " + ", ".join(sorted(FORMATS)) + ".",
        )
    return FileGroup(path.stem, path.parent, path.name, (path,), kind)


def _format(path: Path) -> str:
    return FORMATS.get(path.suffix.lower(), "")


def _is_report(path: Path) -> bool:
    """Whether a workbook is more than one table: it has several sheets, or cannot be read as a table."""
    if _format(path) != "xlsx":
        return False
    try:
        return len(sheet_names(path)) > 1
    except SourceFailed:
        return True


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in folder.rglob("*"):
        hidden = any(step.startswith((".", "~$")) for step in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            found.append(path)
        if len(found) > _MOST_FILES:
            raise InvalidArgument(
                f"--data {folder} holds more than {_MOST_FILES:,} files.", hint="Name folders further down."
            )
    return sorted(found)


def _row_groups(root: Path, files: Sequence[Path]) -> list[FileGroup]:
    alike: dict[tuple[Path, str, str], list[Path]] = {}
    for file in files:
        stem = _TRAILING.sub("", file.stem) or file.stem
        alike.setdefault((file.parent, stem, file.suffix), []).append(file)
    groups: list[FileGroup] = []
    known = set(files)
    for (folder, stem, suffix), members in alike.items():
        pattern = f"{glob.escape(stem)}*{glob.escape(suffix)}"
        matched = sorted(file for file in folder.glob(pattern) if file in known)
        if len(members) > 1 and matched == members:
            groups.append(_group(stem, root, folder, pattern, members))
        else:
            groups.extend(_group(file.stem, root, folder, file.name, [file]) for file in members)
    return groups


def _group(name: str, root: Path, folder: Path, pattern: str, files: Iterable[Path]) -> FileGroup:
    below = folder.relative_to(root).as_posix()
    members = tuple(files)
    place = pattern if below == "." else f"{below if len(members) == 1 else glob.escape(below)}/{pattern}"
    return FileGroup(name, root, place, members, _format(members[0]))


def _document_groups(root: Path, files: Sequence[Path], *, alone: bool) -> list[FileGroup]:
    """All documents of a folder together; beside tables, which are not to be read as text, one group an ending."""
    if not files:
        return []
    if alone:
        return [FileGroup("documents", root, "**", tuple(files), "")]
    by_suffix: dict[str, list[Path]] = {}
    for file in files:
        by_suffix.setdefault(file.suffix, []).append(file)
    name = "documents" if len(by_suffix) == 1 else ""
    return [
        FileGroup(name or f"{suffix[1:].lower()}_documents", root, f"**/*{suffix}", tuple(members), "")
        for suffix, members in by_suffix.items()
    ]
