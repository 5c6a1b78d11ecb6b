"""Opens what cases are asked of: the library of a workspace's live generations, and its live records."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping

from indexes.embedder import open_identified
from indexes.ledgers import open_ledger
from indexes.library import Library
from indexes.live import LiveRecords
from indexes.servers import Servers
from semantic_layer.door import Door


@contextlib.contextmanager
def opened(door: Door, environment: Mapping[str, str]) -> Generator[tuple[Library, LiveRecords]]:
    """The library and the live records; engines and connections are closed at the end."""
    settings = door.settings
    ledger = open_ledger(door.home, settings.ledger, settings.postgres, environment)
    servers = Servers(settings.engines.below(door.root), environment, settings.postgres)
    library = Library(
        door.home, lambda identity: open_identified(door.home, identity), ledger=ledger, servers=servers
    )
    live = LiveRecords(environment)
    try:
        yield library, live
    finally:
        live.close()
        library.close()
        servers.close()
        ledger.close()
