"""Files that survive a crash: written whole, flushed, then shown under their name at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from semantic_layer.errors import CorruptGeneration, NewerFormat, OutOfSpace


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename or link in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Flush a file's bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_full_named(folder: Path) -> Generator[None]:
    """Turn "no space left" and "file too large" into OutOfSpace that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutOfSpace(
                f"no space left while writing under {folder}.",
                hint="Free some space and run the same command again.",
            ) from error
        raise


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, a final newline; equal data give equal bytes."""
    return (json.dumps(data, sort_keys=True, ensure_ascii=False, indent=1, default=str) + "\n").encode()


def _write_aside(path: Path, content: bytes) -> Path:
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    with disk_full_named(path.parent):
        try:
            with aside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    return aside


def create_exclusively(path: Path, content: bytes) -> bool:
    """Show `content` under `path` unless the name is taken; True when this call created it.

    The name appears with all its bytes or not at all (a hard link to a flushed file), also after a crash.
    """
    aside = _write_aside(path, content)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    fsync_folder(path.parent)
    return True


def replace_atomically(path: Path, content: bytes) -> None:
    """Put `content` under `path`, in place of what was there; readers see the old or the new, whole."""
    aside = _write_aside(path, content)
    aside.replace(path)
    fsync_folder(path.parent)


def read_json(path: Path, newest_format: int) -> dict[str, Any]:
    """A JSON object of ours. Raises CorruptGeneration where it does not parse, NewerFormat where it is newer."""
    return parse_json(path.read_bytes(), newest_format, str(path))


def parse_json(content: bytes | str, newest_format: int, where: str) -> dict[str, Any]:
    """As `read_json`, of what was read already; `where` names it in errors."""
    try:
        data = json.loads(content)
        number = int(data["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptGeneration(
            f"{where} is not a readable record of ours.",
            hint="Restore it from a backup, or remove the home and ingest.",
        ) from error
    if number > newest_format:
        raise NewerFormat(
            f"{where} has format {number}; this version reads up to {newest_format}.", hint="Upgrade wellhead."
        )
    return data


def sha256_of_file(path: Path) -> str:
    """The hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
