"""Office files are ZIP archives of XML; this refuses the ones that are damaged or made to exhaust a reader."""

from __future__ import annotations

import zipfile
from pathlib import Path

from semantic_layer.errors import SourceFailed

_LARGEST = 512 * 1024 * 1024
_DENSEST = 200
_HARMLESS = 1024 * 1024
_MOST_PARTS = 20_000


def check_archive(path: Path) -> None:
    """Raise SourceFailed where an Office file is no ZIP archive, unpacks to too much, or declares XML entities.

    Bounds: 512 MiB unpacked, 200 times its packed size (from 1 MiB on), 20,000 parts. Sizes are those that the
    archive declares; Python's reader stops at them. Office formats have no document types, so any is refused.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_sizes(path, parts)
            for part in parts:
                if part.filename.endswith((".xml", ".rels")):
                    with archive.open(part) as file:
                        head = file.read(4096)
                    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
                        raise SourceFailed(
                            f"{path} declares XML entities in {part.filename}, which no Office program writes.",
                            hint="Leave it out of the path, or save it again from its source.",
                        )
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> SourceFailed:
    """The failure of an Office file whose inside cannot be read."""
    reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return SourceFailed(
        f"{path} is damaged or not the Office file its name says ({reason[:200]}).",
        hint="Open it in its program, save it again, and ingest again.",
    )


def _check_sizes(path: Path, parts: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(part.file_size for part in parts)
    packed = max(1, sum(part.compress_size for part in parts))
    hint = "Leave it out of the path, or save it again from its source."
    if unpacked > _LARGEST or len(parts) > _MOST_PARTS:
        raise SourceFailed(
            f"{path} unpacks to {unpacked / 1048576:,.0f} MiB in {len(parts):,} parts,"
            f" more than {_LARGEST // 1048576} MiB or {_MOST_PARTS:,} parts.",
            hint=hint,
        )
    if unpacked > _HARMLESS and unpacked > _DENSEST * packed:
        raise SourceFailed(
            f"{path} unpacks to {unpacked // packed:,} times its size, more than {_DENSEST} times.", hint=hint
        )
