"""`${NAME}` in a contract's servers: filled in from the environment when a server is used, never kept in files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from semantic_layer.errors import InvalidArgument

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORD = re.compile(r"://[^/@\s:]*:(?!\$\{)[^/@\s]+@|(?:^|\s)password\s*=\s*(?!\$\{)\S")


def variables_in(text: str) -> tuple[str, ...]:
    """The names of the variables that a text refers to, in order."""
    return tuple(_REFERENCE.findall(text))


def holds_password(text: str) -> bool:
    """Whether a connection string holds a password itself, and not as `${NAME}`."""
    return _PASSWORD.search(text) is not None


def filled(text: str, environment: Mapping[str, str], *, where: str) -> str:
    """The text with each `${NAME}` replaced by that variable's value.

    Raises InvalidArgument that names `where` the text stands and the first variable that is not set.
    """
    for name in _REFERENCE.findall(text):
        if not environment.get(name):
            raise InvalidArgument(
                f"{where} needs the environment variable {name}, which is not set.",
                hint=f"Set it, for example: export {name}=…",
            )
    return _REFERENCE.sub(lambda found: environment[found[1]], text)
