"""Two rankings made one, by convex sums and by reciprocal ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.fusion import fuse
from indexes.ports import Numbers, Scores

Leg = tuple[Numbers, Scores]


def leg(**scores: float) -> Leg:
    """A leg from n<number>=score, best first."""
    ordered = sorted(scores.items(), key=lambda one: (-one[1], one[0]))
    return (
        np.array([int(name[1:]) for name, _ in ordered], np.int64),
        np.array([score for _, score in ordered], np.float32),
    )


def test_a_convex_sum_of_stretched_scores() -> None:
    fused = fuse(leg(n1=0.9, n2=0.5, n3=0.1), leg(n2=12.0, n4=8.0, n5=4.0))
    assert fused.numbers.tolist() == [1, 2, 4, 3, 5]
    assert fused.scores.tolist() == pytest.approx([0.7, 0.7 * 0.5 + 0.3, 0.15, 0.0, 0.0])
    assert fused.dense_ranks.tolist() == [1, 2, 0, 3, 0]
    assert fused.sparse_ranks.tolist() == [0, 1, 2, 0, 3]


def test_equal_sums_are_ordered_by_dense_score_then_number() -> None:
    fused = fuse(leg(n7=0.9, n8=0.1), leg(n9=3.0, n4=1.0, n3=1.0), dense_weight=0.5)
    assert fused.scores.tolist() == pytest.approx([0.5, 0.5, 0, 0, 0])
    assert fused.numbers.tolist() == [7, 9, 8, 3, 4]


def test_one_leg_alone_keeps_its_order() -> None:
    nothing: Leg = (np.empty(0, np.int64), np.empty(0, np.float32))
    assert fuse(leg(n1=0.2, n2=0.4), nothing, dense_weight=1.0).numbers.tolist() == [2, 1]
    assert fuse(nothing, leg(n1=0.2, n2=0.4), dense_weight=0.0).numbers.tolist() == [2, 1]
    assert fuse(nothing, nothing).numbers.tolist() == []


def test_reciprocal_ranks_add_up() -> None:
    fused = fuse(leg(n1=0.9, n2=0.5), leg(n2=12.0, n3=8.0), kind="rrf")
    assert fused.numbers.tolist() == [2, 1, 3]
    assert fused.scores.tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_other_dense_scores_are_fused_anew_with_the_words() -> None:
    fused = fuse(leg(n1=0.9, n2=0.5, n3=0.1), leg(n2=12.0, n4=8.0, n5=4.0))
    again = fused.rescored(np.array([0.0, 1.0, 0.5], np.float32), 0.7)
    assert again.numbers.tolist() == [2, 4, 1]
    assert again.scores.tolist() == pytest.approx([1.0, 0.7 * 0.5 + 0.15, 0.0])
    assert again.dense_ranks.tolist() == [1, 2, 3]


scores = st.dictionaries(st.integers(0, 30), st.floats(-1, 1, width=32), max_size=20)


@given(dense=scores, sparse=scores, weight=st.floats(0, 1))
def test_every_candidate_comes_once_and_best_first(
    dense: dict[int, float], sparse: dict[int, float], weight: float
) -> None:
    legs = [leg(**{f"n{number}": score for number, score in one.items()}) for one in (dense, sparse)]
    fused = fuse(*legs, dense_weight=weight)
    assert sorted(fused.numbers.tolist()) == sorted(dense.keys() | sparse.keys())
    assert (np.diff(fused.scores) <= 0).all()
    assert not len(fused.scores) or (fused.scores.min() >= 0 and fused.scores.max() <= 1 + 1e-6)
    again = fuse(*legs, dense_weight=weight)
    assert again.numbers.tolist() == fused.numbers.tolist()


@given(st.floats(0, 1), st.floats(0, 1))
def test_each_candidate_can_have_a_weight_of_its_own(low: float, high: float) -> None:
    legs = leg(n1=0.9, n2=0.5, n3=0.1), leg(n2=4.0, n3=2.0, n4=1.0)
    mixed = fuse(*legs, dense_weight=lambda numbers: np.where(numbers < 3, low, high).astype(np.float32))
    for weight, mine in ((low, (1, 2)), (high, (3, 4))):
        whole = fuse(*legs, dense_weight=weight)
        for number in mine:
            expected = whole.scores[whole.numbers == number]
            assert mixed.scores[mixed.numbers == number] == pytest.approx(expected, abs=1e-6)
