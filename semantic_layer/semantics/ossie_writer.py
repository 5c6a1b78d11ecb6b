"""Writes a model as an Ossie document that reads back as the same model, and says what cannot be carried.

Whatever Ossie has words for stands in them. The document is then read again: each field of the model that came back
different is stated in the WELLHEAD extension of its part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from semantic_layer.findings import Findings
from semantic_layer.metric import (
    Dimension,
    Metric,
    MetricInput,
    Relationship,
    SemanticDataset,
    SemanticModel,
)
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.semantics.extension import VENDOR
from semantic_layer.semantics.forms import UNWRITTEN, form_of
from semantic_layer.semantics.kept import DOCUMENT, kept_into
from semantic_layer.semantics.ossie import VERSIONS, read_ossie
from semantic_layer.sql.portable import formula_text, measure_text, plain_columns, plain_name, row_text
from semantic_layer.yaml_file import parse_yaml

Form = dict[str, Any]
Place = tuple[str, ...]

_TYPES: Mapping[ColumnType, str] = {
    ColumnType.STRING: "String",
    ColumnType.INTEGER: "Integer",
    ColumnType.DECIMAL: "Decimal",
    ColumnType.NUMBER: "Float",
    ColumnType.BOOLEAN: "Boolean",
    ColumnType.DATE: "Date",
    ColumnType.TIME: "Time",
    ColumnType.TIMESTAMP: "DateTimeTz",
}
_PARTS = frozenset({"datasets", "dimensions", "relationships", "metrics", "product", "kept", *UNWRITTEN})
_KEYS = {"kind": "type"}


@dataclass(frozen=True)
class Written:
    """A document and, each in a sentence, what it does not carry."""

    document: Form
    lost: tuple[str, ...]


def write_ossie(model: SemanticModel, product: DataProduct) -> Written:
    """The model as an Ossie document of the newest version that is read.

    `product` is the one it was read for: types and keys that its contract promises are not stated again.
    """
    stated: dict[Place, Form] = {}
    document = _Writer(model, stated).document()
    differences, problems = _differences(model, document, product)
    if differences:
        stated |= differences
        document = _Writer(model, stated).document()
        differences, problems = _differences(model, document, product)
    lost = [f"{' '.join(place)}: {', '.join(sorted(form))}" for place, form in differences.items()]
    return Written(document, (*lost, *problems))


def same_model(first: SemanticModel, second: SemanticModel) -> bool:
    """Whether two models mean the same, wherever their files stand."""
    return form_of(first) == form_of(second)


def _differences(
    model: SemanticModel, document: Form, product: DataProduct
) -> tuple[dict[Place, Form], tuple[str, ...]]:
    """By part, the fields that do not read back as they are, with what they should be; and what is a mistake."""
    findings = Findings()
    back = read_ossie(parse_yaml(json.dumps(document)), product=product, findings=findings)
    there = dict(_parts(back))
    found: dict[Place, Form] = {}
    for place, part in _parts(model):
        other = there.get(place)
        changed = {
            _KEYS.get(one.name, one.name): form_of(getattr(part, one.name))
            for one in fields(part)
            if one.name not in _PARTS
            and (other is None or form_of(getattr(part, one.name)) != form_of(getattr(other, one.name)))
        }
        if changed:
            found[place] = changed
    return found, tuple(f"{one.message} {one.suggestion}".strip() for one in findings.problems)


def _parts(model: SemanticModel) -> Iterator[tuple[Place, Any]]:
    """Every part that a document has a place for. Relationships go by their number: names may stand twice."""
    yield ("model",), model
    for dataset in model.datasets:
        yield ("dataset", dataset.name), dataset
        for dimension in dataset.dimensions:
            yield ("field", dataset.name, dimension.name), dimension
    for number, relationship in enumerate(model.relationships):
        yield ("relationship", str(number)), relationship
    for metric in model.metrics:
        yield ("metric", metric.name), metric


@dataclass
class _Writer:
    model: SemanticModel
    stated: Mapping[Place, Form]
    names: set[str] = field(default_factory=set[str])

    def document(self) -> Form:
        model = self.model
        written: Form = {"name": model.name or model.product or "model"}
        if model.description:
            written["description"] = model.description
        if model.instructions:
            written["ai_context"] = {"instructions": model.instructions}
        written["datasets"] = [self.dataset(one) for one in model.datasets]
        if model.relationships:
            written["relationships"] = [
                self.relationship(number, one) for number, one in enumerate(model.relationships)
            ]
        written["metrics"] = [self.metric(one) for one in model.metrics]
        own: Form = {}
        if model.time_zone:
            own["time_zone"] = model.time_zone
        if model.fiscal_year_start_month:
            own["fiscal_year_start_month"] = model.fiscal_year_start_month
        written = self.finished(written, own, ("model",), model.kept)
        return {"version": VERSIONS[-1], **model.kept.get(DOCUMENT, {}), "semantic_model": [written]}

    def finished(self, form: Form, own: Form, place: Place, kept: Mapping[str, Any]) -> Form:
        """The part with its extension, and with what was kept of it."""
        said = {**own, **self.stated.get(place, {})}
        if said:
            form["custom_extensions"] = [{"vendor_name": VENDOR, "data": json.dumps(said, ensure_ascii=False)}]
        return kept_into(form, kept)

    def dataset(self, dataset: SemanticDataset) -> Form:
        form: Form = {"name": dataset.name, "source": f"{dataset.product}.{dataset.table}"}
        if dataset.key:
            form["primary_key"] = list(dataset.key)
        others = [list(key) for key in dataset.unique_keys if key != dataset.key]
        if others:
            form["unique_keys"] = others
        form |= _described(dataset.description, dataset.synonyms)
        form["fields"] = [self.field(dataset, one) for one in dataset.dimensions]
        own = {"primary_entity": dataset.primary_entity, "default_time": dataset.default_time}
        return self.finished(form, _said(own), ("dataset", dataset.name), dataset.kept)

    def field(self, dataset: SemanticDataset, dimension: Dimension) -> Form:
        form: Form = {
            "name": dimension.name,
            "expression": _expression(row_text(dimension.expression, dataset.name)),
        }
        if not dimension.fact:
            # Without a type nothing tells whether it is a time; where a contract has the type, that will.
            known = dimension.type is not None or dimension.is_time
            form["dimension"] = {"is_time": dimension.is_time} if known else {}
        if dimension.type is not None and dimension.type in _TYPES and "datatype" not in dimension.kept:
            form["datatype"] = _TYPES[dimension.type]
        form |= _described(dimension.description, dimension.synonyms)
        grain = dimension.grain.value if dimension.grain else ""
        own = _said({"label": dimension.label, "unit": dimension.unit, "grain": grain})
        return self.finished(form, own, ("field", dataset.name, dimension.name), dimension.kept)

    def relationship(self, number: int, relationship: Relationship) -> Form:
        name = relationship.name
        while name in self.names:
            name = f"{relationship.from_dataset}_{name}" if number else f"{name}_{len(self.names)}"
        self.names.add(name)
        form: Form = {"name": name, "from": relationship.from_dataset, "to": relationship.to_dataset}
        columns = [[_first(key) for key in keys] for keys in (relationship.from_keys, relationship.to_keys)]
        form["from_columns"], form["to_columns"] = columns
        own = {} if self.is_unique(relationship) else {"to_keys": list(relationship.to_keys)}
        return self.finished(form, own, ("relationship", str(number)), relationship.kept)

    def is_unique(self, relationship: Relationship) -> bool:
        """Whether a declared key says that the one side is one; a relationship that says so itself states its keys."""
        target = self.model.dataset(relationship.to_dataset)
        columns = {column for key in relationship.to_keys for column in plain_columns(key)}
        return target is None or any(key and set(key) <= columns for key in (target.key, *target.unique_keys))

    def metric(self, metric: Metric) -> Form:
        form: Form = {"name": metric.name, "expression": _expression(self.formula(metric))}
        form |= _described(metric.description, metric.synonyms)
        measures = [one.measure for one in metric.inputs if one.measure is not None]
        first = measures[0] if measures else None
        own: Form = {
            "label": metric.label,
            "unit": metric.unit,
            "dataset": next((one.dataset for one in measures if not one.columns), ""),
            "default_time": first.default_time if first else "",
            "non_additive": form_of(first.non_additive) if first and first.non_additive else None,
            "filter": form_of(metric.filter) if form_of(metric.filter) != {"all": []} else None,
            "owner": metric.owner,
            "certification": form_of(metric.certification),
        }
        return self.finished(form, _said(own), ("metric", metric.name), metric.kept)

    def formula(self, metric: Metric, depth: int = 0) -> str:
        """The metric in standard SQL as far as that can say it: filters of inputs, offsets and windows it cannot."""
        texts = {given.alias: self.input(given) for given in metric.inputs}
        if metric.expression and metric.inputs:
            return formula_text(metric.expression, texts)
        first = plain_name(self.model.datasets[0].name) if self.model.datasets else ""
        return next(iter(texts.values()), f"COUNT({first}.*)")

    def input(self, given: MetricInput) -> str:
        if given.measure is not None:
            return measure_text(given.measure)
        return ".".join(plain_name(part) for part in given.metric.split("."))


def _expression(text: str) -> Form:
    return {"dialects": [{"dialect": "ANSI_SQL", "expression": text}]}


def _described(description: str, synonyms: Sequence[str]) -> Form:
    form: Form = {"description": description} if description else {}
    return {**form, "ai_context": {"synonyms": list(synonyms)}} if synonyms else form


def _said(form: Form) -> Form:
    """The form without what is empty."""
    return {key: value for key, value in form.items() if value not in ("", None, {}, [])}


def _first(key: str) -> str:
    """The column that a key is, or the first that it is computed from."""
    return next(iter(plain_columns(key)), "")
