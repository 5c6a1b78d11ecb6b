"""How answers name things, so that an agent can hand a name back: `dp://`, `metric://` and `doc://` references."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from semantic_layer.errors import InvalidArgument

DOC = "doc://"


@dataclass(frozen=True)
class TextReference:
    """A passage by its id, or a document of a dataset by its name."""

    product: str
    passage: str = ""
    dataset: str = ""
    document: str = ""

    def __str__(self) -> str:
        parts = [self.product, self.passage] if self.passage else [self.product, self.dataset, self.document]
        return DOC + "/".join(quote(part, safe="") for part in parts)


def parse_text_reference(text: str) -> TextReference:
    """The text that a reference names. Raises InvalidArgument where it has none of the two forms."""
    parts = [unquote(part) for part in text.removeprefix(DOC).split("/")]
    if text.startswith(DOC) and all(parts):
        match parts:
            case [product, passage]:
                return TextReference(product, passage=passage)
            case [product, dataset, document]:
                return TextReference(product, dataset=dataset, document=document)
            case _:
                pass
    raise InvalidArgument(
        f"{text[:100]!r} names no text.", hint="Use doc://product/passage or doc://product/dataset/document."
    )


def product_reference(product: str) -> str:
    """How the catalogue names a product."""
    return f"dp://{product}"


def dataset_reference(product: str, dataset: str) -> str:
    """How the catalogue names a dataset."""
    return f"dp://{product}/{dataset}"


def metric_reference(product: str, metric: str) -> str:
    """How the catalogue names a metric."""
    return f"metric://{product}/{metric}"
