"""What the texts of a column are like: prose or codes, nearly numbers or dates, personal or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ingest.infer.kinds import near_miss
from ingest.infer.personal import personal_inside, personal_value

_SAMPLED = 10_000
_LONG_TEXT = 100
_INSIDE_SHARE = 0.01
_PERSONAL_SHARE = 0.2
_NEARLY = 0.8


@dataclass
class TextSigns:
    """Counts over the texts of one column. How they are written is told by the first _SAMPLED of them, signs of
    persons are looked for in all.
    """

    count: int = 0
    sampled: int = 0
    words: int = 0
    longest: int = 0
    near: Counter[str] = field(default_factory=Counter[str])
    odd_one: str = ""
    personal: int = 0
    inside: int = 0

    def add(self, text: str) -> None:
        """Take one text into account."""
        self.count += 1
        self.personal += personal_value(text)
        self.inside += personal_inside(text)
        if self.sampled < _SAMPLED:
            self.sampled += 1
            self.longest = max(self.longest, len(text))
            self.words += len(text.split())
            near = near_miss(text.strip())
            self.near[near] += 1
            self.odd_one = self.odd_one if near else text[:40]

    @property
    def are_prose(self) -> bool:
        """Whether people wrote sentences here: worth searching by meaning."""
        average = self.words / self.sampled if self.sampled else 0
        return average >= 8 or (average >= 4 and self.longest >= _LONG_TEXT)

    @property
    def are_personal(self) -> bool:
        """Whether they are addresses, accounts or the like, or enough of them hold one."""
        if not self.count:
            return False
        return self.personal / self.count >= _PERSONAL_SHARE or self.inside / self.count > _INSIDE_SHARE

    @property
    def almost(self) -> str:
        """What most of them nearly are, in words for a person; empty where they are plainly texts."""
        near, count = next(iter(self.near.most_common(1)), ("", 0))
        if not near or count < _NEARLY * self.sampled:
            return ""
        but = f", but for values such as {self.odd_one!r}" if count < self.sampled else ""
        return f"holds {near}{but}, and stays text"
