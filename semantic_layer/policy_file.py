"""Reads `policy.yaml` into a Policy and back: the JSON form is what the ledger keeps of each revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from semantic_layer.errors import InvalidArgument, InvalidFilter, NewerFormat, Problem, UnknownName
from semantic_layer.filter_form import filter_form, parse_filter
from semantic_layer.findings import Findings
from semantic_layer.mask import Mask, MaskKind
from semantic_layer.policy import EVERY, Action, ColumnChoice, Policy, Rule
from semantic_layer.predicate import TRUE, Predicate, bind
from semantic_layer.product import Column, DataProduct, Dataset
from semantic_layer.section import Section, unknown_name
from semantic_layer.yaml_file import Node

VERSION = 1
"""The version of policy.yaml."""
FORMAT = 2
"""The format of a policy in the ledger: 2 added purposes and tenants, which an older server must not overlook."""
NO_COLUMNS = ColumnChoice(names=frozenset())
_KEYS = ("version", "rules", "restricts_facts", "minimum_group_size", "cases")
_RULE = (
    "name", "effect", "roles", "tenants", "purposes", "actions", "datasets", "columns", "mask", "rows", "metrics"
)  # fmt: skip
_COLUMNS = ("except", "classification", "tags")
_Effect = Literal["allow", "deny"]


def read_policy(node: Node, *, product: DataProduct, metrics: Iterable[str] | None, findings: Findings) -> Policy:
    """A product's policy, held against its contract and the names of its metrics.

    `metrics` is None where they could not be read, and is then not checked. Every mistake is added to `findings`:
    unknown keys, roles left out, names that do not exist, filters that do not fit a dataset they speak of. Where a
    rule for all datasets fits only some, a warning names those that it shows nothing of. `cases` are read elsewhere.
    """
    top = Section(node, _KEYS, "policy.yaml", findings.problems)
    top.required("version", "rules")
    version = top.integer("version", VERSION)
    if version != VERSION:
        top.wrong(f"version {version} is not read here.", f"Write version: {VERSION}.", key="version")
    reader = _Reader(product, None if metrics is None else tuple(metrics), findings)
    sections = top.sections("rules", _RULE, "a rule")
    rules = tuple(reader.rule(section, number) for number, section in enumerate(sections, 1))
    seen: set[str] = set()
    for rule, section in zip(rules, sections, strict=True):
        if rule.name in seen:
            section.wrong(f"the rule {rule.name!r} stands twice.", "Answers name rules; rename one.", key="name")
        seen.add(rule.name)
    return Policy(
        product=product.name,
        rules=rules,
        restricts_facts=top.flag("restricts_facts", True),
        minimum_group_size=top.integer("minimum_group_size", 0, low=0),
    )


@dataclass
class _Reader:
    product: DataProduct
    metrics: tuple[str, ...] | None
    findings: Findings

    def rule(self, section: Section, number: int) -> Rule:
        section.required("name", "roles", "actions")
        effect = section.choice("effect", get_args(_Effect), "allow")
        datasets = self.datasets(section)
        spoken = [one for one in self.product.datasets if EVERY in datasets or one.name in datasets]
        denies = effect == "deny"
        if denies and not any(section.node_of(key) for key in ("columns", "rows", "metrics")):
            section.wrong("a deny rule must say what it denies.", "Add columns, rows or metrics.")
        if denies and section.node_of("mask"):
            section.wrong("a deny rule has no masks.", "Mask in the rule that allows.", key="mask")
        if not denies and section.node_of("columns") is None:
            section.wrong("an allow rule needs `columns`.", 'Write columns: "*" for all, or columns: [] for none.')
        return Rule(
            name=section.text("name", f"rule {number}"),
            roles=frozenset(section.texts("roles")),
            actions=self.actions(section),
            effect=effect,
            datasets=datasets,
            columns=self.columns(section, spoken or self.product.datasets),
            masks=self.masks(section, spoken or self.product.datasets),
            rows=self.rows(section, spoken),
            metrics=self.metric_names(section, default=frozenset() if denies else frozenset({EVERY})),
            line=section.node.line,
            purposes=frozenset(section.texts("purposes")),
            tenants=frozenset(section.texts("tenants")),
        )

    def actions(self, section: Section) -> frozenset[Action]:
        found: set[Action] = set()
        known = [action.value for action in Action]
        for item in section.text_nodes("actions"):
            if item.value in known:
                found.add(Action(item.value))
            else:
                section.problems.append(unknown_name(item, "action", str(item.value), known))
        return frozenset(found)

    def datasets(self, section: Section) -> frozenset[str]:
        known = [dataset.name for dataset in self.product.datasets]
        if section.node_of("datasets") is None:
            return frozenset({EVERY})
        return self.names(section.text_nodes("datasets"), "dataset", known, section)

    def metric_names(self, section: Section, default: frozenset[str]) -> frozenset[str]:
        if section.node_of("metrics") is None:
            return default
        return self.names(section.text_nodes("metrics"), "metric", self.metrics, section)

    def names(
        self, items: Iterable[Node], kind: str, known: Iterable[str] | None, section: Section
    ) -> frozenset[str]:
        """The names in a list, `*` among them; each that is not known is a problem."""
        found: set[str] = set()
        for item in items:
            name = str(item.value)
            if name == EVERY or known is None or name in known:
                found.add(name)
            else:
                section.problems.append(unknown_name(item, kind, name, known))
        return frozenset(found)

    def columns(self, section: Section, spoken: Iterable[Dataset]) -> ColumnChoice:
        node = section.node_of("columns")
        known = _column_names(spoken)
        if node is None:
            return NO_COLUMNS
        if node.mapping is None:
            return ColumnChoice(self.names(section.text_nodes("columns"), "column", known, section))
        choice = section.section("columns", _COLUMNS)
        excluded = self.names(choice.text_nodes("except"), "column", known, section)
        classes = frozenset(name.casefold() for name in choice.texts("classification"))
        tags = frozenset(choice.texts("tags"))
        if EVERY in excluded or not (excluded or classes or tags):
            choice.wrong("this choice of columns is empty.", "Write except, classification or tags.")
        names = frozenset[str]() if classes or tags else frozenset({EVERY})
        return ColumnChoice(names, classes, tags, excluded)

    def masks(self, section: Section, spoken: Iterable[Dataset]) -> Mapping[str, Mask]:
        known = _column_names(spoken)
        node = section.node_of("mask")
        found: dict[str, Mask] = {}
        if node is not None and node.mapping is None:
            section.wrong("`mask` must be a mapping.", "Write mask: {email: hash}.", key="mask")
        for name, child in (section.node.at("mask").mapping or {}).items() if node else ():
            if name not in known:
                section.problems.append(unknown_name(child, "column", name, known))
            elif (mask := _mask(child)) is None:
                kinds = "null, hash, last4, redact or {constant: …}"
                section.problems.append(child.problem(f"no mask {child.plain()!r}.", f"Use {kinds}."))
            else:
                found[name] = mask
        return found

    def rows(self, section: Section, spoken: Iterable[Dataset]) -> Predicate:
        """The row filter with its literals typed, as it fits every dataset that the rule speaks of."""
        node = section.node_of("rows")
        if node is None:
            return TRUE
        try:
            predicate = parse_filter(node.plain(), attributes=True)
        except (InvalidFilter, UnknownName) as error:
            place = _blamed(node, lambda plain: parse_filter(plain, attributes=True))
            section.problems.append(place.problem(error.message, error.hint))
            return TRUE
        if predicate == TRUE:
            section.wrong("these `rows` are all rows.", "Leave `rows` out, or write a filter.", key="rows")
        return self.bound(predicate, node, section, tuple(spoken))

    def bound(self, predicate: Predicate, node: Node, section: Section, spoken: tuple[Dataset, ...]) -> Predicate:
        """The predicate with typed literals where all datasets type them alike."""
        bound: set[Predicate] = set()
        misfits: list[tuple[Dataset, Problem]] = []
        for dataset in spoken:
            columns = {column.name: column for column in dataset.columns if column.carried}
            try:
                bound.add(bind(predicate, columns))
            except (InvalidFilter, UnknownName) as error:
                misfits.append((dataset, _misfit(node, dataset, columns, error)))
        if section.node_of("datasets") is None and bound:
            self.findings.warnings.extend(_shows_nothing(section, dataset, node) for dataset, _ in misfits)
        else:
            section.problems.extend(problem for _, problem in misfits)
        return bound.pop() if len(bound) == 1 and not misfits else predicate


def _misfit(
    node: Node, dataset: Dataset, columns: Mapping[str, Column], error: InvalidFilter | UnknownName
) -> Problem:
    place = _blamed(node, lambda plain: bind(parse_filter(plain, attributes=True), columns))
    message = f"in dataset {dataset.name!r}, {error.message}"
    return place.problem(message, error.hint or "Name the datasets the rule is for.")


def _shows_nothing(section: Section, dataset: Dataset, node: Node) -> Problem:
    """A rule for all datasets that cannot tell this one's rows apart: it allows none of them, or denies them all."""
    verb = "denies all" if section.text("effect") == "deny" else "shows nothing"
    message = (
        f"the rule {section.text('name')!r} {verb} of dataset {dataset.name!r}, which lacks what `rows` names."
    )
    return node.problem(message, "Name the datasets the rule is for, or add a rule for this one.")


def _blamed(node: Node, check: Callable[[Any], object]) -> Node:
    """The innermost part of a filter that fails by itself."""
    inner = [*(node.items or ())]
    for key, child in (node.mapping or {}).items():
        if key in ("all", "any"):
            inner.extend(child.items or ())
        elif key == "not":
            inner.append(child)
    for part in inner:
        try:
            check(part.plain())
        except (InvalidFilter, UnknownName):
            return _blamed(part, check)
    return node


def _column_names(datasets: Iterable[Dataset]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column.name for dataset in datasets for column in dataset.columns))


def _mask(node: Node) -> Mask | None:
    if node.value is None:
        return Mask("null")
    if node.mapping is not None:
        constant = node.get("constant")
        scalar = constant is not None and constant.mapping is None and constant.items is None
        return Mask("constant", constant.value) if constant and scalar and len(node.mapping) == 1 else None
    return Mask(cast("MaskKind", node.value)) if node.value in ("null", "hash", "last4", "redact") else None


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """The canonical JSON form: equal policies give equal forms, whatever order their file had sets in."""
    return {
        "format": FORMAT,
        "restricts_facts": policy.restricts_facts,
        "minimum_group_size": policy.minimum_group_size,
        "rules": [_rule_to_json(rule) for rule in policy.rules],
    }


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "effect": rule.effect,
        "roles": sorted(rule.roles),
        "actions": sorted(rule.actions),
        "datasets": sorted(rule.datasets),
        "columns": {
            "names": sorted(rule.columns.names),
            "classifications": sorted(rule.columns.classifications),
            "tags": sorted(rule.columns.tags),
            "excluded": sorted(rule.columns.excluded),
        },
        "masks": {
            name: {"kind": mask.kind, "constant": mask.constant} for name, mask in sorted(rule.masks.items())
        },
        "rows": filter_form(rule.rows),
        "metrics": sorted(rule.metrics),
        "purposes": sorted(rule.purposes),
        "tenants": sorted(rule.tenants),
    }


def policy_from_json(product: str, form: Mapping[str, Any]) -> Policy:
    """The policy that `policy_to_json` wrote, in this format or an older one.

    Values in row filters are typed when `decide` binds them.

    Raises NewerFormat for a form of a later version, InvalidArgument for one that is not whole.
    """
    if form.get("format", 0) > FORMAT:
        raise NewerFormat(
            f"the policy of {product!r} has format {form['format']}, newer than {FORMAT}.", hint="Update wellhead."
        )
    try:
        return Policy(
            product=product,
            rules=tuple(_rule_from_json(rule) for rule in form["rules"]),
            restricts_facts=form["restricts_facts"],
            minimum_group_size=form["minimum_group_size"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"the policy of {product!r} in the ledger is not whole ({error}).", hint="Publish the policy again."
        ) from error


def _rule_from_json(form: Mapping[str, Any]) -> Rule:
    choice = form["columns"]
    return Rule(
        name=form["name"],
        roles=frozenset(form["roles"]),
        actions=frozenset(Action(name) for name in form["actions"]),
        effect=form["effect"],
        datasets=frozenset(form["datasets"]),
        columns=ColumnChoice(
            frozenset(choice["names"]),
            frozenset(choice["classifications"]),
            frozenset(choice["tags"]),
            frozenset(choice["excluded"]),
        ),
        masks={name: Mask(mask["kind"], mask["constant"]) for name, mask in form["masks"].items()},
        rows=parse_filter(form["rows"], attributes=True),
        metrics=frozenset(form["metrics"]),
        purposes=frozenset(form.get("purposes", ())),
        tenants=frozenset(form.get("tenants", ())),
    )
