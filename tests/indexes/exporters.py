"""Exporters of one model, in processes forked from one that has loaded torch: loading it takes longer than they do.

`python -m tests.indexes.exporters MODEL HOME` kills one while it builds, then lets two run at once, and prints as JSON
what was left of the first and the folders that the others returned.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO

from indexes.embedder_export import export_model


def exporter(model: str, home: Path) -> tuple[int, IO[str]]:
    """A process that exports: its id, and a pipe that ends with it and holds the folder it returned."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        return child, os.fdopen(reading)
    with os.fdopen(writing, "w") as pipe:
        pipe.write(str(export_model(model, home)))
    os._exit(0)


def main() -> None:
    model, home = sys.argv[1], Path(sys.argv[2])
    child, pipe = exporter(model, home)
    while not list(home.glob("models/.*.building")):
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    killed = pipe.read()
    left = sorted(path.suffix for path in (home / "models").iterdir())
    pair = [exporter(model, home) for _ in range(2)]
    print(json.dumps({"killed": killed, "left": left, "folders": [pipe.read() for _, pipe in pair]}))


if __name__ == "__main__":
    main()
