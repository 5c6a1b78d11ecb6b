"""Retrieval quality in the field's own measures, computed by ir-measures: nDCG@10, recall@10 and MRR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ir_measures
from ir_measures import RR, R, nDCG

NAMES = {"ndcg_at_10": nDCG @ 10, "recall_at_10": R @ 10, "mrr": RR}


Ranked = Mapping[str, Sequence[str]]
Relevant = Mapping[str, Mapping[str, int] | frozenset[str]]


def retrieval_scores(ranked: Ranked, relevant: Relevant) -> dict[str, float]:
    """Mean nDCG@10, recall@10 and MRR (all 0..1) over the questions of `relevant`.

    `ranked` holds each question's documents, best first, each document once; a question without hits scores 0.
    `relevant` holds grades, or a set where every document counts 1. Ties cannot arise: rank decides, so the
    result does not depend on an evaluator's tie order.
    """
    if not relevant:
        return {}
    judgments, run = _trec(ranked, relevant)
    found = ir_measures.calc_aggregate(list(NAMES.values()), judgments, run)
    return {name: float(found[measure]) for name, measure in NAMES.items()}


def ndcg_by_question(ranked: Ranked, relevant: Relevant) -> dict[str, float]:
    """nDCG@10 (0..1) of each question of `relevant`, read as `retrieval_scores` reads them."""
    scores = dict.fromkeys(relevant, 0.0)
    for metric in ir_measures.iter_calc([nDCG @ 10], *_trec(ranked, relevant)) if relevant else ():
        scores[metric.query_id] = float(metric.value)
    return scores


def _trec(ranked: Ranked, relevant: Relevant) -> tuple[list[ir_measures.Qrel], list[ir_measures.ScoredDoc]]:
    judgments = [
        ir_measures.Qrel(question, document, grade)
        for question, judged in relevant.items()
        for document, grade in (judged.items() if isinstance(judged, Mapping) else ((d, 1) for d in judged))
    ]
    run = [
        ir_measures.ScoredDoc(question, document, -float(rank))
        for question, documents in ranked.items()
        for rank, document in enumerate(documents)
    ]
    return judgments, run
