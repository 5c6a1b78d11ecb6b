"""Bytes become text by a byte order mark, by a declared encoding or as UTF-8; a guess is only ever a hint."""

from __future__ import annotations

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

from semantic_layer.errors import InvalidArgument, SourceFailed

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 1 << 20
_SAMPLE = 1 << 16


def encoding_of(path: Path, declared: str | None = None) -> str:
    """The encoding that a text file can be read in from start to end, checked by reading it once in blocks.

    Raises SourceFailed with file, line and byte offset where a byte does not fit, or where the file is binary;
    InvalidArgument when the declared encoding does not exist.
    """
    with path.open("rb") as file:
        encoding = _marked(file.read(4)) or _known(declared, path) or "utf-8"
        file.seek(0)
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        offset = lines = 0
        while block := file.read(_BLOCK):
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                at = max(0, error.start - pending)
                raise _undecodable(
                    path, offset + at, lines + block.count(b"\n", 0, at) + 1, block[at:], encoding
                ) from None
            if "\x00" in text:
                raise _binary(path, offset + max(0, block.find(b"\x00")))
            offset += len(block)
            lines += block.count(b"\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _undecodable(path, offset, lines + 1, b"", encoding) from None
    return encoding


def decode(data: bytes, path: Path, declared: str | None = None) -> str:
    """The text of a file's bytes. Raises as `encoding_of` does."""
    encoding = _marked(data) or _known(declared, path) or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _undecodable(path, error.start, line, data[error.start :], encoding) from None
    if "\x00" in text:
        raise _binary(path, max(0, data.find(b"\x00")))
    return text


def _marked(head: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "")


def _known(declared: str | None, path: Path) -> str:
    if not declared:
        return ""
    try:
        b"".decode(declared)  # also refuses codecs that give no text, such as hex
        return codecs.lookup(declared).name
    except LookupError:
        raise InvalidArgument(
            f"encoding {declared!r}, declared for {path.name}, does not exist.",
            hint="Use a name such as utf-8, cp1252, iso8859-15, utf-16 or shift_jis.",
        ) from None


def _binary(path: Path, offset: int) -> SourceFailed:
    return SourceFailed(
        f"{path} holds a NUL byte at byte {offset}: it is binary, or UTF-16 without a byte order mark.",
        hint="Save it as UTF-8, or declare its `encoding`.",
    )


def _undecodable(path: Path, offset: int, line: int, rest: bytes, encoding: str) -> SourceFailed:
    bad = f" (0x{rest[0]:02X})" if rest else " (the file ends inside a character)"
    guess = from_bytes(rest[:_SAMPLE]).best() if rest else None
    looks = f" It may be {guess.encoding}, which is a guess." if guess else ""
    return SourceFailed(
        f"{path}, line {line}: byte {offset}{bad} is not {encoding.upper()}.",
        hint=f"Save it as UTF-8, or declare its `encoding`.{looks}",
    )
