"""Web visits of the last fiscal year: a one-in-five sample of sessions, some of which ended in an order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from examples.outfitter.clock import BERLIN, LAST_DAY, berlin_day, days
from examples.outfitter.customers import REGION_WEIGHTS, pick
from examples.outfitter.sales import Order

VISIT_COUNT = 30_000
FIRST_VISIT_DAY = date(2025, 2, 1)
SOURCE_WEIGHTS = {"search": 38, "direct": 24, "newsletter": 15, "social": 14, "partner": 9}
DEVICE_WEIGHTS = {"phone": 61, "desktop": 31, "tablet": 8}
LANDINGS = ("/", "/outerwear", "/sale", "/footwear", "/stories/repair", "/size-guide", "/kids", "/gift-cards")


class Visit(NamedTuple):
    """One session. `order_id` is set when it ended in an order; `region` comes from the shop's domain."""

    visit_id: str
    started_at: datetime
    region: str
    source: str
    device: str
    landing_page: str
    page_views: int
    bounced: bool
    order_id: str | None


def make_visits(seed: int, orders: Sequence[Order], count: int = VISIT_COUNT) -> list[Visit]:
    """`count` visits in order of time; every fifth web order of the year has its visit among them."""
    draw = random.Random(f"{seed}:visits")
    web = [o for o in orders if o.channel == "web" and berlin_day(o.ordered_at) >= FIRST_VISIT_DAY]
    sampled = web[::5][:count]
    opening = datetime(FIRST_VISIT_DAY.year, FIRST_VISIT_DAY.month, FIRST_VISIT_DAY.day, tzinfo=BERLIN).astimezone(
        UTC
    )
    started: list[tuple[datetime, Order | None]] = [
        (max(order.ordered_at - timedelta(minutes=draw.randrange(2, 50)), opening), order) for order in sampled
    ]
    calendar = days(FIRST_VISIT_DAY, LAST_DAY)
    for _ in range(count - len(sampled)):
        day = draw.choice(calendar)
        midnight = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
        started.append((midnight + timedelta(seconds=draw.randrange(86_400)), None))
    started.sort(key=lambda pair: (pair[0], pair[1].order_id if pair[1] else ""))
    return [_visit(draw, number, moment, order) for number, (moment, order) in enumerate(started, start=1)]


def _visit(draw: random.Random, number: int, moment: datetime, order: Order | None) -> Visit:
    views = (
        draw.randrange(4, 30) if order else draw.choices((1, 2, 3, 5, 8, 13), weights=(41, 19, 14, 12, 9, 5))[0]
    )
    return Visit(
        visit_id=f"V{number:06d}",
        started_at=moment,
        region=order.region if order else pick(draw, REGION_WEIGHTS),
        source=pick(draw, SOURCE_WEIGHTS),
        device=pick(draw, DEVICE_WEIGHTS),
        landing_page=draw.choice(LANDINGS),
        page_views=views,
        bounced=views == 1,
        order_id=order.order_id if order else None,
    )
