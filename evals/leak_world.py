"""A workspace to leak from: tenants who must not see each other, columns that nobody may see, a canary in each.

Its twin holds the same for the first tenant and something else for everybody else, so that whatever that tenant is
told must be the same in both.
"""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TENANTS = ("alfa", "bravo", "carol")
WATCHED = TENANTS[0]
"""The tenant whose answers are compared between the world and its twin."""
TABLES, PAGES = "trade", "notes"
ROWS = 14
DOCUMENTS = 4
_LETTERS = "bcdfghjklmnpqrstvwxz"
_WORDS = (
    "boots",
    "parcel",
    "margin",
    "returns",
    "warehouse",
    "colour",
    "invoice",
    "season",
    "delivery",
    "customer",
)
_CITIES = 3
_MOMENT = 1_735_689_600


@dataclass(frozen=True)
class Canaries:
    """Words that stand nowhere else. `names` are those of things (products, metrics, columns), the others of values.

    `tenant` words may be seen by that tenant; `forbidden` ones, of columns that no rule shows, by nobody.
    """

    tenant: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, ...]]
    forbidden: tuple[str, ...]

    def hidden_from(self, tenant: str) -> frozenset[str]:
        """Every word that this tenant must never be told; an unknown tenant may see none."""
        others = (words for kind in (self.tenant, self.names) for name, words in kind.items() if name != tenant)
        return frozenset(self.forbidden).union(*others)

    @property
    def values(self) -> frozenset[str]:
        """Every word that is a value: none may stand in a log."""
        return frozenset(self.forbidden).union(*self.tenant.values())


@dataclass
class _Words:
    """Makes canaries and remembers whose they are."""

    random: random.Random
    tenant: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in TENANTS})
    names: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in TENANTS})
    forbidden: list[str] = field(default_factory=list[str])

    def word(self, into: list[str]) -> str:
        into.append("zq" + "".join(self.random.choices(_LETTERS, k=9)))
        return into[-1]

    def canaries(self) -> Canaries:
        return Canaries(
            {name: tuple(words) for name, words in self.tenant.items()},
            {name: tuple(words) for name, words in self.names.items()},
            tuple(self.forbidden),
        )


def write_world(root: Path, seed: int, *, twin: bool = False) -> Canaries:
    """Write the workspace into an empty folder. The twin differs in all that the first tenant may not see."""
    words = _Words(random.Random(f"{seed}-words-{twin}"))
    shown = _Words(random.Random(f"{seed}-shown"), words.tenant, words.names, words.forbidden)
    root.mkdir(parents=True, exist_ok=True)
    (root / "wellhead.yaml").write_text(
        "version: 1\nname: leak-test\nserver: {host: 127.0.0.1, port: 8420, anonymous: true}\n"
        "limits: {calls_per_minute: 0}\n",
        encoding="utf-8",
    )
    for number, tenant in enumerate(TENANTS):
        mine = shown if tenant == WATCHED else words
        numbers = random.Random(f"{seed}-{tenant}-{twin and tenant != WATCHED}")
        _rows(root, number, mine, words, tenant, numbers, twin=twin)
        _pages(root, mine, tenant, numbers)
        _own_product(root, mine, tenant)
    _shared_products(root)
    for path in root.rglob("*"):
        os.utime(path, (_MOMENT, _MOMENT))  # documents carry when they were changed
    return words.canaries()


def _rows(
    root: Path, number: int, mine: _Words, theirs: _Words, tenant: str, numbers: random.Random, *, twin: bool
) -> None:
    """The tenant's rows of the shared table. The secret column's words are of the twin's own, also for the watched."""
    cities = [mine.word(mine.tenant[tenant]) for _ in range(_CITIES)]
    count = ROWS if tenant == WATCHED or not twin else ROWS + 9
    path = root / f"products/{TABLES}/data/orders-{number}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("order_id", "tenant", "city", "email", "ordered_on", "amount", "secret", "remark"))
        for row in range(count):
            email = f"{mine.word(mine.forbidden)}@example.com"
            remark = f"{' '.join(numbers.choices(_WORDS, k=6))} {mine.word(mine.tenant[tenant])}"
            day = f"2025-{numbers.randint(1, 12):02d}-{numbers.randint(1, 28):02d}"
            amount = f"{numbers.randint(100, 99_999) / 100:.2f}"
            secret = theirs.word(theirs.forbidden)
            writer.writerow(
                (number * 1_000 + row, tenant, numbers.choice(cities), email, day, amount, secret, remark)
            )


def _pages(root: Path, mine: _Words, tenant: str, numbers: random.Random) -> None:
    folder = root / f"products/{PAGES}/data"
    folder.mkdir(parents=True, exist_ok=True)
    for page in range(DOCUMENTS):
        name, title, body = (mine.word(mine.tenant[tenant]) for _ in range(3))
        text = " ".join(numbers.choices(_WORDS, k=30))
        head = f"---\ntitle: {text.split()[0]} {title}\ntenant: {tenant}\npart: part-{page}\n---\n"
        (folder / f"{name}.md").write_text(f"{head}# {title}\n\n{text} {body}.\n", encoding="utf-8")


def _own_product(root: Path, mine: _Words, tenant: str) -> None:
    """A product that exists for one tenant only; its very names are canaries."""
    product, column, metric = (mine.word(mine.names[tenant]) for _ in range(3))
    said = mine.word(mine.tenant[tenant])
    folder = root / f"products/{product}"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    value = mine.word(mine.tenant[tenant])
    (folder / "data" / "items.csv").write_text(
        f"item_id,{column},amount\n1,{value},5\n2,{value},7\n", encoding="utf-8"
    )
    columns = [
        {"name": "item_id", "logicalType": "integer", "primaryKey": True, "classification": "public"},
        {"name": column, "logicalType": "string", "classification": "public", "description": f"About {said}."},
        {"name": "amount", "logicalType": "integer", "classification": "public"},
    ]
    _contract(folder, f"Product {said}", "items", columns, {"path": "items.csv"})
    _semantics(folder, product, "items", "item_id", (column,), {metric: "SUM(items.amount)"})
    actions = ["discover", "search", "metric", "lookup", "sql"]
    rule = {"name": "own", "roles": [tenant], "actions": actions, "columns": "*"}
    _write(folder / "policy.yaml", {"version": 1, "rules": [rule]})


def _shared_products(root: Path) -> None:
    folder = root / f"products/{TABLES}"
    columns: list[dict[str, Any]] = [
        {"name": "order_id", "logicalType": "integer", "primaryKey": True, "classification": "public"},
        {"name": "tenant", "logicalType": "string", "classification": "public"},
        {"name": "city", "logicalType": "string", "classification": "public"},
        {"name": "email", "logicalType": "string", "classification": "personal"},
        {"name": "ordered_on", "logicalType": "date", "classification": "public"},
        {"name": "amount", "logicalType": "number", "physicalType": "decimal(10,2)", "classification": "internal"},
        {"name": "secret", "logicalType": "string", "classification": "restricted"},
        {"name": "remark", "logicalType": "string", "classification": "internal",
         "customProperties": [{"property": "wellhead", "value": {"text": True}}]},
    ]  # fmt: skip
    _contract(folder, "Trade", "orders", columns, {"path": "orders-*.csv"})
    metrics = {"revenue": "SUM(orders.amount)", "order_count": "COUNT(orders.order_id)"}
    _semantics(folder, TABLES, "orders", "order_id", ("city", "tenant", "ordered_on", "secret", "email"), metrics)
    rows = {"field": "tenant", "op": "eq", "value": {"principal": "house"}}
    rule = {"name": "own-rows", "roles": ["tenant"], "actions": ["discover", "search", "metric", "lookup", "sql"]}
    hidden = {"columns": {"except": ["email", "secret"]}, "mask": {"email": "hash"}, "rows": rows}
    _write(folder / "policy.yaml", {"version": 1, "rules": [{**rule, **hidden}]})
    pages = root / f"products/{PAGES}"
    texts = [
        {"name": "tenant", "logicalType": "string", "classification": "public"},
        {"name": "part", "logicalType": "string", "classification": "public"},
    ]
    _contract(pages, "Notes", "pages", texts, {"path": "*.md"}, kind="document")
    _write(pages / "policy.yaml", {"version": 1, "rules": [{**rule, "columns": "*", "rows": rows}]})


def _contract(
    folder: Path,
    title: str,
    dataset: str,
    columns: list[dict[str, Any]],
    hints: Mapping[str, Any],
    kind: str = "table",
) -> None:
    schema = {
        "name": dataset,
        "physicalType": kind,
        "customProperties": [{"property": "wellhead", "value": dict(hints)}],
        "properties": columns,
    }
    _write(folder / "contract.yaml", {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": folder.name, "version": "1.0.0", "status": "active",
        "name": title, "team": {"name": "Owners", "members": [{"username": "o", "name": "Olga", "role": "owner"}]},
        "servers": [{"server": "files", "type": "local", "path": "data", "format": "csv" if kind == "table" else "md"}],
        "schema": [schema],
    })  # fmt: skip


def _semantics(
    folder: Path, product: str, dataset: str, key: str, dimensions: tuple[str, ...], metrics: Mapping[str, str]
) -> None:
    def expression(text: str) -> dict[str, Any]:
        return {"dialects": [{"dialect": "ANSI_SQL", "expression": text}]}

    fields: list[dict[str, Any]] = [
        {"name": name, "expression": expression(name), "dimension": {"is_time": name == "ordered_on"}}
        for name in dimensions
    ]
    fields.append({"name": "amount", "expression": expression("amount")})
    form: dict[str, Any] = {
        "name": dataset,
        "source": f"{product}.{dataset}",
        "primary_key": [key],
        "fields": fields,
    }
    if "ordered_on" in dimensions:
        form["custom_extensions"] = [{"vendor_name": "WELLHEAD", "data": '{"default_time": "ordered_on"}'}]
    model = {
        "name": product,
        "datasets": [form],
        "metrics": [{"name": name, "expression": expression(text)} for name, text in metrics.items()],
    }
    _write(folder / "semantics.yaml", {"version": "0.2.0.dev0", "semantic_model": [model]})


def _write(path: Path, form: Mapping[str, Any]) -> None:
    """As JSON, which is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(form, indent=1), encoding="utf-8")
