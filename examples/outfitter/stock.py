"""Daily stock levels by warehouse and product group, with one warehouse whose feed arrives late."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import NamedTuple

from examples.outfitter.clock import LAST_DAY, days
from examples.outfitter.words import catalogue_words

WAREHOUSES = {"Leipzig": "EU", "Reno": "US", "Daventry": "UK", "Singapore": "APAC"}
FIRST_STOCK_DAY = date(2025, 2, 1)
FEED_ENDS = dict.fromkeys(WAREHOUSES, LAST_DAY) | {"Singapore": LAST_DAY - timedelta(days=9)}
"""Singapore's file for the last nine days never came, so the newest day holds three warehouses only."""
BANDS = ("entry", "core", "premium", "outlet")


class StockLevel(NamedTuple):
    """Units on hand at the end of one day. A level, not a flow: it must never be added up over days."""

    day: date
    warehouse: str
    region: str
    product_group: str
    category: str
    units_on_hand: int
    units_on_order: int
    unit_cost_cents: int


def make_stock(seed: int) -> list[StockLevel]:
    """One row a day, warehouse and product group from FIRST_STOCK_DAY until the warehouse's feed ends."""
    draw = random.Random(f"{seed}:stock")
    groups = [
        (f"{category.name}/{band}", category.name) for category in catalogue_words().categories for band in BANDS
    ]
    levels = {(warehouse, group): draw.randrange(80, 900) for warehouse in WAREHOUSES for group, _ in groups}
    costs = {group: draw.randrange(1_200, 16_000) for group, _ in groups}
    rows: list[StockLevel] = []
    for day in days(FIRST_STOCK_DAY, LAST_DAY):
        for warehouse, region in WAREHOUSES.items():
            if day > FEED_ENDS[warehouse]:
                continue
            for group, category in groups:
                level = levels[warehouse, group]
                sold = min(level, draw.randrange(0, 26))
                arrived = draw.randrange(150, 700) if level < 60 and draw.random() < 0.35 else 0
                level = levels[warehouse, group] = level - sold + arrived
                on_order = 0 if level > 120 else draw.randrange(100, 600)
                rows.append(StockLevel(day, warehouse, region, group, category, level, on_order, costs[group]))
    return rows
