"""Judges a candidate edition before it is published: golden values, forbidden answers, retrieval floors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evals.ask import Asker
from evals.run import SuiteResult, run_suite
from indexes.generation import DESCRIPTORS
from indexes.library import Snapshot
from indexes.lookup import OpenLive
from semantic_layer.suite import Suite, read_suite

EVALS = "evals.yaml"


@dataclass(frozen=True)
class GateResult:
    """One gate's verdict; `detail` names the case and what was wrong."""

    name: str
    passed: bool
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a manifest and a report keep it."""
        return {"name": self.name, "passed": self.passed, "detail": self.detail}


def sealed_suite(snapshot: Snapshot, product: str) -> Suite:
    """The suite sealed with a product's generation; empty where it has none."""
    path = snapshot.generations[product].folder / DESCRIPTORS / EVALS
    return read_suite(path, product, shown_as=f"{product}/{EVALS}") if path.exists() else Suite(product)


def run_gates(candidate: Snapshot, product: str, *, as_of: datetime, open_live: OpenLive) -> list[GateResult]:
    """The verdicts on a candidate that changes `product`.

    Golden values and forbidden answers of every product are asked again, since two products that each pass can
    break a metric together; questions only of the product that changed.
    """
    asker = Asker(candidate, as_of=as_of, open_live=open_live)
    results: list[GateResult] = []
    for name in sorted(candidate.generations):
        suite = sealed_suite(candidate, name)
        if suite.count:
            results.extend(verdicts(run_suite(asker, suite, retrieval=name == product)))
    return results


def verdicts(result: SuiteResult) -> list[GateResult]:
    """One verdict a golden value, forbidden answer and retrieval floor. A single missed question is no verdict."""
    gates = [
        GateResult(f"{case.kind} {result.product}/{case.id}", case.passed, case.detail)
        for case in result.cases
        if case.kind != "retrieval"
    ]
    for measure, floor in sorted(result.floors.items()):
        value = result.scores.get(measure, 0.0)
        detail = f"{measure} {value:.4f}, floor {floor:.4f}"
        gates.append(GateResult(f"{measure} {result.product}", measure not in result.below_floor, detail))
    return gates
