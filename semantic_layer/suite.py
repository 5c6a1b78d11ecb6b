"""The questions of a product's evals.yaml: retrieval with relevant documents, golden values, forbidden answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem
from semantic_layer.filter_form import parse_filter
from semantic_layer.plan.query import MetricQuery
from semantic_layer.principal import Principal
from semantic_layer.section import Section, unknown_name
from semantic_layer.settings import read_principal
from semantic_layer.yaml_file import Node, read_yaml

MEASURES = ("ndcg_at_10", "recall_at_10", "mrr")
ASKS = ("search", "query_metrics", "lookup")


@dataclass(frozen=True)
class RetrievalCase:
    """A question and the documents that answer it: a name, `name#p3` for a page, `dataset:key` for a row."""

    id: str
    principal: Principal
    question: str
    relevant: frozenset[str]
    filters: Any = None


@dataclass(frozen=True)
class MetricCase:
    """A metric query and its golden rows; numbers are equal within `tolerance`, relative."""

    id: str
    principal: Principal
    query: Mapping[str, Any]
    expect: tuple[Mapping[str, Any], ...]
    tolerance: float
    line: int = 0


@dataclass(frozen=True)
class ForbiddenCase:
    """A question whose answer must not hold any of `never`, or must be refused."""

    id: str
    principal: Principal
    ask: str
    arguments: Mapping[str, Any]
    never: tuple[str, ...]
    refused: bool


@dataclass(frozen=True)
class Suite:
    """Every case of one product, and the floors its retrieval must reach (measure → least value)."""

    product: str
    retrieval: tuple[RetrievalCase, ...] = ()
    metrics: tuple[MetricCase, ...] = ()
    forbidden: tuple[ForbiddenCase, ...] = ()
    floors: Mapping[str, float] | None = None

    @property
    def count(self) -> int:
        """How many cases there are."""
        return len(self.retrieval) + len(self.metrics) + len(self.forbidden)


def read_suite(path: Path, product: str, *, shown_as: str = "") -> Suite:
    """The suite in an evals.yaml. Raises InvalidWorkspace with every mistake, with file and line."""
    root = read_yaml(path, shown_as=shown_as)
    reader = _Reader(Section(root, ("version", "gates", "retrieval", "metrics", "forbidden"), "evals.yaml"))
    suite = reader.suite(product)
    if reader.top.problems:
        raise InvalidWorkspace(reader.top.problems)
    return suite


def suite_problems(
    path: Path, product: str, *, metrics: Collection[str] | None, shown_as: str = ""
) -> tuple[Problem, ...]:
    """The mistakes in an evals.yaml, for validating a workspace whose `metrics` are these (None: not known)."""
    try:
        suite = read_suite(path, product, shown_as=shown_as)
    except InvalidWorkspace as found:
        return found.problems
    if metrics is None:
        return ()
    return tuple(
        unknown_name(Node(shown_as or str(path), case.line, None), "metric", name, metrics)
        for case in suite.metrics
        for name in case.query.get("metrics") or ()
        if name not in metrics
    )


class _Reader:
    """Reads one file; ids must be unique, since reports and judgments name cases by id."""

    def __init__(self, top: Section) -> None:
        self.top = top
        self.seen: dict[str, int] = {}

    def suite(self, product: str) -> Suite:
        if self.top.integer("version", 1) != 1:
            self.top.wrong(
                "evals.yaml has a version this release does not read.", "Write version: 1.", key="version"
            )
        gates = self.top.section("gates", MEASURES)
        floors = {name: gates.number(name) for name in MEASURES}
        return Suite(
            product,
            tuple(self.retrieval(s) for s in self.cases("retrieval", "question", "relevant", "filters")),
            tuple(self.metric(s) for s in self.cases("metrics", "query", "expect", "tolerance")),
            tuple(self.forbidden(s) for s in self.cases("forbidden", "ask", "never", "refused")),
            {name: floor for name, floor in floors.items() if floor is not None},
        )

    def cases(self, key: str, *known: str) -> list[Section]:
        return self.top.sections(key, ("id", "as", "note", *known), f"a case of `{key}`")

    def name(self, section: Section) -> str:
        section.required("id")
        name = section.text("id")
        if name in self.seen:
            section.wrong(f"the case id {name!r} stands twice (first at line {self.seen[name]}).", "Rename one.")
        self.seen.setdefault(name, section.node.line)
        return name

    def principal(self, section: Section) -> Principal:
        section.required("as")
        return read_principal(section.node_of("as"), problems=self.top.problems, subject="evals")

    def retrieval(self, section: Section) -> RetrievalCase:
        section.required("question", "relevant")
        relevant = frozenset(section.texts("relevant"))
        filters = section.node_of("filters")
        if filters is not None:
            self.formed(section, "filters", parse_filter, filters.plain())
        return RetrievalCase(
            self.name(section),
            self.principal(section),
            section.text("question"),
            relevant,
            filters.plain() if filters else None,
        )

    def metric(self, section: Section) -> MetricCase:
        section.required("query", "expect")
        query, expect = section.node_of("query"), section.nodes("expect")
        rows = tuple(cast("Mapping[str, Any]", row.plain()) for row in expect if row.mapping is not None)
        if len(rows) != len(expect):
            section.wrong("each row of `expect` is a mapping from column to value.", key="expect")
        if query is not None:
            self.formed(section, "query", MetricQuery.from_json, query.plain())
        return MetricCase(
            self.name(section),
            self.principal(section),
            cast("Mapping[str, Any]", query.plain()) if query and query.mapping is not None else {},
            rows,
            section.number("tolerance", 1e-6) or 0.0,
            section.node.line,
        )

    def formed(self, section: Section, key: str, parse: Callable[[Any], object], form: Any) -> None:
        """Note what the parser of filters or queries says of this form."""
        try:
            parse(form)
        except InvalidArgument as error:
            section.wrong(error.message, error.hint, key=key)

    def forbidden(self, section: Section) -> ForbiddenCase:
        section.required("ask")
        ask = section.section("ask", ASKS)
        asked = [name for name in ASKS if ask.node_of(name) is not None]
        if len(asked) != 1:
            section.wrong("`ask` names exactly one of search, query_metrics and lookup.", key="ask")
        arguments = ask.node_of(asked[0]) if asked else None
        never, refused = section.texts("never"), section.flag("refused")
        if not never and not refused:
            section.wrong("a forbidden case needs `never` or `refused: true`.", "Name what must not come back.")
        return ForbiddenCase(
            self.name(section),
            self.principal(section),
            asked[0] if asked else "",
            cast("Mapping[str, Any]", arguments.plain()) if arguments and arguments.mapping is not None else {},
            never,
            refused,
        )
