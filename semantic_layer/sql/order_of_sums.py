"""The same sums taken in another order: what then differs in an answer is rounding, and nothing else."""

from __future__ import annotations

import re

# A sum of ours, as semantic_layer.sql.parts writes it. A quote inside a literal or a name is doubled, so that no
# literal and no name can hold this text.
_SUM = re.compile(r"""\b(SUM|AVG)\(("[vp]\d+")\)""")


def by_size(sql: str) -> str:
    """A statement for DuckDB with each sum and average of a part taken from the least value to the greatest.

    Integers and decimals come out the same; floating sums are rounded otherwise, the more the more they cancel.
    """
    return _SUM.sub(r"\1(\2 ORDER BY \2)", sql)
