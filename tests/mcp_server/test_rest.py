"""The REST twin against its own OpenAPI document: schemathesis sends what it allows and what it does not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.mcp_server.callers import OPERATOR
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
)
EXAMPLES = 8


@pytest.fixture(scope="module")
def running(tiny: BuiltWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A copy of the tiny workspace: operators' tools leave jobs behind."""
    root = tmp_path_factory.mktemp("rest") / "own"
    shutil.copytree(tiny.root, root, symlinks=True)
    with running_server(BuiltWorkspace(root)) as server:
        yield server


@pytest.fixture(scope="module")
def credential(running: Running) -> dict[str, str]:
    """A caller who reads and operates, so that no tool is hidden."""
    return {"Authorization": f"Bearer {running.token(OPERATOR)}"}


BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_path_answers_as_its_document_says(
    running: Running, credential: dict[str, str], mode: GenerationMode
) -> None:
    document = httpx2.get(f"{running.origin}/api/openapi.json", headers=credential).json()
    described = schemathesis.openapi.from_dict(document)
    described.config.update(base_url=running.origin)
    asked: set[str] = set()
    for found in described.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.method.upper() != "POST":
            continue  # nothing can be wrong about a request without parts
        asked.add(operation.path)

        @BOUNDED
        @given(operation.as_strategy(generation_mode=mode))
        def answered(case: Any) -> None:
            case.call_and_validate(headers=credential, checks=CHECKS)

        answered()
    assert len([path for path in asked if path.startswith("/api/tools/")]) >= 13
