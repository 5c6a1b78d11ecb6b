"""The official conformance suite, in both its lines, against this server's own stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.npm import Npm, outcomes
from tests.mcp_server.running import Running

pytestmark = [
    pytest.mark.conformance,
    # The fixtures exercise what the protocol itself calls deprecated: logging, sampling, roots.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

OLD, NEW = "conformance-0.1/dist/index.js", "conformance-0.2/dist/index.js"


NEEDS_FIXTURES = {"sep-2575-server-rejects-undeclared-capability", "sep-2575-server-no-log-without-loglevel"}
SHIPPED = {
    "2025-11-25": {
        "server-initialize",
        "ping",
        "completion-complete",
        "tools-list",
        "resources-list",
        "prompts-list",
    },
    "2026-07-28": {
        "server-stateless",
        "completion-complete",
        "tools-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "prompts-list",
        "caching",
        "http-header-validation",
    },
}
"""What the suite can ask of a server without its fixtures."""


TASKS = {
    "tasks-capability-negotiation",
    "tasks-dispatch-and-envelope",
    "tasks-lifecycle",
    "tasks-mrtr-composition",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-request-state-removal",
    "tasks-required-task-error",
    "tasks-wire-fields",
}
"""The scenarios of the tasks extension, none of them scored; the tenth, `tasks-status-notifications`, is skipped by the
suite itself."""


def failed(ran: Mapping[str, list[dict[str, Any]]], asked: set[str]) -> dict[str, list[str]]:
    """The failed checks of each scenario asked for; one that did not run has failed too."""
    mistakes = {name: ["did not run"] for name in asked - ran.keys()}
    for name in asked & ran.keys():
        wrong = [one for one in ran[name] if one["status"] == "FAILURE"]
        if wrong or not any(one["status"] == "SUCCESS" for one in ran[name]):
            mistakes[name] = [f"{one['id']}: {one.get('errorMessage', '')}" for one in wrong]
    return mistakes


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_every_scored_scenario_of_a_revision_passes(
    npm: Npm, with_fixtures: Running, tmp_path: Path, revision: str
) -> None:
    done = npm.run(NEW, "server", "--url", with_fixtures.url, "--requirements", revision, "-o", str(tmp_path))
    requirements = npm.folder / "node_modules/conformance-0.2/requirements" / f"{revision}.yaml"
    scored = set(yaml.safe_load(requirements.read_text())["server"])
    assert len(scored) == {"2025-11-25": 30, "2026-07-28": 37}[revision]
    assert failed(outcomes(tmp_path), scored | (TASKS if revision == "2026-07-28" else set())) == {}
    assert done.returncode == 0, done.stdout[-4_000:]


def test_the_suite_of_the_handshake_era_passes(npm: Npm, with_fixtures: Running, tmp_path: Path) -> None:
    done = npm.run(OLD, "server", "--url", with_fixtures.url, "--suite", "all", "-o", str(tmp_path))
    assert done.returncode == 0, done.stdout[-4_000:]
    assert len(outcomes(tmp_path)) == 32
    assert " 0 failed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_the_server_as_it_ships_passes_what_needs_no_fixture(
    npm: Npm, plain: Running, tmp_path: Path, revision: str
) -> None:
    done = npm.run(NEW, "server", "--url", plain.url, "--requirements", revision, "-o", str(tmp_path))
    ran = {
        name: [check for check in checks if check["id"] not in NEEDS_FIXTURES and not untestable(check)]
        for name, checks in outcomes(tmp_path).items()
    }
    assert failed(ran, SHIPPED[revision]) == {}
    assert done.returncode != 0, "without fixtures the suite must notice what is missing"


def untestable(check: dict[str, Any]) -> bool:
    """Whether the suite says that only a fixture could show this."""
    return bool((check.get("details") or {}).get("untestable"))
