"""The gates that a candidate edition passes before it is published: its whole catalogue, and every evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from evals.ask import Asker
from evals.fusion_weight import Weighing, choose_weight
from evals.gates import GateResult, run_gates, sealed_suite
from indexes.library import Snapshot
from indexes.lookup import OpenLive
from semantic_layer.errors import GateFailed
from semantic_layer.product import DataProduct
from semantic_layer.references import check_references
from semantic_layer.semantics.checks import check_across

Gate = Callable[[Snapshot, str], Sequence[GateResult]]
"""Judges a candidate edition that changes the product of this name."""


def catalogue_gate(planned: Mapping[str, DataProduct]) -> Gate:
    """Whether every reference between products leads somewhere: to a live product, or to one of the workspace
    (`planned`) that is not live yet, as when a workspace is ingested for the first time."""

    def judge(candidate: Snapshot, product: str) -> Sequence[GateResult]:
        live = {name: one.product for name, one in candidate.generations.items()}
        products = {**planned, **live}
        models = {name: one.semantics for name, one in candidate.generations.items() if one.semantics}
        files = {name: f"{name}/contract.yaml" for name in products}
        wrong = [
            problem
            for problem in (*check_references(products, files), *check_across(models, products))
            if not problem.file.startswith(tuple(f"{name}/" for name in planned.keys() - live.keys()))
        ]
        return [GateResult(f"catalogue {product}", not wrong, "; ".join(map(str, wrong)))]

    return judge


def evaluation_gate(open_live: OpenLive) -> Gate:
    """Golden values, forbidden answers and retrieval floors, as the sealed evals.yaml states them."""

    def judge(candidate: Snapshot, product: str) -> Sequence[GateResult]:
        return run_gates(candidate, product, as_of=datetime.now(UTC), open_live=open_live)

    return judge


Weigh = Callable[[Snapshot, str], Weighing | None]
"""Weighs vectors beside words for the product of this name, in a candidate edition; None keeps the default."""


def weighed_by_questions(open_live: OpenLive) -> Weigh:
    """By the retrieval questions sealed with the product, where it has enough of them."""

    def weigh(candidate: Snapshot, product: str) -> Weighing | None:
        asker = Asker(candidate, as_of=datetime.now(UTC), open_live=open_live)
        return choose_weight(asker, sealed_suite(candidate, product))

    return weigh


def judged(gates: Sequence[Gate], candidate: Snapshot, product: str) -> list[GateResult]:
    """Every gate's results. Raises GateFailed that lists all that did not pass."""
    results = [result for gate in gates for result in gate(candidate, product)]
    failed = [result for result in results if not result.passed]
    if failed:
        listing = "\n".join(f"  {result.name}: {result.detail}" for result in failed)
        raise GateFailed(
            f"{product} does not pass {len(failed)} of {len(results)} gates:\n{listing}",
            hint="Mend the data, the semantics or the policy; the live generation keeps serving.",
        )
    return results
