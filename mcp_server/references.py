"""How answers name things, so that an agent can hand a name back: `dp://`, `metric://` and `doc://` references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote

from semantic_layer.errors import InvalidArgument

DOC, DP = "doc://", "dp://"
_SCHEMES = {
    "product": DP,
    "products": DP,
    "metrics": "metric://",
    "dimension": "dim://",
    "dimensions": "dim://",
}
"""What refers to the things that an argument names."""


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
    """The text that a reference names; a document's slashes may be escaped or not. Raises InvalidArgument where it has
    none of the two forms."""
    parts = [unquote(part) for part in text.removeprefix(DOC).split("/")]
    if text.startswith(DOC) and all(parts):
        match parts:
            case [product, passage]:
                return TextReference(product, passage=passage)
            case [product, dataset, *document] if document:
                return TextReference(product, dataset=dataset, document="/".join(document))
            case _:
                pass
    raise InvalidArgument(
        f"{text[:100]!r} names no text.", hint="Use doc://product/passage or doc://product/dataset/document."
    )


def without_references(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in which references stand as the names that they hold: what one tool shows, another one takes.

    `dp://orders` is a product, `dp://orders/returns` a dataset, and tells its product where none is given.
    """
    named = {name: _named(name, value) for name, value in raw.items()}
    dataset = named.get("dataset")
    if isinstance(dataset, str) and dataset.startswith(DP):
        product, _, name = dataset.removeprefix(DP).partition("/")
        if name and named.get("product", product) == product:
            return {**named, "product": product, "dataset": name}
    return named


def _named(argument: str, value: Any) -> Any:
    """The value of one argument, its references of the argument's own kind replaced by names."""
    scheme = _SCHEMES.get(argument)
    if scheme is None:
        return value
    if isinstance(value, list):
        return [_named(argument, one) for one in cast("list[Any]", value)]
    if not isinstance(value, str) or not value.startswith(scheme):
        return value
    parts = value.removeprefix(scheme).split("/")
    return parts[-1] if len(parts) == (1 if scheme == DP else 2) else value


def product_reference(product: str) -> str:
    """How the catalogue names a product."""
    return f"dp://{product}"


def dataset_reference(product: str, dataset: str) -> str:
    """How the catalogue names a dataset."""
    return f"dp://{product}/{dataset}"


def metric_reference(product: str, metric: str) -> str:
    """How the catalogue names a metric."""
    return f"metric://{product}/{metric}"
