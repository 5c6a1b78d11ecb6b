"""What a file is: its format by name, held against the first bytes of its content."""

from __future__ import annotations

from pathlib import Path

from semantic_layer.errors import SourceFailed

FORMATS = {
    ".md": "md", ".markdown": "md", ".txt": "txt", ".text": "txt", ".html": "html", ".htm": "html",
    ".xhtml": "html", ".pdf": "pdf", ".docx": "docx", ".docm": "docx", ".pptx": "pptx", ".pptm": "pptx",
    ".xlsx": "xlsx", ".xlsm": "xlsx", ".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".parquet": "parquet",
}  # fmt: skip
"""File name endings (lower case) and the format each is read as. Macros in docm, pptm and xlsm never run."""

_OFFICE = "application/vnd.openxmlformats-officedocument."
MEDIA_TYPES = {
    "md": "text/markdown",
    "txt": "text/plain",
    "html": "text/html",
    "pdf": "application/pdf",
    "docx": _OFFICE + "wordprocessingml.document",
    "pptx": _OFFICE + "presentationml.presentation",
    "xlsx": _OFFICE + "spreadsheetml.sheet",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}

_ZIP = "a ZIP or Office file"
_OLE = "an encrypted or pre-2007 Office file"
_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", _ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
_EXPECTED = {"pdf": "a PDF", "docx": _ZIP, "pptx": _ZIP, "xlsx": _ZIP, "parquet": "a Parquet file"}


def format_of(path: Path) -> str:
    """The format of a file: its ending, when its first bytes do not contradict it.

    Raises SourceFailed for an ending that cannot be read, an empty or missing file, or a content of another kind.
    """
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        raise SourceFailed(
            f"{path} has an ending that cannot be read ({path.suffix or 'none'}).",
            hint="Supported are " + ", ".join(sorted(FORMATS)) + ": convert it, or leave it out of the path.",
        )
    found = _sniff(path)
    wanted = _EXPECTED.get(known, "")
    if found == wanted or (known == "pdf" and not found):
        return known  # a PDF may begin with other bytes; its reader judges
    if found == _OLE and wanted == _ZIP:
        raise SourceFailed(
            f"{path} is {_OLE}.",
            hint="Remove its password, or save it in today's Office format, and ingest again.",
        )
    if found:
        raise SourceFailed(f"{path} is named {path.suffix} but is {found}.", hint="Give it its right ending.")
    raise SourceFailed(f"{path} is not {wanted}: it is empty, cut off or damaged.", hint="Replace the file.")


def _sniff(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise SourceFailed(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check that it exists and may be read."
        ) from error
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), "")
