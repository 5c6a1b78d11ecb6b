"""What Ossie cannot say rides in `custom_extensions` of the vendor WELLHEAD; its keys are ours, and closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem
from semantic_layer.filter_form import parse_filter
from semantic_layer.metric import (
    Certification,
    Dimension,
    Metric,
    NonAdditive,
    Relationship,
    SemanticDataset,
    SemanticModel,
)
from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.section import Section
from semantic_layer.yaml_file import Node, parse_yaml

VENDOR = "WELLHEAD"
_ELSEWHERE: Mapping[type[Any], frozenset[str]] = {
    SemanticModel: frozenset({"product", "datasets", "relationships", "metrics", "file"}),
    SemanticDataset: frozenset({"dimensions"}),
    Dimension: frozenset({"columns"}),
    Relationship: frozenset({"from_dataset", "to_dataset"}),
    Metric: frozenset({"kind"}),
}
"""Fields of the model's parts that no extension states: the file's own keys hold them, or a word of ours."""


def _stateable(part: type[Any], *more: str) -> tuple[str, ...]:
    """The keys of a part's extension: any field of the model that Ossie may have no words for."""
    left_out = _ELSEWHERE[part] | {"line", "kept"}
    return (*more, *(one.name for one in fields(part) if one.name not in (*left_out, *more)))


MODEL = _stateable(SemanticModel, "time_zone", "fiscal_year_start_month")
DATASET = _stateable(SemanticDataset, "default_time", "primary_entity")
FIELD = _stateable(Dimension, "label", "unit", "grain")
RELATIONSHIP = _stateable(Relationship)
METRIC = _stateable(
    Metric,
    "label",
    "unit",
    "owner",
    "default_time",
    "filter",
    "non_additive",
    "certification",
    "type",
    "dataset",
    "joined_first",
)


def read_extension(owner: Node, known: Iterable[str], what: str, problems: list[Problem]) -> Section:
    """The WELLHEAD extension of a model, dataset, field or metric; an empty section where it has none.

    `data` is a JSON string, as Ossie asks, or the mapping itself. Other vendors' extensions are left alone.
    """
    listed = owner.get("custom_extensions")
    ours = [item for item in (listed.items if listed else None) or () if item.at("vendor_name").value == VENDOR]
    for extra in ours[1:]:
        problems.append(extra.problem(f"{what} has two {VENDOR} extensions.", "Join them."))
    data = ours[0].get("data") if ours else None
    empty = Node(owner.file, owner.line, None)
    if data is not None and isinstance(data.value, str):
        try:
            data = _on_line(parse_yaml(data.value, shown_as=data.file), data.line)
        except InvalidWorkspace as error:
            said = error.problems[0]
            problems.append(data.problem(f"the {VENDOR} extension of {what} is no JSON: {said.message}"))
            data = None
    return Section(data or empty, known, f"the {VENDOR} extension of {what}", problems)


def _on_line(node: Node, line: int) -> Node:
    """Lines inside a string mean nothing in the file; everything in it stands where the string does."""
    value = node.value
    if isinstance(value, tuple):
        return Node(node.file, line, tuple(_on_line(item, line) for item in value))
    if isinstance(value, Mapping):
        return Node(node.file, line, {key: _on_line(child, line) for key, child in value.items()})
    return Node(node.file, line, value)


@dataclass(frozen=True)
class MetricExtension:
    """What the extension says of one metric. `dataset` is the one whose columns bare names in the formula mean;
    `joined_first` says that its rows, with all that joins them, are what every aggregate counts."""

    section: Section
    dataset: str
    joined_first: bool
    label: str
    unit: str
    owner: str
    default_time: str
    filter: Predicate
    non_additive: NonAdditive | None
    certification: Certification


def read_metric_extension(metric: Node, what: str, problems: list[Problem]) -> MetricExtension:
    """The metric's extension, or its defaults; mistakes are added to `problems`."""
    section = read_extension(metric, METRIC, what, problems)
    return MetricExtension(
        section=section,
        dataset=section.text("dataset"),
        joined_first=section.flag("joined_first"),
        label=section.text("label"),
        unit=section.text("unit"),
        owner=section.text("owner"),
        default_time=section.text("default_time"),
        filter=_filter(section),
        non_additive=_non_additive(section),
        certification=_certification(section),
    )


def _filter(section: Section) -> Predicate:
    node = section.node_of("filter")
    if node is None:
        return TRUE
    try:
        return parse_filter(node.plain())
    except InvalidArgument as error:
        section.wrong(f"`filter`: {error.message}", error.hint, key="filter")
        return TRUE


def _non_additive(section: Section) -> NonAdditive | None:
    if section.node_of("non_additive") is None:
        return None
    inner = section.section("non_additive", ("time", "choice", "groupings"))
    if not inner.required("time"):
        return None
    choices: tuple[Literal["max", "min"], ...] = ("max", "min")
    return NonAdditive(inner.text("time"), inner.choice("choice", choices, "max"), inner.texts("groupings"))


def _certification(section: Section) -> Certification:
    if section.node_of("certification") is None:
        return Certification()
    inner = section.section("certification", ("state", "by", "at", "sha256"))
    states: tuple[Literal["proposed", "certified"], ...] = ("proposed", "certified")
    state = inner.choice("state", states, "proposed")
    if state == "certified" and not inner.text("by"):
        inner.wrong("a certified metric needs the name of who certified it.", "Add `by`.", key="by")
        state = "proposed"
    at = inner.text("at")
    if at and not _is_moment(at):
        inner.wrong(f"`at` {at!r} is no ISO date.", "Write 2025-01-31.", key="at")
    return Certification(cast("Any", state), inner.text("by"), at, inner.text("sha256"))


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        try:
            date.fromisoformat(text)
        except ValueError:
            return False
    return True


def read_time_zone(section: Section) -> str:
    """The IANA time zone under `time_zone`; empty where there is none or it is not known."""
    zone = section.text("time_zone")
    if not zone:
        return ""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        section.wrong(f"no time zone {zone!r}.", "Write an IANA name such as Europe/Berlin.", key="time_zone")
        return ""
    return zone
