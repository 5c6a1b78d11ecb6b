"""Names for products, datasets and columns made from file names and headers, unique and plain."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 60
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plain_name(text: str, fallback: str) -> str:
    """The text as a name of lower case letters, digits and underscores: `Order ID` and `orderId` give `order_id`.

    Accents are dropped. `fallback` stands where nothing is left, as in a script without Latin letters, and before
    a leading digit.
    """
    decomposed = unicodedata.normalize("NFKD", _CAMEL.sub("_", text))
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    name = _NOT_PLAIN.sub("_", letters.casefold()).strip("_")[:_LONGEST].rstrip("_")
    if not name:
        return fallback
    return f"{fallback}_{name}" if name[0].isdigit() else name


class Names:
    """Hands out names that differ from each other, case ignored."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found


def words_of(name: str) -> frozenset[str]:
    """The words of a column's source name, lower case and without accents."""
    return frozenset(plain_name(name, "").split("_"))
