"""The benchmark runs, small, and says how `retrieve` compares with its bare parts."""

from __future__ import annotations

from pathlib import Path

from evals.bench_retrieve import FILTERS, build, measure
from indexes.embedder import OnnxEmbedder


def test_the_benchmark_reports_each_filter_beside_the_bare_parts(tmp_path: Path, embedder: OnnxEmbedder) -> None:
    live, questions, seconds = build(tmp_path, 300, embedder, real_texts=20)
    assert seconds.keys() == {"vectors", "text", "tables", "open"}
    figures = measure(live, questions, repeats=3)
    assert figures.keys() == FILTERS.keys()
    assert all(one["p50_ms"] > 0 and one["bare_p50_ms"] > 0 for one in figures.values())
    live.close()
