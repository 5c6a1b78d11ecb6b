"""What the golden questions must be answered with, computed from the generated rows in plain Python.

Nothing here knows SQL, the planner or the semantic files: each answer follows the words of the finance handbook,
so that a number can only agree with `evals.yaml` if the semantics say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

from examples.outfitter.catalogue import Item
from examples.outfitter.clock import berlin_day, fiscal_quarter_start, fiscal_year_start, month_start
from examples.outfitter.sales import Order, OrderLine, Return
from examples.outfitter.shop import Shop
from examples.outfitter.stock import StockLevel

Row = dict[str, Any]
Rows = list[Row]

FY2023, FY2024, FY2025, FY2026 = (date(year, 2, 1) for year in (2023, 2024, 2025, 2026))


def within(moment: datetime, start: date, end: date) -> bool:
    """Whether a moment's day in Berlin lies in [start, end)."""
    return start <= berlin_day(moment) < end


def kept_orders(shop: Shop, start: date, end: date) -> dict[str, Order]:
    """Orders of the period that were not cancelled, by id."""
    return {
        order.order_id: order
        for order in shop.sales.orders
        if order.status != "cancelled" and within(order.ordered_at, start, end)
    }


def kept_lines(shop: Shop, start: date, end: date) -> list[tuple[OrderLine, Order]]:
    """The lines of those orders, each with its order."""
    orders = kept_orders(shop, start, end)
    return [(line, orders[line.order_id]) for line in shop.sales.lines if line.order_id in orders]


def returns_of(shop: Shop, start: date, end: date) -> list[Return]:
    """Returns booked in the period, whatever order they belong to."""
    return [one for one in shop.sales.returns if within(one.returned_at, start, end)]


def net_revenue(shop: Shop, start: date, end: date, region: str = "") -> float:
    """Net sales less refunds in euros, of one region or of all."""
    sold = sum(line.net_cents for line, _ in kept_lines(shop, start, end) if region in ("", line.region))
    refunded = sum(one.refund_net_cents for one in returns_of(shop, start, end) if region in ("", one.region))
    return (sold - refunded) / 100


def grouped(name: str, amounts: Iterable[tuple[Any, float]], metric: str) -> Rows:
    """Rows of one dimension and one metric, added up by value, NULL last."""
    sums: dict[Any, float] = {}
    for value, amount in amounts:
        sums[value] = sums.get(value, 0) + amount
    ordered = sorted(sums.items(), key=lambda pair: (pair[0] is None, pair[0]))
    return [{name: value, metric: amount} for value, amount in ordered]


def scaled(rows: Rows, metric: str, factor: float) -> Rows:
    """The rows with one metric multiplied, for example cents to euros at the very end."""
    return [{**row, metric: row[metric] * factor} for row in rows]


# -- orders ------------------------------------------------------------------------------------------------


def net_sales_fy2025(shop: Shop) -> Rows:
    """Trap: cents."""
    return [{"net_sales": sum(line.net_cents for line, _ in kept_lines(shop, FY2025, FY2026)) / 100}]


def revenue_fy2025(shop: Shop) -> Rows:
    """Trap: net and gross."""
    gross = sum(line.gross_cents for line, _ in kept_lines(shop, FY2025, FY2026)) / 100
    return [{"net_revenue": net_revenue(shop, FY2025, FY2026), "gross_revenue": gross}]


def revenue_by_fiscal_year(shop: Shop, region: str = "") -> Rows:
    """Trap: the fiscal year starts in February, in Berlin."""
    years = ((FY2023, FY2024), (FY2024, FY2025), (FY2025, FY2026))
    return [
        {"metric_time__fiscal_year": start, "net_revenue": net_revenue(shop, start, end, region)}
        for start, end in years
    ]


def net_sales_by_fiscal_quarter(shop: Shop) -> Rows:
    """Trap: fiscal quarters start in February, May, August and November."""
    amounts = (
        (fiscal_quarter_start(berlin_day(order.ordered_at)), float(line.net_cents))
        for line, order in kept_lines(shop, FY2025, FY2026)
    )
    return scaled(grouped("metric_time__fiscal_quarter", amounts, "net_sales"), "net_sales", 0.01)


def orders_at_new_year(shop: Shop) -> Rows:
    """Trap: the Midnight Sale at 23:00 UTC is January in Berlin."""
    orders = kept_orders(shop, date(2025, 12, 1), FY2026).values()
    return grouped(
        "metric_time__month", ((month_start(berlin_day(o.ordered_at)), 1) for o in orders), "order_count"
    )


def gross_revenue_fy2023(shop: Shop) -> Rows:
    """Trap: orders_legacy holds the same year, doubled."""
    return [{"gross_revenue": sum(line.gross_cents for line, _ in kept_lines(shop, FY2023, FY2024)) / 100}]


def net_sales_by_segment(shop: Shop) -> Rows:
    """Trap: guests (NULL keys) and lost accounts (orphan keys) stay, under no segment."""
    segments = {customer.customer_id: customer.segment for customer in shop.customers}
    amounts = (
        (segments.get(order.customer_id or ""), float(line.net_cents))
        for line, order in kept_lines(shop, FY2025, FY2026)
    )
    return scaled(grouped("customer__segment", amounts, "net_sales"), "net_sales", 0.01)


def refunds_by_channel(shop: Shop) -> Rows:
    """Trap: sixty returns of orders that only the retired system knew stay, under no channel."""
    channels = {order.order_id: order.channel for order in shop.sales.orders}
    amounts = (
        (channels.get(one.order_id), float(one.refund_net_cents)) for one in returns_of(shop, FY2023, FY2024)
    )
    return scaled(grouped("order__channel", amounts, "refunds"), "refunds", 0.01)


def shipping_and_units_by_channel(shop: Shop) -> Rows:
    """Trap: fan-out; shipping counts once an order, however many lines the order has."""
    orders = kept_orders(shop, FY2025, FY2026).values()
    shipping = grouped("order__channel", ((o.channel, float(o.shipping_cents)) for o in orders), "shipping_income")
    lines = kept_lines(shop, FY2025, FY2026)
    units = grouped("order__channel", ((order.channel, line.quantity) for line, order in lines), "units_sold")
    return [a | b for a, b in zip(scaled(shipping, "shipping_income", 0.01), units, strict=True)]


def revenue_by_region(shop: Shop) -> Rows:
    """Trap: chasm; sales and returns are two facts, each aggregated apart before they meet."""
    orders = {order.order_id: order.region for order in shop.sales.orders}
    sold = [(order.region, float(line.net_cents)) for line, order in kept_lines(shop, FY2023, FY2024)]
    refunded = [(orders.get(r.order_id), -float(r.refund_net_cents)) for r in returns_of(shop, FY2023, FY2024)]
    return scaled(grouped("order__region", [*sold, *refunded], "net_revenue"), "net_revenue", 0.01)


def average_order_value_q4(shop: Shop) -> Rows:
    """Trap: a ratio of sums over three months, not an average of three ratios."""
    start = date(2025, 11, 1)
    net = sum(line.net_cents for line, _ in kept_lines(shop, start, FY2026)) / 100
    return [{"average_order_value": net / len(kept_orders(shop, start, FY2026))}]


def payment_conversion_fy2025(shop: Shop) -> Rows:
    """Trap: two metrics are called conversion; this is the payments team's."""
    placed = [o for o in shop.sales.orders if within(o.ordered_at, FY2025, FY2026)]
    paid = [o for o in placed if o.status in ("paid", "shipped", "delivered")]
    return [{"payment_conversion": len(paid) / len(placed)}]


def return_rate_fy2024(shop: Shop) -> Rows:
    """Units returned over units sold in the same year, returns by the day they were booked."""
    sold = sum(line.quantity for line, _ in kept_lines(shop, FY2024, FY2025))
    return [{"return_rate": sum(one.quantity for one in returns_of(shop, FY2024, FY2025)) / sold}]


def units_by_category(shop: Shop) -> Rows:
    """Lines joined to articles of another product."""
    categories = {item.product_id: item.category for item in shop.items}
    lines = kept_lines(shop, FY2025, FY2026)
    return grouped(
        "article__category", ((categories[line.product_id], line.quantity) for line, _ in lines), "units_sold"
    )


# -- inventory ---------------------------------------------------------------------------------------------


def last_levels(shop: Shop, start: date, end: date) -> list[StockLevel]:
    """Every warehouse's levels on the last day that it reported within [start, end)."""
    inside = [level for level in shop.stock if start <= level.day < end]
    newest: dict[str, date] = {}
    for level in inside:
        newest[level.warehouse] = max(level.day, newest.get(level.warehouse, level.day))
    return [level for level in inside if level.day == newest[level.warehouse]]


def stock_by_month(shop: Shop) -> Rows:
    """Trap: stock is a level; a month has the stock of its last day and not the sum of its days."""
    months = [(date(2025, 11, 1), date(2025, 12, 1)), (date(2025, 12, 1), date(2026, 1, 1))]
    return [
        {"metric_time__month": start, "stock_on_hand": sum(x.units_on_hand for x in last_levels(shop, start, end))}
        for start, end in months
    ]


def stock_of_january(shop: Shop) -> Rows:
    """Trap: a late feed; Singapore counts with its last level of 22 January."""
    return [{"stock_on_hand": sum(x.units_on_hand for x in last_levels(shop, date(2026, 1, 1), FY2026))}]


def stock_of_january_by_warehouse(shop: Shop) -> Rows:
    """The same, one row a warehouse."""
    levels = last_levels(shop, date(2026, 1, 1), FY2026)
    return grouped("stock_level__warehouse", ((x.warehouse, x.units_on_hand) for x in levels), "stock_on_hand")


def stock_value_fy2025(shop: Shop) -> Rows:
    """At cost, in euros."""
    levels = last_levels(shop, FY2025, FY2026)
    return [{"stock_value": sum(x.units_on_hand * x.unit_cost_cents for x in levels) / 100}]


def stockout_days_by_region(shop: Shop) -> Rows:
    """Days without stock may be added up: each row counts once."""
    empty = [x for x in shop.stock if x.units_on_hand == 0]
    return grouped("stock_level__region", ((x.region, 1) for x in empty), "stockout_days")


# -- customers, catalogue, web, support --------------------------------------------------------------------


def customers_by_segment(shop: Shop, region: str = "") -> Rows:
    """Accounts of one region or all."""
    rows = [c for c in shop.customers if region in ("", c.region)]
    return grouped("customer__segment", ((c.segment, 1) for c in rows), "customer_count")


def registrations_by_fiscal_year(shop: Shop) -> Rows:
    """Accounts registered in the three years, by fiscal year."""
    rows = [c for c in shop.customers if FY2023 <= c.registered_on < FY2026]
    amounts = ((fiscal_year_start(c.registered_on), 1) for c in rows)
    return grouped("metric_time__fiscal_year", amounts, "customer_count")


def consent_rate(shop: Shop) -> Rows:
    """Share of all accounts."""
    return [{"consent_rate": sum(c.marketing_consent for c in shop.customers) / len(shop.customers)}]


def articles_by_category(shop: Shop) -> Rows:
    """Articles that can be bought."""
    active = [item for item in shop.items if item.status == "active"]
    return grouped("article__category", ((item.category, 1) for item in active), "active_articles")


def list_price_of_outerwear(shop: Shop) -> Rows:
    """Trap: cents, here too."""
    prices = [item.from_price_cents for item in shop.items if item.category == "outerwear"]
    return [{"average_list_price": sum(prices) / len(prices) / 100}]


def visit_conversion_fy2025(shop: Shop) -> Rows:
    """Trap: two metrics are called conversion; this is the web team's."""
    visits = [v for v in shop.visits if within(v.started_at, FY2025, FY2026)]
    return [{"visit_conversion": sum(v.order_id is not None for v in visits) / len(visits)}]


def visits_by_month(shop: Shop) -> Rows:
    """Months of Berlin days, in summer time and in winter time."""
    inside = [v for v in shop.visits if within(v.started_at, date(2025, 3, 1), date(2025, 5, 1))]
    amounts = ((month_start(berlin_day(v.started_at)), 1) for v in inside)
    return grouped("metric_time__month", amounts, "visits")


def bounce_rate_by_device(shop: Shop) -> Rows:
    """One row a device."""
    return [
        {"visit__device": device, "bounce_rate": sum(v.bounced for v in rows) / len(rows)}
        for device in ("desktop", "phone", "tablet")
        if (rows := [v for v in shop.visits if v.device == device])
    ]


def tickets_by_topic(shop: Shop, region: str = "") -> Rows:
    """Tickets of fiscal year 2025, by topic."""
    rows = [t for t in shop.tickets if region in ("", t.region) and within(t.opened_at, FY2025, FY2026)]
    return grouped("ticket__topic", ((t.topic, 1) for t in rows), "tickets_opened")


def first_response_of_urgent(shop: Shop) -> Rows:
    """Mean over answered tickets; NULL is not zero."""
    minutes = [
        t.first_response_minutes
        for t in shop.tickets
        if t.priority == "urgent" and t.first_response_minutes is not None
    ]
    return [{"average_first_response": sum(minutes) / len(minutes)}]


EXPECTED: Mapping[str, Mapping[str, Callable[[Shop], Rows]]] = {
    "orders": {
        "net-sales-in-euros": net_sales_fy2025,
        "revenue-is-net": revenue_fy2025,
        "revenue-by-fiscal-year": revenue_by_fiscal_year,
        "net-sales-by-fiscal-quarter": net_sales_by_fiscal_quarter,
        "midnight-sale-is-in-january": orders_at_new_year,
        "gross-revenue-not-doubled": gross_revenue_fy2023,
        "net-sales-by-segment-keeps-guests": net_sales_by_segment,
        "refunds-keep-orphan-returns": refunds_by_channel,
        "shipping-does-not-fan-out": shipping_and_units_by_channel,
        "revenue-by-region-has-no-chasm": revenue_by_region,
        "average-order-value-is-a-ratio-of-sums": average_order_value_q4,
        "payment-conversion": payment_conversion_fy2025,
        "return-rate": return_rate_fy2024,
        "units-by-category": units_by_category,
        "eu-analyst-sees-eu-revenue": lambda shop: revenue_by_fiscal_year(shop, "EU"),
        "us-analyst-sees-us-revenue": lambda shop: revenue_by_fiscal_year(shop, "US"),
    },
    "inventory": {
        "stock-is-not-added-up-over-days": stock_by_month,
        "late-warehouse-keeps-its-last-level": stock_of_january,
        "late-warehouse-by-name": stock_of_january_by_warehouse,
        "stock-value": stock_value_fy2025,
        "stockout-days-by-region": stockout_days_by_region,
    },
    "customers": {
        "customers-by-segment": customers_by_segment,
        "eu-customers-by-segment": lambda shop: customers_by_segment(shop, "EU"),
        "registrations-by-fiscal-year": registrations_by_fiscal_year,
        "consent-rate": consent_rate,
    },
    "catalogue": {
        "active-articles-by-category": articles_by_category,
        "list-price-of-outerwear": list_price_of_outerwear,
    },
    "web": {
        "visit-conversion": visit_conversion_fy2025,
        "visits-around-the-clock-change": visits_by_month,
        "bounce-rate-by-device": bounce_rate_by_device,
    },
    "support": {
        "tickets-by-topic": tickets_by_topic,
        "uk-tickets-by-topic": lambda shop: tickets_by_topic(shop, "UK"),
        "first-response-of-urgent-tickets": first_response_of_urgent,
    },
}
"""Product → metric case id → its golden rows."""


def has(category: str, material: str, *features: str) -> Callable[[Item], bool]:
    """Whether an article is of that category and material and has all of the features."""
    return lambda item: (
        item.category == category and item.material == material and set(features) <= set(item.features)
    )


ARTICLES: Mapping[str, Callable[[Item], bool]] = {
    "down-jacket-for-a-helmet": has("outerwear", "down", "helmet hood"),
    "rain-jacket-to-pack-away": has("outerwear", "three-layer membrane", "packs into pocket"),
    "cycling-in-waxed-cotton": has("outerwear", "waxed cotton", "reflective trim"),
    "canvas-trousers-to-kneel-in": has("trousers", "canvas", "knee pads"),
    "hemp-trousers-to-shorts": has("trousers", "hemp", "zip-off legs"),
    "linen-shirt-against-midges": has("shirts", "linen", "insect repellent"),
    "hemp-shirt-for-travel": has("shirts", "hemp", "hidden passport pocket"),
    "lambswool-with-elbow-patches": has("knitwear", "lambswool", "elbow patches"),
    "merino-shawl-collar": has("knitwear", "merino wool", "shawl collar"),
    "wide-leather-boots": has("footwear", "full-grain leather", "wide fit"),
    "canvas-shoes-to-resole": has("footwear", "canvas", "vibram sole"),
    "leather-bag-for-rain": has("bags", "full-grain leather", "rain cover"),
    "canvas-bag-for-a-laptop": has("bags", "canvas", "laptop sleeve"),
    "leather-gloves-for-the-phone": has("accessories", "full-grain leather", "touchscreen fingertips"),
    "hemp-dress-with-pockets": has("dresses", "hemp", "pockets that hold"),
    "fleece-that-grows": has("kids", "fleece", "grows with child"),
}
"""Retrieval case id of the catalogue → which articles answer it."""

TICKETS: Mapping[str, str] = {
    "goat": "Goat ate the sleeve of my parka",
    "feathers": "Down leaking at the collar",
    "paper-bin": "Parcel left inside the paper recycling bin",
    "import-duty": "Customs asked for duty although the shop said it was included",
    "robot": "Robot courier stood in front of my stairs",
    "yen": "Refund in yen, rounding took 800 yen",
    "gift-secret": "Gift return went to the giver",
    "two-boot-sizes": "One boot 42, the other 43",
    "one-hand": "Left-handed zip",
    "four-cents": "Summit tier lost by four cents",
    "erasure": "Erase my data under GDPR Article 17",
    "lake": "Passkey on a lost phone",
    "hyphen": "Name change after the wedding",
    "moths": "Moths in the lambswool drawer",
    "smoke": "Campfire smell in a merino top",
    "cold-buckles": "Batch of buckles that snap in the cold",
    "rash": "Allergic to the insect repellent finish",
    "dog-coat": "Dog coat",
}
"""Retrieval case id of the tickets → the subject of the one ticket that answers it."""


def relevant(shop: Shop) -> dict[str, dict[str, list[str]]]:
    """Product → retrieval case id → the documents that answer it, as `dataset:key`, in order."""
    subjects = {ticket.subject: ticket.ticket_id for ticket in shop.tickets}
    return {
        "catalogue": {
            case: [f"items:{item.product_id}" for item in shop.items if fits(item)]
            for case, fits in ARTICLES.items()
        },
        "support": {case: [f"tickets:{subjects[subject]}"] for case, subject in TICKETS.items()},
    }


def expected(shop: Shop) -> dict[str, dict[str, Rows]]:
    """Product → metric case id → golden rows."""
    return {product: {case: answer(shop) for case, answer in cases.items()} for product, cases in EXPECTED.items()}
