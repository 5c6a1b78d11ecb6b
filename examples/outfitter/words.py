"""The vocabulary that rows are made of: YAML files in `words/`, read once into values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent / "words"


@dataclass(frozen=True)
class Material:
    """A fabric: how product names shorten it, what descriptions say about it, and its care."""

    short: str
    sentences: tuple[str, ...]
    care: str


@dataclass(frozen=True)
class Category:
    """A kind of goods: what may be combined, and how its descriptions begin and speak of fit."""

    name: str
    nouns: tuple[str, ...]
    genders: tuple[str, ...]
    materials: tuple[str, ...]
    features: tuple[str, ...]
    sizes: tuple[str, ...]
    price_euros: tuple[int, int]
    weight_grams: tuple[int, int]
    openings: tuple[str, ...]
    fits: tuple[str, ...]


@dataclass(frozen=True)
class CatalogueWords:
    """What the catalogue is told with; `places` are ISO country codes with their names."""

    ranges: tuple[str, ...]
    places: tuple[str, ...]
    closings: tuple[str, ...]
    categories: tuple[Category, ...]
    materials: Mapping[str, Material]
    features: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Topic:
    """One kind of ticket, how often it comes, and its sentences."""

    name: str
    weight: int
    subjects: tuple[str, ...]
    openings: tuple[str, ...]
    middles: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """A ticket told in full; `region` is empty where it may have happened anywhere."""

    region: str
    topic: str
    subject: str
    body: str


@dataclass(frozen=True)
class TicketWords:
    """What tickets are told with."""

    topics: Mapping[str, Topic]
    details: tuple[str, ...]
    wishes: tuple[str, ...]
    notes: tuple[str, ...]
    stories: tuple[Story, ...]


@dataclass(frozen=True)
class PeopleWords:
    """What customers are made of; cities by ISO country code."""

    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    streets: tuple[str, ...]
    cities: Mapping[str, tuple[str, ...]]


@cache
def catalogue_words() -> CatalogueWords:
    """The words of `catalogue.yaml`."""
    read = _read("catalogue")
    return CatalogueWords(
        ranges=read["ranges"],
        places=tuple(read["places"]),
        closings=read["closings"],
        categories=tuple(Category(**one) for one in read["categories"]),
        materials={one.pop("name"): Material(**one) for one in read["materials"]},
        features=read["features"],
    )


@cache
def ticket_words() -> TicketWords:
    """The words of `tickets.yaml`."""
    read = _read("tickets")
    topics = (Topic(**one) for one in read.pop("topics"))
    stories = tuple(Story(**one) for one in read.pop("stories"))
    return TicketWords(topics={topic.name: topic for topic in topics}, stories=stories, **read)


@cache
def people_words() -> PeopleWords:
    """The words of `people.yaml`."""
    return PeopleWords(**_read("people"))


def _read(name: str) -> dict[str, Any]:
    return _frozen(yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def _frozen(value: Any) -> Any:
    """The value with every list as a tuple."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(inner) for inner in value)
    return value
