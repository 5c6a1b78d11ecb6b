"""A tiny data set to begin with where a person names none: a shop's handbook and two dozen orders."""

from __future__ import annotations

from collections.abc import Mapping

_RETURNS = """\
---
owner: Customer care
audience: customers
---
# Returns

Unworn goods may be returned within 30 days of delivery; the money is back within five working days.

## Shoes

Shoes may be tried on indoors. Shoes with traces of the street are taken back for 14 days, less a tenth.

## Faulty goods

Faulty goods are repaired or replaced within two years, whatever was done with them.
"""

_SHIPPING = """\
---
owner: Logistics
audience: customers
---
# Shipping

Parcels leave the warehouse in Lyon on the day of the order when it comes before 14:00.

| Country | Days | Price |
|---|---|---|
| France | 2 | 4.90 |
| Germany | 3 | 6.90 |
| Spain | 4 | 7.90 |

Orders above 80 euros travel free of charge. A parcel that has not moved for six days is searched for.
"""

_CARE = """\
---
owner: Product
audience: customers
---
# Care of down jackets

Wash down at 30 degrees with a detergent for down, twice rinsed. Dry it in a tumbler with two tennis balls, which
keep the feathers apart, until nothing clumps. A down jacket that is stored compressed loses its spring.
"""

_CITIES = ("Lyon", "Berlin", "Madrid", "Paris", "Hamburg", "Sevilla")
_COUNTRIES = ("FR", "DE", "ES", "FR", "DE", "ES")
_NAMES = ("Ada Roux", "Ben Kraus", "Cira Vega", "Dana Petit", "Emil Vogt", "Fina Soto")
_NOTES = {
    1: "Please leave the parcel with the neighbours on the second floor, the bell at the door does not work.",
    9: "The left boot creaks after two walks in the rain, can it be repaired before the holidays?",
    14: "Gift for a friend: please pack it without the invoice and write a short card.",
    21: "The jacket smells of the warehouse, may it be washed at home before the first walk?",
}


def example_files() -> Mapping[str, str]:
    """The example's data files by path below the workspace."""
    return {
        "data/handbook/returns.md": _RETURNS,
        "data/handbook/shipping.md": _SHIPPING,
        "data/handbook/care.md": _CARE,
        "data/orders.csv": _orders(),
    }


def _orders() -> str:
    lines = ["order_id,ordered_on,customer_name,customer_email,country,city,status,total_amount,customer_note"]
    for number in range(24):
        place = number % 6
        name = _NAMES[place]
        email = name.lower().replace(" ", ".") + "@example.com"
        day = f"2026-{1 + number // 8:02d}-{1 + (number * 3) % 28:02d}"
        status = ("paid", "paid", "sent", "returned")[number % 4]
        amount = f"{29 + (number * 37) % 160}.{(number * 10) % 100:02d}"
        note = f'"{_NOTES[number]}"' if number in _NOTES else ""
        fields = (str(1001 + number), day, name, email, _COUNTRIES[place], _CITIES[place], status, amount, note)
        lines.append(",".join(fields))
    return "\n".join(lines) + "\n"
