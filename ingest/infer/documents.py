"""The front matter of a folder's Markdown files as columns of its documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingest.infer.columns import InferredColumn, infer_columns
from ingest.infer.files import FileGroup
from ingest.infer.profile import profile_rows
from ingest.parse.encoding import decode
from ingest.parse.front_matter import split_front_matter
from ingest.parse.media import FORMATS
from semantic_layer.contract_columns import DOCUMENT_COLUMNS
from semantic_layer.errors import SourceFailed
from semantic_layer.product import ColumnType

_MOST_FILES = 2_000
_BUILT_IN = frozenset(column.name for column in DOCUMENT_COLUMNS)


def document_columns(group: FileGroup) -> tuple[InferredColumn, ...]:
    """The keys of the files' front matter with their types; none where no file has any.

    A file whose front matter cannot be read is passed over here: the ingest names it.
    """
    markdown = [file for file in group.files if FORMATS.get(file.suffix.lower()) == "md"]
    profile = profile_rows(_front_matter(markdown[:_MOST_FILES]), untyped=False)
    columns, _ = infer_columns(profile, group.name, nested=False)
    return tuple(
        InferredColumn(one.name, one.type, source=one.source, items=one.items, personal=one.personal)
        for one in columns
        if one.name not in _BUILT_IN and one.type is not ColumnType.OBJECT
    )


def _front_matter(files: list[Any]) -> Iterator[Mapping[str, Any]]:
    for file in files:
        try:
            values, _ = split_front_matter(decode(file.read_bytes(), file), file)
        except (SourceFailed, OSError):
            continue
        yield values
