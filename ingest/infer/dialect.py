"""How a text file of rows is written: its encoding and delimiter, found by trying; a guess is called one."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from charset_normalizer import from_bytes

from ingest.parse.encoding import encoding_of
from semantic_layer.errors import SourceFailed

_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 18
_LIKELIEST = "cp1252"


@dataclass(frozen=True)
class Dialect:
    """What a contract's server must declare to read the file; empty where the defaults do."""

    encoding: str = ""
    delimiter: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def options(self) -> Mapping[str, str]:
        """As the contract's server holds it."""
        given = {"encoding": self.encoding, "delimiter": self.delimiter}
        return {key: value for key, value in given.items() if value}


PLAIN = Dialect()


def dialect_of(path: Path, kind: str) -> Dialect:
    """How a file of the format `kind` is written. Raises SourceFailed where no encoding reads it to its end."""
    if kind not in ("csv", "tsv", "json", "jsonl"):
        return PLAIN
    encoding, declared, notes = _encoding(path)
    if kind in ("json", "jsonl"):
        return Dialect(declared, notes=notes)
    default = "\t" if kind == "tsv" else ","
    delimiter = _delimiter(path, encoding, default)
    return Dialect(declared, "" if delimiter == default else delimiter, notes)


def _encoding(path: Path) -> tuple[str, str, tuple[str, ...]]:
    """The encoding that reads the file, what a contract must declare for that, and notes."""
    try:
        return encoding_of(path), "", ()
    except SourceFailed as undecodable:
        guess = _guessed(path)
        if not guess:
            raise
        try:
            encoding = encoding_of(path, guess)
        except SourceFailed:
            raise undecodable from None
    return encoding, guess, (f"{path.name} is not UTF-8; it is declared as {guess}, a guess: look at its accents",)


def _guessed(path: Path) -> str:
    """A guess from those lines that are not plain ASCII: most of a file says nothing about its encoding."""
    with path.open("rb") as file:
        lines = [line for line in file.read(_SAMPLE).splitlines(keepends=True) if not line.isascii()]
        if not lines:
            lines = list(islice((line for line in file if not line.isascii()), 1_000))
    found = from_bytes(b"".join(lines)).best()
    if found is None:
        return ""
    return _LIKELIEST if _LIKELIEST in found.could_be_from_charset else found.encoding.replace("_", "-")


def _delimiter(path: Path, encoding: str, default: str) -> str:
    """The mark that parts the header's fields: the one with most fields, the format's own where none parts it."""
    with path.open(encoding=encoding, newline="") as file:
        line = next((line for line in file if line.strip()), "")
    fields = {mark: len(next(csv.reader([line], delimiter=mark), [])) for mark in _DELIMITERS}
    best = max(fields, key=lambda mark: (fields[mark], mark == default))
    return best if fields[best] > max(fields[default], 1) else default
