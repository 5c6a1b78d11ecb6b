"""Why a principal may see what it sees: each action's decision, rule by rule, dataset by dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from semantic_layer.filter_form import filter_form
from semantic_layer.policy import Action, DatasetGrant, Grant, Policy, Rule, decide
from semantic_layer.predicate import TRUE, Attribute, Predicate, leaves
from semantic_layer.principal import Principal
from semantic_layer.product import DataProduct, Dataset


@dataclass(frozen=True)
class Explanation:
    """One action's decision in JSON form, and in lines for people."""

    action: Action
    grant: Grant
    form: dict[str, Any]

    def lines(self) -> Iterator[str]:
        """The decision, then the rules, then what is seen of each dataset."""
        yield f"{self.action.value}: {'granted' if self.grant.allowed else 'not granted'} ({self.grant.reason})"
        for rule in self.form["rules"]:
            yield f"  {rule['effect']} {rule['rule']}: {rule['says']}"
        for dataset in self.form["datasets"]:
            parts = [f"sees {', '.join(dataset['sees']) or 'no column plain'}"]
            parts += [f"{name} as {kind}" for name, kind in dataset["masks"].items()]
            parts += [f"not {', '.join(dataset['hides'])}"] if dataset["hides"] else []
            yield f"  {dataset['dataset']}: {'; '.join(parts)}"
            for allowance in dataset["rows"]:
                yield f"    rows by {allowance['rule']}: {allowance['where'] or 'all'}"
        if self.action is Action.METRIC and self.grant.allowed:
            refused = self.form["refused_metrics"]
            yield f"  metrics: {', '.join(self.form['metrics'])}" + (
                f"; not {', '.join(refused)}" if refused else ""
            )


def explain(
    principal: Principal, product: DataProduct, policy: Policy | None, *, policy_revision: int = 0
) -> tuple[Explanation, ...]:
    """The decision for each action, in the order of `Action`, by the same `decide` as every call."""
    return tuple(_explained(action, principal, product, policy, policy_revision) for action in Action)


def _explained(
    action: Action, principal: Principal, product: DataProduct, policy: Policy | None, revision: int
) -> Explanation:
    grant = decide(principal, product, action, policy, policy_revision=revision)
    rules = [rule for rule in (policy.rules if policy else ()) if action in rule.actions]
    form: dict[str, Any] = {
        "action": action.value,
        "granted": grant.allowed,
        "reason": grant.reason,
        "rules": [
            {"rule": rule.name, "effect": rule.effect, "says": _says(rule, principal, action)} for rule in rules
        ],
        "datasets": [_dataset(dataset, grant.dataset(dataset.name)) for dataset in product.datasets],
        "metrics": sorted(grant.metrics),
        "refused_metrics": sorted(grant.denied_metrics),
    }
    return Explanation(action, grant, form)


def _says(rule: Rule, principal: Principal, action: Action) -> str:
    """Whether the rule speaks of this caller; where it does not, what it would need."""
    missed = rule.misses(principal, action)
    lacking = sorted(name for name in _attributes(rule.rows) if principal.value(name) is None)
    if missed:
        return missed
    if not lacking:
        return "applies"
    verb = "denies every row" if rule.effect == "deny" else "allows nothing"
    return f"{verb}: the caller lacks {', '.join(lacking)}"


def _attributes(rows: Predicate) -> frozenset[str]:
    """The principal attributes that a row filter needs."""
    values = [value for leaf in leaves(rows) for value in vars(leaf).values()]
    flat = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    return frozenset(one.name for one in flat if isinstance(one, Attribute))


def _dataset(dataset: Dataset, held: DatasetGrant) -> dict[str, Any]:
    masks = {name: one.masks[name].kind for one in held.allowances for name in sorted(one.masks)}
    names = [column.name for column in dataset.columns]
    return {
        "dataset": dataset.name,
        "sees": [name for name in names if name in held.columns],
        "masks": {name: masks[name] for name in names if name in held.masked},
        "hides": [name for name in names if name not in held.columns | held.masked],
        "rows": [
            {"rule": one.rule, "where": "" if one.rows == TRUE else filter_form(one.rows)}
            for one in held.allowances
        ],
    }
