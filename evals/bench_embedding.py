"""How much faster our embedding is than plain sentence-transformers, and what it costs in quality, in one run.

`python -m evals.bench_embedding` prints one JSON object. Both sides embed the same texts in turn (A, B, A, B),
so that a busy machine slows both; trust the ratios, not the bare figures.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.scores import retrieval_scores
from indexes.embedder import OnnxEmbedder, open_embedder
from indexes.embedder_model import DEFAULT_MODEL, find_source
from indexes.embedder_process import TorchWorker

TRUTH = Path(__file__).resolve().parents[2] / "shared" / "truth" / "retrieval" / "cranfield"
PLAIN_BATCH_SIZE = 32
WORDS = (
    "the flow of a boundary layer over wing body and nose was measured at several stations in supersonic stream "
    "customer order return revenue net gross stock daily ticket region fiscal policy delivery"
)


def bench(home: Path, truth: Path, *, texts: int, rounds: int) -> dict[str, Any]:
    """Speed and quality of the default model, each as a ratio to its plain form.

    Speed: documents a second of `OnnxEmbedder.embed` and of `SentenceTransformer.encode` (torch fp32, batches of
    32, the model loaded), on `texts` texts. Quality: nDCG@10 of vectors alone against fp32's, on `truth` (BEIR
    form); `not_checked` where that folder is absent. Query latency in milliseconds, one question at a time.
    """
    ours = open_embedder(home, DEFAULT_MODEL)
    corpus = read_corpus(truth, ours) if truth.is_dir() else {}
    sample = [text for _, text in sorted(corpus.items())][:texts] or invented(texts)
    plain = TorchWorker(find_source(DEFAULT_MODEL), device="cpu", precision="fp32", batch_size=PLAIN_BATCH_SIZE)
    plain.embed(sample[:4])
    ours.embed(sample[:4])
    speeds = [(rate(plain.embed, sample), rate(ours.embed, sample)) for _ in range(rounds)]
    plain.close()
    return {
        "model": DEFAULT_MODEL,
        "precision": ours.identity["precision"],
        "texts": len(sample),
        "mean_tokens": round(statistics.mean(ours.count_tokens(sample)), 1),
        "plain_docs_per_s": [round(one, 1) for one, _ in speeds],
        "our_docs_per_s": [round(one, 1) for _, one in speeds],
        "speed_ratio": round(statistics.median(our / other for other, our in speeds), 2),
        "query_ms": query_latency(ours),
        "ndcg_at_10": quality(home, truth, corpus, ours) if corpus else "not_checked",
    }


def rate(embed: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """Texts a second."""
    start = time.perf_counter()
    embed(texts)
    return len(texts) / (time.perf_counter() - start)


def query_latency(embedder: OnnxEmbedder, times: int = 100) -> dict[str, float]:
    """p50 and p95 of one short question, in milliseconds."""
    taken: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        embedder.embed_query("how long may a customer return shoes that were bought on sale")
        taken.append((time.perf_counter() - start) * 1000)
    cuts = statistics.quantiles(taken, n=20)
    return {"p50": round(cuts[9], 2), "p95": round(cuts[18], 2)}


def quality(home: Path, truth: Path, corpus: dict[str, str], ours: OnnxEmbedder) -> dict[str, float]:
    """nDCG@10 of vectors alone in fp32 and in our precision, and their ratio."""
    relevant: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for line in (truth / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, document, grade = line.split("\t")
        relevant[question][document] = int(grade)
    questions = {each["_id"]: each["text"] for each in read_lines(truth / "queries.jsonl")}
    names = np.array(list(corpus))
    scores: dict[str, float] = {}
    for embedder in (open_embedder(home, DEFAULT_MODEL, "fp32"), ours):
        vectors = embedder.embed(list(corpus.values()))
        ranked = {
            question: list(names[np.argsort(-(vectors @ embedder.embed_query(text).vector))[:10]])
            for question, text in questions.items()
        }
        scores[embedder.identity["precision"]] = retrieval_scores(ranked, relevant)["ndcg_at_10"]
    rounded = {precision: round(score, 4) for precision, score in scores.items()}
    return rounded | {"ratio": round(scores[ours.identity["precision"]] / scores["fp32"], 4)}


def read_corpus(truth: Path, embedder: OnnxEmbedder) -> dict[str, str]:
    """Each document's title and text by id, cut to the model's limit as plain sentence-transformers would."""
    documents = {
        each["_id"]: f"{each['title']} {each['text']}".strip() for each in read_lines(truth / "corpus.jsonl")
    }
    return {name: fitted(text, embedder) for name, text in documents.items()}


def fitted(text: str, embedder: OnnxEmbedder) -> str:
    """The text's first words, as many as surely fit the model's limit."""
    while (tokens := embedder.count_tokens([text])[0]) > embedder.max_tokens:
        words = text.split()
        text = " ".join(words[: min(len(words) - 1, len(words) * embedder.max_tokens // tokens)])
    return text


def read_lines(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSON lines file."""
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def invented(count: int) -> list[str]:
    """Seeded texts of about 177 tokens, for machines without the truth folder."""
    seeded = random.Random(7)
    return [" ".join(seeded.choices(WORDS.split(), k=seeded.randint(100, 240))) for _ in range(count)]


def main() -> None:
    """Run the benchmark and print its figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m evals.bench_embedding", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".wellhead"), help="where models are kept")
    parser.add_argument("--truth", type=Path, default=TRUTH, help="a BEIR folder: corpus, queries, qrels")
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(bench(options.home, options.truth, texts=options.texts, rounds=options.rounds), indent=2))


if __name__ == "__main__":
    main()
