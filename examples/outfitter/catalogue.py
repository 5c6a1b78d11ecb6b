"""The product catalogue: nested JSON documents with prose that was put together from what each item is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from examples.outfitter.words import Category, catalogue_words

ITEM_COUNT = 400
COLOURS = (
    "bracken", "charcoal", "chalk", "clay", "dusk blue", "fern", "graphite", "heather", "ink", "mustard", "oat",
    "pine", "rust", "sea grey", "signal red", "slate", "stone", "storm blue", "teal", "walnut",
)  # fmt: skip
SEASONS = ("all year", "spring", "summer", "autumn", "winter")


@dataclass(frozen=True)
class Variant:
    """What is sold: one size of an item. Prices are in cents and include VAT where there is one."""

    sku: str
    size: str
    price_cents: int
    barcode: str


@dataclass(frozen=True)
class Item:
    """One catalogue document. `features` is not written out: it only chose the prose and the tags."""

    product_id: str
    name: str
    category: str
    gender: str
    status: str
    launched_on: date
    description: str
    colour: str
    material: str
    season: str
    origin: str
    from_price_cents: int
    weight_grams: int
    variants: tuple[Variant, ...]
    features: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The nested JSON document as the catalogue service would store it."""
        return {
            "product_id": self.product_id,
            "name": self.name,
            "category": self.category,
            "gender": self.gender,
            "status": self.status,
            "launched_on": self.launched_on.isoformat(),
            "description": self.description,
            "from_price_cents": self.from_price_cents,
            "attributes": {
                "colour": self.colour,
                "material": self.material,
                "season": self.season,
                "origin": self.origin,
                "weight_grams": self.weight_grams,
            },
            "variants": [asdict(variant) for variant in self.variants],
            "tags": sorted({self.category, self.material, *self.features}),
        }


def make_items(seed: int, count: int = ITEM_COUNT) -> list[Item]:
    """That many items with ids P0001 …, every category equally often, the same for the same seed."""
    draw = random.Random(f"{seed}:catalogue")
    names: set[str] = set()
    categories = catalogue_words().categories
    return [_item(draw, number, categories[number % len(categories)], names) for number in range(1, count + 1)]


def _item(draw: random.Random, number: int, category: Category, names: set[str]) -> Item:
    product_id = f"P{number:04d}"
    gender = draw.choice(category.genders)
    noun = draw.choice(category.nouns)
    material = draw.choice(category.materials)
    features = _two(draw, category.features)
    name = _name(draw, noun, material, names)
    colour = draw.choice(COLOURS)
    base = draw.randrange(*category.price_euros) * 100 + draw.choice((0, 50, 90, 95))
    return Item(
        product_id=product_id,
        name=name,
        category=category.name,
        gender=gender,
        status="discontinued" if draw.random() < 0.08 else "active",
        launched_on=date(2021, 3, 1) + timedelta(days=draw.randrange(1_400)),
        description=_description(draw, category, name, noun, gender, material, features, colour),
        colour=colour,
        material=material,
        season=draw.choice(SEASONS),
        origin=draw.choice(catalogue_words().places),
        from_price_cents=base,
        weight_grams=draw.randrange(*category.weight_grams),
        variants=tuple(_variants(product_id, category, base)),
        features=features,
    )


def _two(draw: random.Random, names: tuple[str, ...]) -> tuple[str, str]:
    first = draw.randrange(len(names))
    second = (first + draw.randrange(1, len(names))) % len(names)
    return names[first], names[second]


def _name(draw: random.Random, noun: str, material: str, taken: set[str]) -> str:
    """A range, a material and a noun that no other item has."""
    spoken = catalogue_words()
    while True:
        name = f"{draw.choice(spoken.ranges)} {spoken.materials[material].short} {noun}"
        if name not in taken:
            taken.add(name)
            return name


def _description(
    draw: random.Random,
    category: Category,
    name: str,
    noun: str,
    gender: str,
    material: str,
    features: tuple[str, str],
    colour: str,
) -> str:
    wearer = {"unisex": "everybody", "kids": "children"}.get(gender, gender)
    words: Mapping[str, str] = {"name": name, "noun": noun.lower(), "gender": wearer, "colour": colour}
    spoken = catalogue_words()
    sentences = [
        draw.choice(category.openings),
        draw.choice(spoken.materials[material].sentences),
        draw.choice(spoken.features[features[0]]),
        draw.choice(spoken.features[features[1]]),
        draw.choice(category.fits),
        spoken.materials[material].care,
        draw.choice(spoken.closings),
    ]
    return " ".join(sentence.format(**words) for sentence in sentences)


def _variants(product_id: str, category: Category, base: int) -> list[Variant]:
    """One variant a size; the two largest sizes of a long range cost five euros more."""
    sizes = category.sizes
    return [
        Variant(
            sku=f"{product_id}-{size.replace(' ', '')}",
            size=size,
            price_cents=base + (500 if len(sizes) > 4 and place >= len(sizes) - 2 else 0),
            barcode=f"40{int(product_id[1:]):06d}{place:04d}",
        )
        for place, size in enumerate(sizes)
    ]
