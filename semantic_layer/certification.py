"""Who stands behind a metric, and at which exact content: an edit of anything the number rests on ends it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from semantic_layer.metric import Certification, Metric, SemanticDataset, SemanticModel
from semantic_layer.predicate import fields_of
from semantic_layer.semantics.forms import form_of

FORM = "wellhead-metric/1"
"""The rule by which content is hashed; another rule gets another name, and then other hashes."""

_APART = ("certification", "kept")
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Certificate:
    """One entry of the ledger: `by`, a named person, stands behind a metric at the content that `sha256` names.

    `withdrawn` takes an earlier certificate of that content back. `operator` is who wrote it on the machine.
    """

    product: str
    metric: str
    sha256: str
    by: str
    at: str = ""
    note: str = ""
    withdrawn: bool = False
    operator: str = ""


@dataclass(frozen=True)
class Certificates:
    """Every certificate up to `number`, in order. Whatever the edition, the newest word on a content counts."""

    number: int = 0
    entries: tuple[Certificate, ...] = ()
    _newest: dict[tuple[str, str, str], Certificate] = field(
        default_factory=dict[tuple[str, str, str], Certificate], init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        self._newest.update({(one.product, one.metric, one.sha256): one for one in self.entries})

    def of(self, product: str, metric: str, sha256: str) -> Certificate | None:
        """The newest word on this content, or None."""
        return self._newest.get((product, metric, sha256))

    def last_of(self, product: str, metric: str) -> Certificate | None:
        """The newest word on the metric, whatever its content was, or None."""
        own = (one for one in reversed(self.entries) if (one.product, one.metric) == (product, metric))
        return next(own, None)


def certified(
    model: SemanticModel, models: Mapping[str, SemanticModel], certificates: Certificates
) -> SemanticModel:
    """The model with the state that each metric has in truth.

    Certified is what the ledger, or the file itself with its `sha256`, certifies at exactly this content. A metric
    that was certified at another content is proposed, and keeps the name, day and hash of what was certified.
    """
    spoken = {one.metric for one in certificates.entries if one.product == model.product}
    states = {
        metric.name: _state(model, metric, models, certificates)
        for metric in model.metrics
        if metric.name in spoken or metric.certification != Certification()
    }
    changed = {name: state for name, state in states.items() if state != _stated(model, name)}
    if not changed:
        return model
    metrics = tuple(
        replace(one, certification=changed[one.name]) if one.name in changed else one for one in model.metrics
    )
    return replace(model, metrics=metrics)


def _stated(model: SemanticModel, name: str) -> Certification:
    metric = model.metric(name)
    return metric.certification if metric else Certification()


def _state(
    model: SemanticModel, metric: Metric, models: Mapping[str, SemanticModel], certificates: Certificates
) -> Certification:
    sha256 = content_hash(model, metric, models)
    told = certificates.of(model.product, metric.name, sha256)
    if told is not None and not told.withdrawn:
        return Certification("certified", told.by, told.at, sha256)
    own = metric.certification
    if told is None and own.state == "certified" and own.sha256 == sha256:
        return own
    last = certificates.last_of(model.product, metric.name)
    if last is not None:
        return Certification("proposed", last.by, last.at, last.sha256)
    return replace(own, state="proposed")


def lapsed(model: SemanticModel, models: Mapping[str, SemanticModel]) -> Iterator[tuple[Metric, str]]:
    """The metrics that a file calls certified at other content than they have, or at none, with the hash they have."""
    for metric in model.metrics:
        if metric.certified:
            sha256 = content_hash(model, metric, models)
            if metric.certification.sha256 != sha256:
                yield metric, sha256


def content_hash(model: SemanticModel, metric: Metric, models: Mapping[str, SemanticModel]) -> str:
    """SHA-256 over all that the metric's number and meaning rest on, in hexadecimal.

    That is the metric with every metric below it, wherever they are; the keys, times and named dimensions of the
    datasets they read; the relationships from there, where they reach further; and the model's calendar. What it
    is not: where things stand in files, who certified it, and other metrics and dimensions.
    """
    content = [_content(part, inside) for part, inside in sorted(_closure(model, metric, models).items())]
    text = json.dumps([FORM, metric.name, content], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _closure(
    model: SemanticModel, metric: Metric, models: Mapping[str, SemanticModel]
) -> dict[str, tuple[SemanticModel, list[Metric]]]:
    """The metric and all below it, by product."""
    found: dict[str, tuple[SemanticModel, dict[str, Metric]]] = {}
    waiting = [(model, metric)]
    while waiting:
        owner, one = waiting.pop()
        _, seen = found.setdefault(owner.product, (owner, {}))
        if one.name in seen:
            continue
        seen[one.name] = one
        waiting.extend(_below(owner, one, models))
    return {product: (owner, [seen[name] for name in sorted(seen)]) for product, (owner, seen) in found.items()}


def _below(
    model: SemanticModel, metric: Metric, models: Mapping[str, SemanticModel]
) -> Iterator[tuple[SemanticModel, Metric]]:
    """The metrics that one is computed from, and those whose value its filters ask for."""
    names = [given.metric for given in metric.inputs if given.metric]
    for predicate in (metric.filter, *(given.filter for given in metric.inputs)):
        names += [name.partition(" by ")[0] for name in fields_of(predicate) if " by " in name]
    for name in names:
        product, _, rest = name.rpartition(".")
        owner = models.get(product, model) if product else model
        found = owner.metric(rest)
        if found is not None:
            yield owner, found


def _content(product: str, inside: tuple[SemanticModel, Sequence[Metric]]) -> Any:
    model, metrics = inside
    forms = [{key: one for key, one in form_of(metric).items() if key not in _APART} for metric in metrics]
    words = _WORDS.findall(json.dumps(forms, ensure_ascii=False))
    named = {part for word in words for part in (word, *word.split("__"))}
    read = {dataset for metric in metrics for dataset in _datasets(metric)}
    reaching = len(read) > 1 or any("__" in name for metric in metrics for name in _names(metric))
    further = _reached(model, read) if reaching else read
    return {
        "product": product,
        "metrics": forms,
        "datasets": [_dataset(one, named) for one in model.datasets if one.name in further],
        "relationships": [form_of(one) for one in model.relationships if reaching and one.from_dataset in further],
        "time_zone": model.time_zone,
        "fiscal_year_start_month": model.fiscal_year_start_month,
        "time_spines": form_of(model.time_spines),
    }


def _dataset(dataset: SemanticDataset, named: set[str]) -> Any:
    """What a metric rests on of a dataset: where its rows come from, what tells them apart, the fields it names."""
    fields = [one for one in dataset.dimensions if one.name in named or one.name == dataset.default_time]
    bare = tuple(replace(one, kept={}) for one in fields)
    return form_of(replace(dataset, dimensions=bare, measures=(), description="", synonyms=(), kept={}))


def _names(metric: Metric) -> Iterable[str]:
    """Every field that the metric's filters name."""
    for predicate in (metric.filter, *(given.filter for given in metric.inputs)):
        yield from fields_of(predicate)


def _datasets(metric: Metric) -> Iterator[str]:
    """Every dataset that the metric reads rows or filters of by name."""
    for given in metric.inputs:
        measure = given.measure
        if measure is not None:
            yield measure.dataset
            yield from (dataset for dataset, _ in measure.columns)
            yield from (name.rpartition(".")[0] for name in (measure.root, measure.default_time) if "." in name)
            yield measure.root or measure.dataset
    yield from (name.rpartition(".")[0] for name in _names(metric) if "." in name)


def _reached(model: SemanticModel, start: Iterable[str]) -> set[str]:
    """The datasets that relationships lead to from these, these among them."""
    found, waiting = set(start), list(start)
    while waiting:
        here = waiting.pop()
        for step in model.relationships:
            if step.from_dataset == here and step.to_dataset not in found:
                found.add(step.to_dataset)
                waiting.append(step.to_dataset)
    return found
