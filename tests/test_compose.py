"""compose.yaml and its image: valid by Compose's own schema, hardened, pinned, and with settings that exist.

No container engine runs here: what these tests read is what an engine would be handed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from semantic_layer.door import Door

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "docs" / "deploy" / "Dockerfile").read_text(encoding="utf-8")
SECRETS = {"POSTGRES_PASSWORD": "postgres-secret", "ELASTIC_PASSWORD": "elastic-secret"}
SET = {**SECRETS, "WORKSPACE": "./examples/outfitter"}

_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?::([?-])([^}]*))?\}")


def filled(text: str) -> str:
    """The text as Compose interpolates it with SET and nothing else."""
    return _VARIABLE.sub(lambda found: SET.get(found[1], found[3] or ""), text)


def test_the_file_is_valid_by_composes_own_schema() -> None:
    schema = json.loads((ROOT / "tests" / "compose" / "compose-spec.json").read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    wrong = [f"{list(error.path)}: {error.message}" for error in Draft7Validator(schema).iter_errors(COMPOSE)]
    assert wrong == []


def test_each_profile_starts_what_its_name_says() -> None:
    started = {
        profile: {n for n, s in SERVICES.items() if profile in s.get("profiles", [""])}
        for profile in ("", "gpu", "observability")
    }
    assert started == {
        "": {"postgres", "elasticsearch", "wellhead"},
        "gpu": {"worker-gpu"},
        "observability": {"prometheus", "jaeger"},
    }


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_pinned_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].split(":")[0]) > 0
    assert re.search(r":v?\d+\.\d+", service["image"]), "a tag names a version"
    assert service["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_secrets_come_from_the_environment_and_a_missing_one_stops_the_start() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for secret in SECRETS:
        uses = re.findall(rf"\$\{{{secret}[^}}]*\}}", text)
        assert uses
        assert all(use.startswith(f"${{{secret}:?") for use in uses)
    assert not re.search(r"(?i)password: (?!\$\{)\S", text)


def test_every_named_volume_and_mounted_file_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / filled(source)).exists(), source


@pytest.mark.parametrize("name", ["wellhead", "worker-gpu"])
def test_the_server_understands_the_settings_that_it_is_given(name: str) -> None:
    service = SERVICES[name]
    environment = {key: filled(str(value)) for key, value in service["environment"].items()}
    workspace = next(one for one in service["volumes"] if isinstance(one, dict))
    door = Door(ROOT / filled(workspace["source"]), environment)
    settings = door.settings
    assert settings.ledger == "postgres"
    assert settings.engines.text == "elasticsearch"
    assert door.device == ("gpu" if name == "worker-gpu" else "auto")
    assert environment["WELLHEAD_POSTGRES_DSN"].startswith("postgresql://wellhead:postgres-secret@postgres:5432/")


def test_prometheus_reads_the_port_that_the_server_opens() -> None:
    scraped = yaml.safe_load((ROOT / "docs" / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    targets = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    port = SERVICES["wellhead"]["environment"]["WELLHEAD_SERVER_METRICS"].rpartition(":")[2]
    assert targets == [f"wellhead:{port}"]
    assert port in re.findall(r"EXPOSE (.*)", DOCKERFILE)[0].split()


def test_the_image_is_built_in_stages_and_runs_as_nobody_special() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert [name for _, name in stages] == ["build", "run"]
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image, _ in stages)
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "pip install" not in last
    assert "--require-hashes" in DOCKERFILE


def test_what_the_image_copies_is_in_the_repository() -> None:
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    for module in (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("packages = [")[1].split("]")[0].split(",")
    ):
        assert f"COPY {module.strip().strip(chr(34))} " in DOCKERFILE
