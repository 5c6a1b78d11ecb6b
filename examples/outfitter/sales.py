"""Orders, their lines, their live status, returns, and the deprecated table of the first year."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from examples.outfitter.catalogue import Item
from examples.outfitter.clock import BERLIN, CLOSING, FIRST_DAY, LAST_DAY, OPENING, berlin_day, days
from examples.outfitter.customers import REGION_WEIGHTS, Customer, pick


class Order(NamedTuple):
    """One order. `customer_id` is NULL for guests and an orphan for accounts lost in a migration."""

    order_id: str
    customer_id: str | None
    region: str
    channel: str
    status: str
    ordered_at: datetime
    shipping_cents: int
    promo_code: str | None


class OrderLine(NamedTuple):
    """One line of an order, in cents: net = gross - discount - vat. Prices include VAT where there is one."""

    order_id: str
    line_number: int
    region: str
    product_id: str
    sku: str
    quantity: int
    gross_cents: int
    discount_cents: int
    vat_cents: int
    net_cents: int


class OrderStatus(NamedTuple):
    """Where an order is now: the operational row that agents read live."""

    order_id: str
    region: str
    status: str
    carrier: str | None
    tracking_number: str | None
    updated_at: datetime


class Return(NamedTuple):
    """Goods sent back; `refund_net_cents` leaves revenue on the day the return is booked, not of the sale."""

    return_id: str
    order_id: str
    line_number: int
    region: str
    returned_at: datetime
    quantity: int
    refund_net_cents: int
    reason: str


class LegacyOrder(NamedTuple):
    """A row of the shop system retired in 2024: a migration booked every amount twice."""

    order_id: str
    customer_id: str | None
    amount_cents: int
    ordered_at: datetime


class Sales(NamedTuple):
    """Everything that the order database holds."""

    orders: list[Order]
    lines: list[OrderLine]
    statuses: list[OrderStatus]
    returns: list[Return]
    legacy: list[LegacyOrder]


class Rush(NamedTuple):
    """An hour with more orders than others: it has that share of all orders to itself."""

    start: datetime
    share: float


VAT_PERCENT = {"EU": 19, "UK": 20, "US": 0, "APAC": 10}
CHANNEL_WEIGHTS = {"web": 58, "store": 30, "app": 12}
RETURN_REASONS = {"too_small": 34, "too_large": 24, "changed_mind": 20, "damaged": 12, "not_as_described": 10}
CARRIERS = {"EU": "Nordpost", "UK": "Albion Parcels", "US": "Blue Ridge Freight", "APAC": "Pacific Link"}
MONTH_WEIGHTS = (6, 6, 8, 8, 9, 9, 7, 7, 9, 10, 14, 16)
GUEST_SHARE, ORPHAN_SHARE = 0.04, 0.012
RUSHES = (
    Rush(datetime(2023, 1, 31, 23, tzinfo=UTC), 0.0006),
    Rush(datetime(2024, 1, 31, 23, tzinfo=UTC), 0.0006),
    Rush(datetime(2025, 1, 31, 23, tzinfo=UTC), 0.0006),
    Rush(datetime(2025, 12, 31, 23, tzinfo=UTC), 0.01),
)
"""The first hour of each fiscal year, and the Midnight Sale: in Berlin these are February and January."""
LEGACY_YEAR_END = date(2024, 1, 31)
OLD_SYSTEM_RETURNS = 60


def make_sales(seed: int, count: int, customers: Sequence[Customer], items: Sequence[Item]) -> Sales:
    """`count` orders between OPENING and CLOSING in order of time, and all that follows from them."""
    draw = random.Random(f"{seed}:sales")
    by_region = {region: [c for c in customers if c.region == region] for region in REGION_WEIGHTS}
    rushes = [moment for rush in RUSHES for moment in _rush(draw, rush, count)]
    moments = sorted((*_moments(draw, count - len(rushes)), *rushes))
    orders = [_order(draw, number, moment, by_region) for number, moment in enumerate(moments, start=1)]
    lines = [line for order in orders for line in _lines(draw, order, items)]
    return Sales(
        orders=orders,
        lines=lines,
        statuses=[_status(draw, order) for order in orders],
        returns=_returns(draw, orders, lines),
        legacy=_legacy(orders, lines),
    )


def _moments(draw: random.Random, count: int) -> list[datetime]:
    """Order times in UTC, uniform within a Berlin day, busier at weekends, towards Christmas and every year."""
    calendar = days(FIRST_DAY, LAST_DAY)
    growth = {2023: 1.0, 2024: 1.12, 2025: 1.23, 2026: 1.3}
    weights = [
        MONTH_WEIGHTS[day.month - 1] * growth[day.year] * (1.25 if day.weekday() >= 5 else 1) for day in calendar
    ]
    chosen = draw.choices(calendar, weights=weights, k=count)
    return [
        datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
        + timedelta(seconds=draw.randrange(86_400))
        for day in chosen
    ]


def _rush(draw: random.Random, rush: Rush, orders: int) -> list[datetime]:
    count = max(1, round(rush.share * orders))
    return [rush.start + timedelta(seconds=draw.randrange(3_600)) for _ in range(count)]


def _order(draw: random.Random, number: int, moment: datetime, customers: dict[str, list[Customer]]) -> Order:
    region = pick(draw, REGION_WEIGHTS)
    chance = draw.random()
    if chance < GUEST_SHARE:
        customer = None
    elif chance < GUEST_SHARE + ORPHAN_SHARE:
        customer = f"C9{draw.randrange(10_000):04d}"
    else:
        customer = draw.choice(customers[region]).customer_id
    age = (CLOSING - moment).days
    return Order(
        order_id=f"O{number:06d}",
        customer_id=customer,
        region=region,
        channel=pick(draw, CHANNEL_WEIGHTS),
        status=_state(draw, age),
        ordered_at=moment.replace(microsecond=0),
        shipping_cents=draw.choice((0, 0, 490, 490, 790, 1290)),
        promo_code=draw.choice(("TRAIL10", "WELCOME5", "CLUB15")) if draw.random() < 0.18 else None,
    )


def _state(draw: random.Random, age_days: int) -> str:
    if draw.random() < 0.055:
        return "cancelled"
    if age_days < 2:
        return draw.choice(("placed", "paid"))
    if age_days < 7:
        return draw.choice(("paid", "shipped"))
    return "delivered"


def _lines(draw: random.Random, order: Order, items: Sequence[Item]) -> list[OrderLine]:
    discount_percent = {"TRAIL10": 10, "WELCOME5": 5, "CLUB15": 15}.get(order.promo_code or "", 0)
    lines: list[OrderLine] = []
    for line_number in range(1, draw.choices((1, 2, 3, 4, 5), weights=(34, 30, 20, 11, 5))[0] + 1):
        item = draw.choice(items)
        variant = draw.choice(item.variants)
        quantity = draw.choices((1, 2, 3), weights=(82, 14, 4))[0]
        gross = quantity * variant.price_cents
        discount = gross * discount_percent // 100
        rate = VAT_PERCENT[order.region]
        vat = ((gross - discount) * rate + (100 + rate) // 2) // (100 + rate)
        lines.append(
            OrderLine(
                order.order_id, line_number, order.region, item.product_id, variant.sku, quantity,
                gross, discount, vat, gross - discount - vat,
            )
        )  # fmt: skip
    return lines


def _status(draw: random.Random, order: Order) -> OrderStatus:
    sent = order.status in ("shipped", "delivered")
    return OrderStatus(
        order_id=order.order_id,
        region=order.region,
        status=order.status,
        carrier=CARRIERS[order.region] if sent else None,
        tracking_number=f"{order.region}{draw.randrange(10**9):09d}" if sent else None,
        updated_at=min(order.ordered_at + timedelta(minutes=draw.randrange(5, 6_000)), CLOSING),
    )


def _returns(draw: random.Random, orders: Sequence[Order], lines: Sequence[OrderLine]) -> list[Return]:
    """Returns of delivered lines, and some of orders that only the old shop system knew (orphan keys)."""
    delivered = {order.order_id: order for order in orders if order.status == "delivered"}
    found = [
        (delivered[line.order_id].ordered_at + timedelta(minutes=draw.randrange(4_000, 46_000)), line)
        for line in lines
        if line.order_id in delivered and draw.random() < 0.085
    ]
    found = [(moment, line) for moment, line in found if moment < CLOSING]
    for number in range(OLD_SYSTEM_RETURNS):
        line = draw.choice(lines[:2_000])
        moment = OPENING + timedelta(minutes=draw.randrange(60_000))
        found.append((moment, line._replace(order_id=f"L{number:05d}", line_number=1)))
    found.sort(key=lambda pair: (pair[0], pair[1].order_id, pair[1].line_number))
    return [_return(draw, number, moment, line) for number, (moment, line) in enumerate(found, start=1)]


def _return(draw: random.Random, number: int, moment: datetime, line: OrderLine) -> Return:
    quantity = draw.randrange(1, line.quantity + 1)
    refund = line.net_cents * quantity // line.quantity
    reason = pick(draw, RETURN_REASONS)
    return Return(f"R{number:05d}", line.order_id, line.line_number, line.region, moment, quantity, refund, reason)


def _legacy(orders: Sequence[Order], lines: Sequence[OrderLine]) -> list[LegacyOrder]:
    amounts: dict[str, int] = {}
    for line in lines:
        amounts[line.order_id] = amounts.get(line.order_id, 0) + line.gross_cents
    return [
        LegacyOrder(order.order_id, order.customer_id, 2 * amounts[order.order_id], order.ordered_at)
        for order in orders
        if berlin_day(order.ordered_at) <= LEGACY_YEAR_END
    ]
