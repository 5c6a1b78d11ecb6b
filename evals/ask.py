"""Asks one case through the read verbs, as its own principal: the same doors that tools use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from indexes.document import Hit
from indexes.library import Snapshot
from indexes.lookup import OpenLive, RecordQuestion, lookup
from indexes.measure import Measured, measure
from indexes.retrieve import Question, retrieve
from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.filter_form import parse_filter
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, Grant
from semantic_layer.principal import Principal

DEADLINE_SECONDS = 30.0
SEARCH_KEYS = ("question", "products", "filters", "k")
LOOKUP_KEYS = ("product", "dataset", "filters", "columns", "order", "limit")


class Asker:
    """Asks a snapshot. `as_of` is the clock of metric queries; `open_live` opens live datasets."""

    def __init__(self, snapshot: Snapshot, *, as_of: datetime, open_live: OpenLive) -> None:
        self.snapshot = snapshot
        self._as_of = as_of
        self._open_live = open_live

    def search(
        self,
        principal: Principal,
        question: str,
        products: Sequence[str] = (),
        filters: Any = None,
        k: int = 10,
        dense_weight: float | None = None,
    ) -> tuple[Hit, ...]:
        """The hits of a question in these products, or in all that the principal may search."""
        grants = self._grants(principal, Action.SEARCH, products)
        asked = Question(question, tuple(grants), where=parse_filter(filters), k=k, dense_weight=dense_weight)
        return retrieve(self.snapshot, asked, grants).hits if grants else ()

    def measure(self, principal: Principal, query: Mapping[str, Any]) -> Measured:
        """The rows of a metric query in its JSON form."""
        grants = self.snapshot.grants(principal, Action.METRIC)
        return measure(
            self.snapshot,
            MetricQuery.from_json(query),
            grants,
            deadline_seconds=DEADLINE_SECONDS,
            as_of=self._as_of,
        )

    def records(self, principal: Principal, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The rows of a lookup in its JSON form."""
        product = str(arguments.get("product", ""))
        grants = self._grants(principal, Action.LOOKUP, (product,))
        asked = RecordQuestion(
            product=product,
            dataset=str(arguments.get("dataset", "")),
            where=parse_filter(arguments.get("filters")),
            columns=tuple(arguments.get("columns", ())),
            order=tuple(arguments.get("order", ())),
            limit=int(arguments.get("limit", 20)),
        )
        return lookup(
            self.snapshot, asked, grants, deadline_seconds=DEADLINE_SECONDS, open_live=self._open_live
        ).rows

    def answer_text(self, principal: Principal, ask: str, arguments: Mapping[str, Any]) -> str:
        """Everything a forbidden case's question brings back, as text. Raises as the read verb does."""
        if ask == "search":
            _only(arguments, SEARCH_KEYS)
            hits = self.search(
                principal,
                str(arguments.get("question", "")),
                tuple(arguments.get("products", ())),
                arguments.get("filters"),
                int(arguments.get("k", 10)),
            )
            return "\n".join(
                f"{hit.title}\n{hit.before}\n{hit.text}\n{hit.after}\n{dict(hit.columns)}" for hit in hits
            )
        if ask == "query_metrics":
            return repr(self.measure(principal, arguments).rows)
        _only(arguments, LOOKUP_KEYS)
        return repr([dict(row) for row in self.records(principal, arguments)])

    def _grants(self, principal: Principal, action: Action, products: Sequence[str]) -> dict[str, Grant]:
        unknown = [name for name in products if name not in self.snapshot.generations]
        if unknown:
            raise UnknownName("product", unknown[0], self.snapshot.generations)
        grants = self.snapshot.grants(principal, action)
        if products:
            return {name: grants[name].require() for name in products}
        return {name: grant for name, grant in grants.items() if grant.allowed}


def _only(arguments: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in arguments:
        if key not in known:
            raise InvalidArgument(
                f"a case's question has no argument {key!r}.", hint="Use " + ", ".join(known) + "."
            )
