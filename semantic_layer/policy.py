"""Who may see what: rules in, a Grant out, with its reason. Deny by default; deny wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from semantic_layer.errors import InvalidFilter, Refused, UnknownName
from semantic_layer.mask import STRICTEST_FIRST, Mask
from semantic_layer.predicate import FALSE, TRUE, Predicate, all_of, any_of, bind, negation, resolve
from semantic_layer.principal import Principal
from semantic_layer.product import Column, DataProduct, Dataset

EVERY = "*"


class Action(StrEnum):
    """What a caller does with a product. `discover` decides whether it exists for the caller at all."""

    DISCOVER = "discover"
    SEARCH = "search"
    METRIC = "metric"
    LOOKUP = "lookup"
    SQL = "sql"
    OPERATE = "operate"


@dataclass(frozen=True)
class ColumnChoice:
    """Which columns a rule speaks of: by name, by ODCS classification or by tag; `excluded` are left out."""

    names: frozenset[str] = frozenset({EVERY})
    classifications: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    @property
    def anything(self) -> bool:
        """Whether it speaks of any column at all."""
        return bool(self.names or self.classifications or self.tags)

    @property
    def everything(self) -> bool:
        """Whether it speaks of every column there is."""
        return EVERY in self.names and not self.excluded

    def covers(self, column: Column) -> bool:
        """Whether the rule speaks of this column. An unclassified column counts as `unclassified`."""
        if column.name in self.excluded:
            return False
        if EVERY in self.names or column.name in self.names or self.tags & column.tags:
            return True
        return (column.classification.casefold() or "unclassified") in self.classifications


@dataclass(frozen=True)
class Rule:
    """One line of a policy. `rows` may hold principal attributes; a missing one makes the rule deny.

    `purposes` and `tenants`, where given, narrow it to callers who act for one of these purposes or tenants.

    A deny rule without `rows` denies its columns and metrics everywhere. One with `rows` denies those rows whole,
    or, where it names columns, only their cells in those rows.
    """

    name: str
    roles: frozenset[str]
    actions: frozenset[Action]
    effect: Literal["allow", "deny"] = "allow"
    datasets: frozenset[str] = frozenset({EVERY})
    columns: ColumnChoice = ColumnChoice()
    masks: Mapping[str, Mask] = field(default_factory=dict[str, Mask])
    rows: Predicate = TRUE
    metrics: frozenset[str] = frozenset({EVERY})
    line: int = 0
    purposes: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()

    def applies(self, principal: Principal, action: Action) -> bool:
        """Whether the rule speaks of this caller doing this."""
        return not self.misses(principal, action)

    def misses(self, principal: Principal, action: Action) -> str:
        """Why the rule does not speak of this caller doing this; empty where it does."""
        if action not in self.actions:
            return f"is not about {action.value}"
        if EVERY not in self.roles and not self.roles & principal.roles:
            return "needs the role " + " or ".join(sorted(self.roles))
        if self.tenants and principal.tenant not in self.tenants:
            return "is for another tenant"
        if self.purposes and not self.purposes & principal.purposes:
            return "needs the purpose " + " or ".join(sorted(self.purposes))
        return ""

    def speaks_of(self, dataset: str) -> bool:
        """Whether the rule is about this dataset."""
        return EVERY in self.datasets or dataset in self.datasets

    @property
    def named_columns(self) -> frozenset[str]:
        """Every column it names outside its row filter."""
        return (self.columns.names | self.columns.excluded | frozenset(self.masks)) - {EVERY}


@dataclass(frozen=True)
class Policy:
    """A product's rules. `restricts_facts` drops fact rows whose joined dimension row is forbidden."""

    product: str
    rules: tuple[Rule, ...] = ()
    restricts_facts: bool = True
    minimum_group_size: int = 0

    @property
    def hashes(self) -> bool:
        """Whether any value is shown as a hash, for which the workspace's key is needed."""
        return any(mask.kind == "hash" for rule in self.rules for mask in rule.masks.values())

    def keyed(self, key: bytes) -> Policy:
        """The policy with the workspace's key in its hash masks."""
        return replace(
            self,
            rules=tuple(
                replace(rule, masks={name: mask.keyed(key) for name, mask in rule.masks.items()})
                for rule in self.rules
            ),
        )


@dataclass(frozen=True)
class Allowance:
    """What one rule allows in one dataset: columns as they are, columns masked, rows, and metrics."""

    rule: str
    columns: frozenset[str]
    masks: Mapping[str, Mask] = field(hash=False)
    rows: Predicate
    metrics: frozenset[str] = frozenset({EVERY})

    def shows(self, columns: Iterable[str]) -> bool:
        """Whether every one of these columns may be shown, masked or not."""
        return all(column in self.columns or column in self.masks for column in columns)

    def without(self, columns: frozenset[str]) -> Allowance:
        """The allowance with these columns taken away, masked ones too."""
        masks = {name: mask for name, mask in self.masks.items() if name not in columns}
        return replace(self, columns=self.columns - columns, masks=masks)


@dataclass(frozen=True)
class Masking:
    """A mask and the rows where the caller may see the value itself (FALSE: masked everywhere)."""

    mask: Mask
    unless: Predicate


@dataclass(frozen=True)
class Access:
    """The answer to "these columns, please": the rows where one rule allows all of them, and what is masked."""

    rows: Predicate
    masks: Mapping[str, Masking] = field(default_factory=dict[str, Masking])

    @property
    def limited(self) -> bool:
        """Whether rows or values were withheld."""
        return self.rows != TRUE or bool(self.masks)


@dataclass(frozen=True)
class DatasetGrant:
    """What one caller may do with one dataset: a union of allowances, never of their columns.

    Columns of two rules are never combined: a request over both sees only rows where one rule allows all of
    them (the policy-overlap rule of Cube's access policies).
    """

    dataset: str
    allowances: tuple[Allowance, ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """Every column that some rule allows as it is."""
        return frozenset().union(*(allowance.columns for allowance in self.allowances))

    @property
    def masked(self) -> frozenset[str]:
        """Columns that are only ever shown masked."""
        seen = frozenset[str]().union(*(allowance.masks for allowance in self.allowances))
        return seen - self.columns

    def access(self, shown: Iterable[str] = (), used: Iterable[str] = ()) -> Access:
        """The rows where `shown` may be seen (masked or not) and `used` may be filtered, grouped or sorted by.

        `used` columns must be unmasked. Where no rule allows all of them the rows are FALSE.
        """
        shown_set, used_set = frozenset(shown), frozenset(used)
        fitting = [a for a in self.allowances if used_set <= a.columns and a.shows(shown_set)]
        plainest_first = sorted(fitting, key=lambda a: len(shown_set - a.columns))
        masks = {
            column: _masking(column, plainest_first)
            for column in sorted(shown_set)
            if any(column not in a.columns for a in fitting)
        }
        return Access(any_of(*(a.rows for a in fitting)), masks)

    def for_metric(self, metric: str) -> DatasetGrant:
        """The part that rules allow for this metric."""
        fitting = tuple(a for a in self.allowances if EVERY in a.metrics or metric in a.metrics)
        return replace(self, allowances=fitting)


def _masking(column: str, allowances: Sequence[Allowance]) -> Masking:
    """The strictest mask any of them asks for, and the rows where the value itself may be seen.

    Each row is shown as the first allowance that holds for it shows it, so that no row combines plain cells of two
    rules which no single rule shows together.
    """
    hiding = [a for a in allowances if column not in a.columns]
    strictest = min((a.masks[column] for a in hiding), key=lambda mask: STRICTEST_FIRST.index(mask.kind))
    plain: list[Predicate] = []
    for number, allowance in enumerate(allowances):
        if column in allowance.columns:
            earlier = (negation(a.rows) for a in allowances[:number] if column not in a.columns)
            plain.append(all_of(allowance.rows, *earlier))
    return Masking(strictest, any_of(*plain))


@dataclass(frozen=True)
class Grant:
    """The decision for one principal, one product and one action, with its reason.

    Every read verb requires one a product; its rows are ANDed to the question's own filter, never replaced.
    """

    product: str
    action: Action
    principal: Principal
    policy_revision: int
    datasets: Mapping[str, DatasetGrant]
    metrics: frozenset[str]
    reason: str
    denied_metrics: frozenset[str] = frozenset()
    restricts_facts: bool = True
    minimum_group_size: int = 0

    @property
    def allowed(self) -> bool:
        """Whether anything at all is granted."""
        return any(grant.allowances for grant in self.datasets.values())

    def allows_metric(self, metric: str) -> bool:
        """Whether the caller may ask for this metric."""
        if not self.allowed or metric in self.denied_metrics or EVERY in self.denied_metrics:
            return False
        return EVERY in self.metrics or metric in self.metrics

    def for_metric(self, metric: str) -> Grant:
        """The grant as far as rules allow this metric: rows of one rule never serve a metric of another."""
        narrowed = {name: grant.for_metric(metric) for name, grant in self.datasets.items()}
        return replace(self, datasets={name: grant for name, grant in narrowed.items() if grant.allowances})

    def dataset(self, name: str) -> DatasetGrant:
        """The part for one dataset; it allows nothing where no rule speaks of it."""
        return self.datasets.get(name, DatasetGrant(name))

    def require(self) -> Grant:
        """The grant itself, or Refused where nothing is granted."""
        if not self.allowed:
            raise Refused(
                f"{self.action.value} on {self.product!r} is not granted to {self.principal.subject}.",
                rule=self.reason,
                hint="Ask the product's owner for access; `describe` names the owner.",
            )
        return self


Grants = Mapping[str, Grant]
"""One grant a product touched, by product name."""


def decide(
    principal: Principal,
    product: DataProduct,
    action: Action,
    policy: Policy | None,
    *,
    policy_revision: int = 0,
) -> Grant:
    """The grant for this caller, product and action. Deny by default: no policy, no rule, no rows.

    A policy that names a column the product did not seal denies the whole product and says to re-ingest. Where a
    rule's row filter fits some of the datasets it speaks of, it shows nothing of the others.
    """
    empty = Grant(product.name, action, principal, policy_revision, {}, frozenset(), "no rule allows it")
    if policy is None:
        return replace(empty, reason="no policy is published for this product")
    try:
        _check_fits(policy, product)
    except (UnknownName, InvalidFilter) as unsealed:
        return replace(
            empty, reason=f"the policy does not fit the sealed data ({unsealed.message}): re-ingest the product"
        )
    rules = [rule for rule in policy.rules if rule.applies(principal, action)]
    speaking = [rule for rule in rules if rule.effect == "allow"]
    allowing = [rule for rule in speaking if resolve(rule.rows, principal) is not None]
    denying = [rule for rule in rules if rule.effect == "deny"]
    if not allowing:
        return replace(empty, reason=_lacking(policy, principal, action) or empty.reason)
    grants = [_dataset_grant(allowing, denying, dataset, principal) for dataset in product.datasets]
    return Grant(
        product=product.name,
        action=action,
        principal=principal,
        policy_revision=policy_revision,
        datasets={grant.dataset: grant for grant in grants if grant.allowances},
        metrics=_union(rule.metrics for rule in allowing),
        denied_metrics=_union(rule.metrics for rule in denying),
        reason="allowed by " + ", ".join(rule.name for rule in allowing),
        restricts_facts=policy.restricts_facts,
        minimum_group_size=policy.minimum_group_size,
    )


def _lacking(policy: Policy, principal: Principal, action: Action) -> str:
    """What the first rule that nearly allows it would need of the caller: an attribute or a purpose."""
    for rule in policy.rules:
        if rule.effect == "deny":
            continue
        missed = rule.misses(principal, action)
        if not missed:
            return f"{rule.name} needs an attribute that the caller lacks"
        if rule.applies(replace(principal, purposes=rule.purposes), action):
            return f"{rule.name} {missed}"
    return ""


def _union(names: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*names)


def _check_fits(policy: Policy, product: DataProduct) -> None:
    """Raises where a rule names a dataset or column that was not sealed, or filters by what no dataset carries."""
    datasets = {dataset.name: dataset for dataset in product.datasets}
    for rule in policy.rules:
        for name in rule.datasets - {EVERY, *datasets}:
            raise UnknownName("dataset", name)
        spoken = [dataset for name, dataset in datasets.items() if rule.speaks_of(name)]
        columns = {column.name for dataset in spoken for column in dataset.columns}
        for name in rule.named_columns - columns:
            raise UnknownName("column", name)
        misfits = [misfit for dataset in spoken if (misfit := _misfit(rule, dataset)) is not None]
        if spoken and len(misfits) == len(spoken):
            raise misfits[0]


def _misfit(rule: Rule, dataset: Dataset) -> UnknownName | InvalidFilter | None:
    """Why the rule's rows cannot be told apart in this dataset; None where they can."""
    try:
        bind(rule.rows, _carried(dataset))
    except (UnknownName, InvalidFilter) as misfit:
        return misfit
    return None


def _carried(dataset: Dataset) -> dict[str, Column]:
    return {column.name: column for column in dataset.columns if column.carried}


def _dataset_grant(
    allowing: Sequence[Rule], denying: Sequence[Rule], dataset: Dataset, principal: Principal
) -> DatasetGrant:
    columns = {column.name: column for column in dataset.columns}
    allowances: list[Allowance] = []
    for rule in allowing:
        rows = _rows_of(rule, dataset, principal) if rule.speaks_of(dataset.name) else None
        if rows is not None:
            masks = {name: mask for name, mask in rule.masks.items() if name in columns}
            covered = frozenset(name for name, column in columns.items() if rule.columns.covers(column))
            allowances.append(Allowance(rule.name, covered - frozenset(masks), masks, rows, rule.metrics))
    for rule in denying:
        if rule.speaks_of(dataset.name):
            allowances = [kept for one in allowances for kept in _denied(one, rule, dataset, principal)]
    return DatasetGrant(dataset.name, tuple(one for one in dict.fromkeys(allowances) if one.rows != FALSE))


def _rows_of(rule: Rule, dataset: Dataset, principal: Principal) -> Predicate | None:
    """The rule's rows for this caller; None where an attribute is missing or the filter does not fit the dataset."""
    resolved = resolve(rule.rows, principal)
    try:
        return None if resolved is None else bind(resolved, _carried(dataset))
    except (InvalidFilter, UnknownName):
        return None


def _denied(allowance: Allowance, rule: Rule, dataset: Dataset, principal: Principal) -> Iterable[Allowance]:
    """What a deny rule leaves of an allowance. One whose attribute is missing or whose filter does not fit denies
    in every row."""
    names_columns = rule.columns.anything
    denied = frozenset(column.name for column in dataset.columns if rule.columns.covers(column))
    touched = rule.columns.everything or bool(denied & (allowance.columns | frozenset(allowance.masks)))
    if (rule.rows == TRUE and not names_columns) or (names_columns and not touched):
        yield allowance
        return
    if rule.rows != TRUE:
        rows = _rows_of(rule, dataset, principal)
        yield replace(allowance, rows=all_of(allowance.rows, negation(TRUE if rows is None else rows)))
    kept = allowance.without(denied)
    if names_columns and (kept.columns or kept.masks):
        yield kept
