"""The official inspector's command line as a client: both eras over HTTP, and stdio."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.npm import Npm
from tests.mcp_server.running import Running

pytestmark = pytest.mark.conformance

INSPECTOR = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
ERAS = ("legacy", "modern")
WRONG_ANSWER = 5


def over_http(npm: Npm, running: Running, era: str, *asked: str) -> dict[str, Any]:
    done = npm.run(
        INSPECTOR,
        "--cli",
        running.url,
        "--protocol-era",
        era,
        *asked,
        "--stored-auth-only",
        "--format",
        "json",
        "-q",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["result"]


@pytest.mark.parametrize("era", ERAS)
def test_every_schema_in_the_list_of_tools_is_portable(npm: Npm, plain: Running, era: str) -> None:
    done = npm.run(
        INSPECTOR,
        "--cli",
        plain.url,
        "--protocol-era",
        era,
        "--method",
        "tools/list",
        "--strict",
        "--format",
        "json",
        "-q",
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert len(json.loads(done.stdout)["result"]["tools"]) > 10


@pytest.mark.parametrize("era", ERAS)
def test_a_metric_is_answered(npm: Npm, plain: Running, era: str) -> None:
    found = over_http(npm, plain, era, "--method", "tools/call", "--tool-name", "status")
    assert found["structuredContent"]["status"] == "ok"


@pytest.mark.parametrize("era", ERAS)
def test_an_error_result_ends_with_the_inspectors_own_exit_code(npm: Npm, plain: Running, era: str) -> None:
    asked = ("--method", "tools/call", "--tool-name", "describe", "--tool-arg", "ref=nothing", "-q")
    done = npm.run(INSPECTOR, "--cli", plain.url, "--protocol-era", era, *asked)
    assert done.returncode == WRONG_ANSWER


def test_the_same_tools_are_there_over_stdio(npm: Npm, plain: Running, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "wellhead", "--workspace", str(plain.root), "serve", "--no-worker")
    listing = ("--method", "tools/list", "--format", "json", "-q")
    done = npm.run(INSPECTOR, "--cli", *command, *listing)
    assert done.returncode == 0, done.stderr
    over_stdio = [tool["name"] for tool in json.loads(done.stdout)["result"]["tools"]]
    assert "query_metrics" in over_stdio
    assert "ingest" not in over_stdio
