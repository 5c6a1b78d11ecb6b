"""Support tickets: what customers write, in templated variety, among a few that are told in full."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from examples.outfitter.catalogue import Item
from examples.outfitter.clock import CLOSING, OPENING
from examples.outfitter.customers import Customer, pick
from examples.outfitter.sales import Order
from examples.outfitter.words import Story, ticket_words

TICKET_COUNT = 1_500
PRIORITY_WEIGHTS = {"low": 38, "normal": 44, "high": 14, "urgent": 4}
RECENT_ORDERS = 400
"""Customers write about one of the last orders before the moment they write."""
CHANNELS = ("email", "chat", "phone", "store")


class Ticket(NamedTuple):
    """One case. `subject` and `body` are free of personal data; the contact and the agent's note are not."""

    ticket_id: str
    opened_at: datetime
    region: str
    customer_id: str
    order_id: str | None
    topic: str
    channel: str
    priority: str
    subject: str
    body: str
    first_response_minutes: int | None
    contact_email: str
    contact_phone: str
    agent_note: str


def make_tickets(
    seed: int,
    customers: Sequence[Customer],
    orders: Sequence[Order],
    items: Sequence[Item],
    count: int = TICKET_COUNT,
) -> list[Ticket]:
    """`count` tickets in order of time; the stories come evenly spread among the templated ones."""
    draw = random.Random(f"{seed}:tickets")
    by_id = {customer.customer_id: customer for customer in customers}
    known = [order for order in orders if order.customer_id in by_id]
    times = [order.ordered_at for order in known]
    start = OPENING + timedelta(days=3)
    span = int((CLOSING - start).total_seconds())
    moments = sorted(start + timedelta(seconds=draw.randrange(span)) for _ in range(count))
    stories = ticket_words().stories
    step = max(1, count // len(stories))
    tickets: list[Ticket] = []
    for number, moment in enumerate(moments, start=1):
        place, between = divmod(number, step)
        told = between == 0 and place <= len(stories)
        story = stories[place - 1] if told else _letter(draw, items)
        newest = max(1, bisect_left(times, moment))
        recent = known[max(0, newest - RECENT_ORDERS) : newest]
        order = draw.choice([one for one in recent if story.region in ("", one.region)] or recent)
        tickets.append(_ticket(draw, number, moment, by_id[order.customer_id or ""], order, story))
    return tickets


def _letter(draw: random.Random, items: Sequence[Item]) -> Story:
    """A templated ticket: a subject and a body of three or four sentences about one article."""
    words = ticket_words()
    topic = words.topics[pick(draw, {name: topic.weight for name, topic in words.topics.items()})]
    item = draw.choice(items)
    blanks = {
        "name": item.name,
        "colour": item.colour,
        "size": draw.choice(item.variants).size,
        "days": draw.randrange(3, 24),
        "count": draw.randrange(2, 5),
    }
    sentences = [draw.choice(topic.openings), draw.choice(topic.middles)]
    if draw.random() < 0.7:
        sentences.append(draw.choice(words.details))
    sentences.append(draw.choice(words.wishes))
    subject = draw.choice(topic.subjects).format(**blanks)
    return Story("", topic.name, subject, " ".join(sentences).format(**blanks))


def _ticket(
    draw: random.Random,
    number: int,
    moment: datetime,
    customer: Customer,
    order: Order,
    story: Story,
) -> Ticket:
    priority = pick(draw, PRIORITY_WEIGHTS)
    slowest = {"low": 2_900, "normal": 1_500, "high": 480, "urgent": 75}[priority]
    return Ticket(
        ticket_id=f"T{number:05d}",
        opened_at=moment,
        region=customer.region,
        customer_id=customer.customer_id,
        order_id=order.order_id if draw.random() < 0.8 else None,
        topic=story.topic,
        channel=draw.choice(CHANNELS),
        priority=priority,
        subject=story.subject,
        body=story.body,
        first_response_minutes=draw.randrange(4, slowest) if draw.random() < 0.96 else None,
        contact_email=customer.email,
        contact_phone=customer.phone,
        agent_note=draw.choice(ticket_words().notes).format(
            first=customer.first_name, last=customer.last_name, city=customer.city
        ),
    )
