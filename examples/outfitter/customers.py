"""Customers: who buys, with the personal data that policies must protect."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import NamedTuple

from examples.outfitter.clock import FIRST_DAY, LAST_DAY
from examples.outfitter.words import people_words


class Customer(NamedTuple):
    """One customer account; `region` decides which analysts may see the row."""

    customer_id: str
    first_name: str
    last_name: str
    email: str
    phone: str
    birth_date: date
    street: str
    postal_code: str
    city: str
    country: str
    region: str
    segment: str
    loyalty_tier: str
    marketing_consent: bool
    registered_on: date


REGION_WEIGHTS = {"EU": 46, "US": 24, "UK": 18, "APAC": 12}
SEGMENT_WEIGHTS = {"consumer": 62, "club": 27, "business": 11}
TIER_WEIGHTS = {"none": 48, "trail": 30, "ridge": 16, "summit": 6}

COUNTRIES = {
    "EU": {"DE": 38, "FR": 20, "NL": 14, "IT": 12, "ES": 9, "PL": 7},
    "US": {"US": 100},
    "UK": {"GB": 100},
    "APAC": {"AU": 42, "JP": 28, "SG": 18, "NZ": 12},
}

CUSTOMER_COUNT = 4_000


def make_customers(seed: int, count: int = CUSTOMER_COUNT) -> list[Customer]:
    """That many customers with ids C00001 …, the same for the same seed."""
    draw = random.Random(f"{seed}:customers")
    return [_customer(draw, number) for number in range(1, count + 1)]


def _customer(draw: random.Random, number: int) -> Customer:
    region = pick(draw, REGION_WEIGHTS)
    country = pick(draw, COUNTRIES[region])
    words = people_words()
    first, last = draw.choice(words.first_names), draw.choice(words.last_names)
    provider = draw.choice(("example.com", "example.org", "example.net"))
    # A third of the accounts are older than the data: they registered before the first order on record.
    earliest = FIRST_DAY - timedelta(days=540)
    registered = earliest + timedelta(days=draw.randrange((LAST_DAY - earliest).days))
    return Customer(
        customer_id=f"C{number:05d}",
        first_name=first,
        last_name=last,
        email=f"{_ascii(first)}.{_ascii(last)}{number}@{provider}",
        phone=_phone(draw, country),
        birth_date=date(1945, 1, 1) + timedelta(days=draw.randrange(22_000)),
        street=f"{draw.randrange(1, 190)} {draw.choice(words.streets)}",
        postal_code=f"{draw.randrange(10_000, 99_999)}",
        city=draw.choice(words.cities[country]),
        country=country,
        region=region,
        segment=pick(draw, SEGMENT_WEIGHTS),
        loyalty_tier=pick(draw, TIER_WEIGHTS),
        marketing_consent=draw.random() < 0.44,
        registered_on=registered,
    )


def _phone(draw: random.Random, country: str) -> str:
    """A number from the ranges that regulators reserve for fiction, where the country has one."""
    tail = draw.randrange(100)
    if country == "US":
        return f"+1 555 01{tail:02d}"
    if country == "GB":
        return f"+44 7700 900{draw.randrange(1000):03d}"
    if country == "DE":
        return f"+49 30 23125{draw.randrange(1000):03d}"
    if country == "AU":
        return f"+61 491 570 {draw.randrange(1000):03d}"
    return f"+00 555 {draw.randrange(1000):03d} {tail:02d}"


def _ascii(name: str) -> str:
    table = str.maketrans("äéëíöøüóą", "aeeioouoa")
    return name.lower().replace("'", "").translate(table)


def pick(draw: random.Random, weights: dict[str, int]) -> str:
    """One key, as likely as its weight."""
    return draw.choices(list(weights), weights=list(weights.values()))[0]
