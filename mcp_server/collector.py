"""Keeps Python's collector of cycles out of the way of calls."""

from __future__ import annotations

import gc

COLLECTED_AFTER = (10_000, 20, 50)
"""New objects, and rounds of the younger generations, after which the collector looks at each generation."""


def spare_collector() -> None:
    """Have the collector leave alone what a server has loaded for good, and look less often; for a process of its own.

    At its defaults it looks after every 700 new objects, which is several times a call, and each of its full rounds
    stops all calls while it walks through every library.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
