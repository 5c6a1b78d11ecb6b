"""Retrieval quality in the field's own measures, computed by ir-measures: nDCG@10, recall@10 and MRR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ir_measures
from ir_measures import RR, R, nDCG

NAMES = {"ndcg_at_10": nDCG @ 10, "recall_at_10": R @ 10, "mrr": RR}


def retrieval_scores(
    ranked: Mapping[str, Sequence[str]], relevant: Mapping[str, Mapping[str, int] | frozenset[str]]
) -> dict[str, float]:
    """Mean nDCG@10, recall@10 and MRR (all 0..1) over the questions of `relevant`.

    `ranked` holds each question's documents, best first, each document once; a question without hits scores 0.
    `relevant` holds grades, or a set where every document counts 1. Ties cannot arise: rank decides, so the
    result does not depend on an evaluator's tie order.
    """
    if not relevant:
        return {}
    qrels = [
        ir_measures.Qrel(question, document, grade)
        for question, judged in relevant.items()
        for document, grade in (judged.items() if isinstance(judged, Mapping) else ((d, 1) for d in judged))
    ]
    run = [
        ir_measures.ScoredDoc(question, document, -float(rank))
        for question, documents in ranked.items()
        for rank, document in enumerate(documents)
    ]
    found = ir_measures.calc_aggregate(list(NAMES.values()), qrels, run)
    return {name: float(found[measure]) for name, measure in NAMES.items()}
