"""What a person is told of mistakes in evals.yaml, before anything is built."""

from __future__ import annotations

from tests.semantic_layer.conftest import Write, mistakes

EVALS = """\
version: 1
gates: {ndcg_at_10: 0.5, recal_at_10: 0.5}
retrieval:
  - {id: one, as: {roles: [analyst]}, question: How long?, relevant: [a.md], filters: {field: region, op: equals}}
metrics:
  - {id: one, as: {roles: [analyst]}, query: {metric: [revenue]}, expect: [{revenue: 1}]}
forbidden:
  - {id: two, as: {roles: [public]}, ask: {search: {question: x}, lookup: {}}}
  - {id: three, ask: {search: {question: x}}, never: [secret]}
"""


def test_every_mistake_in_the_evaluations_is_named_with_its_line(workspace: Write) -> None:
    said = mistakes(workspace(files={"evals.yaml": EVALS}))
    expected = [
        (2, "recall_at_10"),
        (4, "no operator 'equals'"),
        (6, "'metric'"),
        (6, "stands twice"),
        (8, "exactly one"),
        (8, "never"),
        (9, "`as`"),
    ]
    for line, words in expected:
        assert any(f"evals.yaml:{line}:" in one and words in one for one in said), (line, words, said)
    assert len(said) == len(expected)


def test_a_good_suite_is_read_whole(workspace: Write) -> None:
    good = EVALS.replace("recal_at_10", "recall_at_10").split("retrieval:")[0]
    assert mistakes(workspace(files={"evals.yaml": good})) == []
