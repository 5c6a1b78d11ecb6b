"""Profiles become columns of a contract: names, types, the key, what is searched, and what is personal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingest.infer.names import Names, plain_name, words_of
from ingest.infer.personal import personal_by_name
from ingest.infer.profile import ColumnProfile, Profile
from semantic_layer.product import ColumnType

_FEWEST_ROWS = 10
_KEY_WORDS = frozenset({"id", "key", "uuid", "guid", "code", "no", "nr", "number", "sku", "isbn", "ean", "ref"})
_TITLE_WORDS = frozenset({"title", "subject", "headline", "name", "titel", "betreff"})
_CODE_WORDS = frozenset({"phone", "telefon", "mobile", "fax", "ean", "gtin", "isbn", "barcode", "iban", "ssn"})
_MOST_DIGITS = 18
_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER)


@dataclass(frozen=True)
class InferredColumn:
    """One property to be written. `source` is its name in the file, `path` its JSON path, where they differ."""

    name: str
    type: ColumnType
    source: str = ""
    path: str = ""
    items: ColumnType | None = None
    scale: int | None = None
    required: bool = False
    unique: bool = False
    key: bool = False
    text: bool = False
    title: bool = False
    personal: bool = False
    personal_text: bool = False

    @property
    def is_moment(self) -> bool:
        """Whether it says when."""
        return self.type in (ColumnType.DATE, ColumnType.TIMESTAMP)


def infer_columns(
    profile: Profile, dataset: str, *, nested: bool
) -> tuple[tuple[InferredColumn, ...], tuple[str, ...]]:
    """The columns that a profile shows, in its order, and what a person should know of the others.

    `nested` says that the profile's sources are JSON paths.
    """
    names = Names()
    columns: list[InferredColumn] = []
    notes: list[str] = []
    proven = profile.complete and profile.rows >= _FEWEST_ROWS
    for number, seen in enumerate(profile.columns, 1):
        kind = seen.type
        shown = _shown(seen.source)
        if kind is None:
            notes.append(f"column {shown!r} has values of no one type that a contract knows; it is left out")
            continue
        name = names.unique(plain_name(shown, f"column_{number}"))
        column = _column(seen, name, kind, dataset, nested=nested)
        full = seen.filled == profile.rows
        unique = not seen.repeated and seen.filled > 1 and column.type in (ColumnType.STRING, ColumnType.INTEGER)
        columns.append(replace(column, required=full and proven, unique=unique and full))
        almost = seen.texts.almost if column.type is ColumnType.STRING else ""
        if almost and not column.personal and not _is_code(seen.source):
            notes.append(f"{name} {almost}")
        if column.personal_text:
            notes.append(f"{name} has e-mail addresses or accounts in its texts: personal, not searched")
    return _titled(_keyed(columns, complete=profile.complete)), tuple(notes)


def _column(seen: ColumnProfile, name: str, kind: ColumnType, dataset: str, *, nested: bool) -> InferredColumn:
    by_name = personal_by_name(_shown(seen.source), dataset)
    if kind in _NUMERIC and ColumnType.STRING in seen.kinds and _is_code(seen.source):
        kind = ColumnType.STRING
    prose = seen.texts.are_prose and kind is ColumnType.STRING
    personal = by_name or seen.texts.are_personal
    plain = f"$.{name}" if nested else name
    return InferredColumn(
        name=name,
        type=kind,
        source="" if nested or seen.source == name else seen.source,
        path=seen.source if nested and seen.source != plain else "",
        items=_item_type(seen) if kind is ColumnType.ARRAY else None,
        scale=_scale(seen) if kind is ColumnType.NUMBER else None,
        text=prose and not personal,
        personal=personal,
        personal_text=prose and personal and not by_name,
    )


def _item_type(seen: ColumnProfile) -> ColumnType:
    return ColumnType.OBJECT if seen.item_type is ColumnType.ARRAY else seen.item_type


def _is_code(source: str) -> bool:
    """Whether digits here are a code and no number: nobody adds up telephone numbers."""
    return bool(words_of(source) & _CODE_WORDS)


def _scale(seen: ColumnProfile) -> int | None:
    """The digits after the point, where all values have as many: prices and other exact amounts."""
    scales = seen.scales - {0}
    if len(scales) != 1 or ColumnType.STRING not in seen.kinds:
        return None
    scale = max(scales)
    return scale if scale <= 4 and seen.digits + scale <= _MOST_DIGITS else None


def _shown(source: str) -> str:
    """A JSON path as words: `$.attributes.colour` is `attributes colour`."""
    if not source.startswith("$"):
        return source
    return source[1:].replace("['", ".").replace("']", "").replace(".", " ").strip()


def _keyed(columns: Sequence[InferredColumn], *, complete: bool) -> list[InferredColumn]:
    """One unique column is the key: the likeliest by name and place, personal ones last.

    Where not every row was seen, only a column that is named like a key is one.
    """
    candidates = [
        (column.personal, not _names_a_key(column), place)
        for place, column in enumerate(columns)
        if column.unique and not column.text and (_names_a_key(column) or (place == 0 and complete))
    ]
    chosen = min(candidates)[2] if candidates else -1
    return [
        replace(
            column,
            key=place == chosen,
            required=column.required or place == chosen,
            unique=column.unique and complete and _names_a_key(column) and place != chosen,
        )
        for place, column in enumerate(columns)
    ]


def _names_a_key(column: InferredColumn) -> bool:
    return bool(words_of(column.name) & _KEY_WORDS)


def _titled(columns: Sequence[InferredColumn]) -> tuple[InferredColumn, ...]:
    """Where texts are searched, a column such as `title` or `subject` heads them."""
    if not any(column.text for column in columns):
        return tuple(columns)
    heads = [
        place
        for place, column in enumerate(columns)
        if column.type is ColumnType.STRING and not column.personal and words_of(column.name) & _TITLE_WORDS
    ]
    return tuple(replace(column, title=place in heads[:1]) for place, column in enumerate(columns))
