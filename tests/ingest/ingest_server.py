"""A child process that runs ingests in forks of itself, so that a test can kill one every fraction of a second.

Reads a line of JSON a request: {"root": workspace, "kill_after": seconds or null, "file_limit": bytes or null}.
Answers a line: {"signal", "seconds", "failures"}.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from ingest.products import ingest_all
from ingest.progress import Silent
from ingest.settings import IngestSettings
from semantic_layer.errors import WellheadError
from semantic_layer.workspace import load_workspace

LATE = ("pyarrow.dataset", "dateutil.rrule", "pytrec_eval", "sqlglot.dialects.duckdb")
"""What an ingest imports when it first needs it; here once, instead of in every fork."""


def main() -> None:
    """Serve requests until standard input ends."""
    for module in LATE:
        import_module(module)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one ingest in a fork; SIGKILL it after `kill_after` seconds when it still runs."""
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        run(request, writer)
        os._exit(0)
    os.close(writer)
    if request["kill_after"] is not None:
        select.select([reader], [], [], request["kill_after"])
        os.kill(child, signal.SIGKILL)
    said = b""
    while part := os.read(reader, 65536):
        said += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    failures = json.loads(said) if said else None
    return {"signal": os.WTERMSIG(status), "seconds": time.monotonic() - started, "failures": failures}


def run(request: dict[str, Any], writer: int) -> None:
    """Ingest every product and write the failures, as code and message, to the pipe."""
    if request["file_limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"], resource.RLIM_INFINITY))
    try:
        workspace = load_workspace(Path(request["root"]))
        outcomes = ingest_all(workspace, (), IngestSettings({}), by="test", progress=Silent())
        failures = [(name, one.code, one.message) for name, one in outcomes if isinstance(one, WellheadError)]
    except BaseException as error:
        failures = [("", type(error).__name__, str(error))]
    os.write(writer, json.dumps(failures).encode())


if __name__ == "__main__":
    main()
