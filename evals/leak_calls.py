"""The calls of a leak test: random ones, and ones made to pry; all from one seed and what the replies gave away."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from evals.leak_doors import CALLERS, Door, Probe, Reply
from evals.leak_world import PAGES, TABLES, TENANTS, Canaries

COLUMNS = ("order_id", "tenant", "city", "email", "ordered_on", "amount", "secret", "remark", "part")
HIDDEN = ("secret", "email", "rowid", "wh.n")
_KEPT = 40
_WORDS = (
    "boots",
    "parcel",
    "margin",
    "returns",
    "city",
    "email",
    "secret",
    "tenant",
    "bravo",
    "*",
    "%",
    "' or 1=1 --",
)
_OPERATORS = ("eq", "ne", "lt", "gt", "ge", "in", "not_in", "contains", "is_null", "between")
_METHODS = (
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
)


class Calls:
    """Makes probes. What a caller was given (cursors, references, audit ids) others try to use."""

    def __init__(self, seed: int, canaries: Canaries) -> None:
        self._random = random.Random(seed)
        self._canaries = canaries
        self._cursors: list[tuple[str, str, Mapping[str, Any]]] = []
        self._refs: list[str] = []
        self._audit_ids: list[str] = []

    def next(self, door: Door, caller: str | None = None) -> Probe:
        """The next probe through this door, by a caller of its choice where none is named."""
        who = caller or self._random.choice((*CALLERS, *TENANTS))
        if door == "cli":
            name, words = self._command()
            return Probe(who, door, "command", name, {"words": words})
        if door == "mcp" and self._random.random() < 0.25:
            method = self._random.choice(_METHODS)
            return Probe(who, door, method, "", self._parameters(method))
        name, arguments = self._tool()
        return Probe(who, door, "tools/call", name, arguments)

    def learn(self, probe: Probe, reply: Reply) -> None:
        """Keep what a reply hands out, for others to try."""
        page = reply.answer.get("page", {})
        if page.get("next_cursor"):
            self._cursors = [*self._cursors[-_KEPT:], (probe.name, page["next_cursor"], probe.arguments)]
        audit_id = reply.answer.get("receipt", {}).get("audit_id")
        if audit_id and self._random.random() < 0.2:
            self._audit_ids = [*self._audit_ids[-_KEPT:], audit_id]
        for hit in reply.answer.get("data", {}).get("hits", [])[:2]:
            self._refs = [*self._refs[-_KEPT:], hit["ref"]]

    # -- values --------------------------------------------------------------------------------------------

    def _name(self) -> str:
        """A name that may or may not exist for the caller."""
        names = [word for words in self._canaries.names.values() for word in words]
        pick = self._random.choice
        return pick(
            [pick(names), pick(names)[:-1] + "q", pick(names)[:4], TABLES, PAGES, f"{TABLES}x", "", "../etc"]
        )

    def _value(self) -> Any:
        """A value to look for: often somebody's canary, or the beginning of one."""
        words = sorted(self._canaries.values)
        pick = self._random.choice
        number = self._random.randint(0, 3_000)
        return pick([pick(words), pick(words)[:5], pick(TENANTS), pick(_WORDS), number, None, 0.5])

    def _filter(self, depth: int = 0) -> Any:
        roll = self._random.random()
        if depth < 2 and roll < 0.2:
            return {self._random.choice(("all", "any")): [self._filter(depth + 1) for _ in range(2)]}
        if depth < 2 and roll < 0.35:
            return {"not": self._filter(depth + 1)}
        operator = self._random.choice(_OPERATORS)
        several = [self._value() or "x", self._value() or "y"]
        values: Mapping[str, Any] = {"is_null": True, "in": several, "not_in": several, "between": several}
        column = self._random.choice((*COLUMNS, *HIDDEN, self._name()))
        return {"field": column, "op": operator, "value": values.get(operator, self._value() or "x")}

    def _maybe(self, make: Callable[[], Any], share: float = 0.5) -> Any:
        return make() if self._random.random() < share else None

    # -- tools ---------------------------------------------------------------------------------------------

    def _tool(self) -> tuple[str, dict[str, Any]]:
        if self._cursors and self._random.random() < 0.08:
            name, cursor, arguments = self._random.choice(self._cursors)
            return name, {**arguments, "cursor": self._random.choice((cursor, cursor[:-2] + "AA"))}
        makers: Mapping[str, Callable[[], dict[str, Any]]] = {
            "discover": self._discover,
            "describe": lambda: {"ref": self._reference()},
            "search": self._search,
            "fetch": lambda: {"ref": self._reference(), "neighbours": self._random.randint(0, 5)},
            "query_metrics": self._metrics,
            "dimension_values": self._values,
            "lookup": self._lookup,
            "query_sql": lambda: {"sql": self._sql(), "limit": self._random.choice((1, 100, 1_000))},
            "trace": lambda: {"audit_id": self._audit_id()},
            "feedback": lambda: {"audit_id": self._audit_id(), "label": "wrong"},
            "status": lambda: {"product": self._maybe(self._name), "job": self._maybe(self._name, 0.2)},
            "ingest": lambda: {"products": [self._name()]},
            "release": lambda: {"action": "list", "product": self._name()},
        }
        weights = (2, 3, 5, 3, 5, 3, 5, 6, 2, 1, 1, 1, 1)
        name = self._random.choices(list(makers), weights)[0]
        return name, {key: value for key, value in makers[name]().items() if value is not None}

    def _audit_id(self) -> str:
        return self._random.choice([*self._audit_ids[-10:], "a-20250101T000000-000000000000"])

    def _reference(self) -> str:
        name = self._name()
        forms = [
            name, f"dp://{name}", f"dp://{name}/items", f"dp://{TABLES}/orders/{self._random.choice(HIDDEN)}",
            f"metric://{name}/{self._name()}", f"dim://{TABLES}/orders.secret", f"doc://{name}/{self._name()}",
            *self._refs[-8:],
        ]  # fmt: skip
        return self._random.choice(forms)

    def _discover(self) -> dict[str, Any]:
        kind = self._maybe(lambda: self._random.choice(("product", "dataset", "metric", "dimension", "column")))
        words = str(self._value())
        return {"query": self._maybe(lambda: words, 0.7), "kind": kind, "limit": self._random.choice((2, 20, 50)),
                "product": self._maybe(self._name, 0.3)}  # fmt: skip

    def _search(self) -> dict[str, Any]:
        words = f"{self._value()} {self._random.choice(_WORDS)}"
        question = self._random.choice([words, f'"{self._value()}"', "boots"])
        return {"question": question, "products": self._maybe(lambda: [self._name()], 0.3),
                "filters": self._maybe(self._filter, 0.4), "limit": self._random.choice((1, 5, 50)),
                "mode": self._random.choice(("hybrid", "vector", "text")),
                "response_format": self._random.choice(("concise", "detailed"))}  # fmt: skip

    def _metrics(self) -> dict[str, Any]:
        dimensions = ["city", "tenant", "orders.city", "secret", "email", "metric_time__month", self._name()]
        metrics = ["revenue", "order_count", "revenue", self._name()]
        return {"metrics": [self._random.choice(metrics)],
                "dimensions": self._maybe(lambda: self._random.sample(dimensions, 2), 0.7),
                "filters": self._maybe(self._filter, 0.5),
                "order": self._maybe(lambda: [self._random.choice(("-revenue", "city", "secret"))], 0.3),
                "limit": self._random.choice((1, 5, 100))}  # fmt: skip

    def _values(self) -> dict[str, Any]:
        dimension = self._random.choice(("city", "tenant", "orders.tenant", "secret", "email", self._name()))
        return {"dimension": dimension, "contains": self._maybe(lambda: str(self._value()), 0.4)}

    def _lookup(self) -> dict[str, Any]:
        columns = [self._random.choice((*COLUMNS, *HIDDEN)) for _ in range(2)]
        return {"product": self._random.choice((TABLES, TABLES, TABLES, PAGES, self._name())),
                "dataset": self._random.choice(("orders", "orders", "orders", "pages", "items")),
                "key": self._maybe(lambda: self._random.choice((0, 1_000, 2_001, {"order_id": 1_003})), 0.3),
                "filters": self._maybe(self._filter, 0.5), "columns": self._maybe(lambda: columns, 0.4),
                "order": self._maybe(lambda: [self._random.choice(("-amount", "secret", "email", "city"))], 0.3),
                "limit": self._random.choice((1, 5, 100))}  # fmt: skip

    def _sql(self) -> str:
        hidden, value, name = self._random.choice(HIDDEN), str(self._value()).replace("'", "''"), self._name()
        orders = f"{TABLES}.orders"
        return self._random.choice([
            f"select * from {orders}", f"select count(*), sum(amount), min(order_id), max(city) from {orders}",
            f"select {hidden} from {orders}", f"select o.{hidden} from {orders} o", f"select o from {orders} o",
            f"select tenant, count(*) from {orders} group by tenant", f"select * from {name}.items",
            f"select count(*) from {orders} where city = '{value}' or tenant <> 'alfa'",
            f"select 1 from {orders} where cast(case when tenant = 'bravo' then city else '1' end as int) > 0",
            f"select cast(city as int) from {orders} where tenant = 'carol'",
            f"select count(*) from {orders} where {hidden} like '{value[:5]}%'",
            f"select email, count(*) from {orders} group by email", f"select * from {orders} order by {hidden}",
            f"with t as (select * from {orders}) select {hidden} from t", "select * from duckdb_tables()",
            "select * from information_schema.columns", f"select * from query_table('{orders}')",
            f"select * from {orders} a, {orders} b where a.tenant <> b.tenant", "select * from wh.chunks",
            f"select * from {PAGES}.pages", f"select count(*) from {PAGES}.pages where part like 'part-%'",
            f"select string_agg(city || remark, ',') from {orders}", "select * from '/etc/passwd'",
            f"select (select max({hidden}) from {orders}) from {orders}", f"select {name} from {orders}",
        ])  # fmt: skip

    # -- other requests ------------------------------------------------------------------------------------

    def _parameters(self, method: str) -> dict[str, Any]:
        match method:
            case "resources/read":
                return {"uri": self._reference() or "dp://x"}
            case "resources/list" if self._cursors and self._random.random() < 0.3:
                return {"cursor": self._random.choice(self._cursors)[1]}
            case "prompts/get":
                prompt = self._random.choice(("answer_with_receipt", "investigate_metric", self._name()))
                return {"name": prompt, "arguments": {"question": str(self._value()), "metric": self._name()}}
            case "completion/complete":
                kind = self._random.choice(("product", "dataset", "metric"))
                uri = self._random.choice(
                    ("dp://{product}", "dp://{product}/{dataset}", "metric://{product}/{metric}")
                )
                typed = self._random.choice(("", "z", "zq", self._name()[:4]))
                return {"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": kind, "value": typed}}
            case _:
                return {}

    def _command(self) -> tuple[str, list[str]]:
        value, name = str(self._value()), self._name() or "x"
        where = '{"field": "secret", "op": "contains", "value": "zq"}'
        return self._random.choice([
            ("search", [f"x {value}"]), ("search", ["boots", "--mode", "text", "--limit", "50"]),
            ("query", ["revenue", "--by", "city"]), ("query", ["revenue", "--by", "secret"]),
            ("query", [name]), ("lookup", [TABLES, "orders", "--limit", "100"]),
            ("lookup", [TABLES, "orders", "--where", where]), ("lookup", [name, "items"]),
            ("discover", []), ("discover", [f"x{value}"]), ("describe", [f"dp://{name}"]),
            ("sql", [self._sql()]), ("sql", [f"select * from {TABLES}.orders"]), ("trace", [self._audit_id()]),
        ])  # fmt: skip


def hidden_pair(random_: random.Random, canaries: Canaries) -> tuple[str, str]:
    """A product's name that exists for others only, and one of the same length that exists for nobody."""
    names = [words[0] for words in canaries.names.values()]
    hidden = random_.choice(names)
    absent = "zq" + "".join(random_.choices("bcdfghjklmnpqrstvwxz", k=len(hidden) - 2))
    return hidden, absent
