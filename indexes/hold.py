"""A reader's hold on a sealed generation: while it stands, no process removes the folder, and a kill lets go of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from indexes.generation import MANIFEST
from semantic_layer.errors import EngineUnavailable, UnknownName


class Hold:
    """A shared lock on a generation's manifest, among all processes that see the home. Closed once or more often."""

    def __init__(self, folder: Path) -> None:
        """Raises UnknownName where no generation lies there, or was removed just now."""
        self._descriptor = _opened(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            _require_in_place(folder, self._descriptor)
        except OSError as error:
            self.close()
            raise EngineUnavailable(
                f"{folder} cannot be held: {error.strerror}.",
                hint="The home must lie on a file system with locks (flock); those of NFS 4 are.",
            ) from error
        except UnknownName:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


@contextlib.contextmanager
def alone_with(folder: Path) -> Generator[bool]:
    """Whether nobody holds the generation; then nobody can until the block ends. Raises UnknownName."""
    # NFS gives an exclusive lock only to who may write; whoever only looks may have a file system read-only.
    descriptor = _opened(folder, os.O_RDWR, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            _require_in_place(folder, descriptor)
            yield True
    finally:
        os.close(descriptor)


def _opened(folder: Path, *modes: int) -> int:
    """The manifest in the first of these modes that is allowed."""
    for last, mode in enumerate(modes, 1 - len(modes)):
        try:
            return os.open(folder / MANIFEST, mode)
        except FileNotFoundError:
            raise _absent(folder) from None
        except OSError as error:
            if not last or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
    raise AssertionError("unreachable")


def _require_in_place(folder: Path, descriptor: int) -> None:
    """A folder that was moved away before the lock was had is not the generation any more."""
    try:
        standing = (folder / MANIFEST).stat()
    except FileNotFoundError:
        raise _absent(folder) from None
    if not os.path.samestat(standing, os.fstat(descriptor)):
        raise _absent(folder)


def _absent(folder: Path) -> UnknownName:
    return UnknownName("generation", folder.name, hint=f"Nothing is sealed at {folder}.")
