"""How many tokens a text costs, from its words: each word is counted once by the embedder's own tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

CountTokens = Callable[[Sequence[str]], list[int]]
"""Tokens of each text as the model counts them, special tokens included (`Embedder.count_tokens`)."""

LONGEST_WORD = 40
"""Longer runs without white space are counted, and may be parted, in slices of so many characters."""

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNIT = re.compile(rf"[{_IDEOGRAPHS}]|[^\s{_IDEOGRAPHS}]{{1,{LONGEST_WORD}}}")
_MOST_KNOWN = 500_000


class TokenSizes:
    """A memo of word sizes for one tokenizer.

    The sum over words equals the true count for tokenizers that part text at white space first (WordPiece), and
    is a close estimate for others; `exact` asks the tokenizer itself. `special` is what every text costs besides.
    """

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count = count_tokens
        self._known: dict[str, int] = {}
        self.special = count_tokens([""])[0]

    def learn(self, texts: Iterable[str]) -> None:
        """Count, in one batch, the words of these texts that are not known yet."""
        new = {unit for text in texts for unit in _units(text)}.difference(self._known)
        if not new:
            return
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        words = sorted(new)
        for word, tokens in zip(words, self._count(words), strict=True):
            self._known[word] = tokens - self.special

    def of(self, text: str) -> int:
        """The tokens of a text without special tokens, as the sum over its words."""
        known = self._known
        try:
            return sum([known[unit] for unit in _units(text)])
        except KeyError:
            self.learn([text])
            return sum([self._known[unit] for unit in _units(text)])

    def exact(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text as the tokenizer counts the whole of it, special tokens included."""
        return self._count(texts) if texts else []


def _units(text: str) -> list[str]:
    if text.isascii():
        words = text.split()
        if not words or len(max(words, key=len)) <= LONGEST_WORD:
            return words
    return _UNIT.findall(text)
