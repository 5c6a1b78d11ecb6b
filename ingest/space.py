"""A disk that fills up, whichever library was writing, named as what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from indexes.durable import disk_full_named
from semantic_layer.errors import OutOfSpace, WellheadError

_SAID = ("No space left", "File too large", "Disk quota exceeded")
"""How the operating system's words come through engines that have error classes of their own."""


@contextlib.contextmanager
def out_of_space_named(folder: Path) -> Generator[None]:
    """Turn "no space left" from any engine into OutOfSpace that names the folder; other errors pass."""
    try:
        with disk_full_named(folder):
            yield
    except WellheadError:
        raise
    except Exception as error:
        if any(said in str(error) for said in _SAID):
            raise OutOfSpace(
                f"no space left while writing under {folder}.",
                hint="Free some space and run the same command again.",
            ) from error
        raise
