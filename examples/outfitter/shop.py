"""The whole company, made from one seed: every row that the products serve."""

from __future__ import annotations

from dataclasses import dataclass

from examples.outfitter.catalogue import Item, make_items
from examples.outfitter.customers import Customer, make_customers
from examples.outfitter.sales import Sales, make_sales
from examples.outfitter.stock import StockLevel, make_stock
from examples.outfitter.tickets import Ticket, make_tickets
from examples.outfitter.visits import Visit, make_visits


@dataclass(frozen=True)
class Shop:
    """All rows of all products but the handbook, whose pages are text in this folder."""

    items: list[Item]
    customers: list[Customer]
    sales: Sales
    stock: list[StockLevel]
    visits: list[Visit]
    tickets: list[Ticket]


def make_shop(seed: int, orders: int) -> Shop:
    """The same rows for the same seed and number of orders; nothing is read, no clock and no network."""
    items = make_items(seed)
    customers = make_customers(seed)
    sales = make_sales(seed, orders, customers, items)
    return Shop(
        items=items,
        customers=customers,
        sales=sales,
        stock=make_stock(seed),
        visits=make_visits(seed, sales.orders),
        tickets=make_tickets(seed, customers, sales.orders, items),
    )
