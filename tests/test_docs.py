"""The documentation says what the code does: generated pages are current, every name has its place, links lead."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from semantic_layer import contract_hints
from semantic_layer.door import OTHERS, SETTINGS
from semantic_layer.engine_settings import ElasticsearchSettings
from semantic_layer.errors import InvalidWorkspace, Problem
from semantic_layer.filter_form import parse_filter
from semantic_layer.policy import Action
from semantic_layer.principal import Principal
from semantic_layer.semantics import extension
from semantic_layer.settings import WorkspaceSettings, read_settings
from semantic_layer.yaml_file import parse_yaml
from wellhead import COMMANDS, cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
PRODUCT_FILES = (DOCS / "product-files.md").read_text(encoding="utf-8")
CONTEXT = click.Context(cli)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_generated_pages_are_current(generate: ModuleType) -> None:
    stale = [name for name, text in generate.pages().items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run python docs/generate.py"


def test_every_error_has_a_heading_and_advice(generate: ModuleType) -> None:
    codes = {kind.code for kind in generate.error_classes()}
    headings = set(re.findall(r"^## (\w+)$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert codes == headings == set(generate.ADVICE)


def runnable(name: str, command: click.Command | None) -> Iterator[tuple[str, click.Command]]:
    """The commands that do something: those inside a group, with their whole names."""
    assert command is not None, name
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from runnable(f"{name} {inner}", one)
    else:
        yield name, command


def every_command() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        yield from runnable(name, cli.get_command(CONTEXT, name))


def test_every_command_says_what_it_does_with_an_example() -> None:
    for name, command in every_command():
        said = command.help or ""
        assert "Example" in said, name
        assert f"wellhead {name}" in said, name


def test_every_command_prints_json_on_demand_but_those_that_run_on() -> None:
    without = {
        name for name, command in every_command() if not any(one.name == "as_json" for one in command.params)
    }
    assert without <= {"serve", "work"}


def settings_paths(kind: Any, above: str = "") -> Iterator[str]:
    for field in dataclasses.fields(kind):
        default = field.default
        if dataclasses.is_dataclass(default) and not isinstance(default, Principal):
            yield from settings_paths(default, f"{above}{field.name}.")
        else:
            yield f"{above}{field.name}"


def test_every_setting_has_its_row() -> None:
    cluster = settings_paths(
        ElasticsearchSettings, "elasticsearch."
    )  # a section of its own, None where it is absent
    paths = {*settings_paths(WorkspaceSettings), *cluster} - {"engines.elasticsearch"}
    for path in sorted(path.removeprefix("engines.") if ".faiss." in path else path for path in paths):
        shown = f"{path}.principal" if path in ("cli", "stdio") else path
        assert f"| `{shown}` |" in PRODUCT_FILES, shown


def test_every_environment_variable_has_its_row() -> None:
    for name, path in SETTINGS.items():
        assert re.search(rf"^\| `{'.'.join(path)}` \|.*`{name}`", PRODUCT_FILES, re.MULTILINE), name
    for name in OTHERS:
        assert f"| `{name}` |" in PRODUCT_FILES, name


@pytest.mark.parametrize(
    ("owner", "hints"),
    [
        ("contract", contract_hints.PRODUCT),
        ("server", contract_hints.SERVER),
        ("relationship", contract_hints.RELATIONSHIP),
        ("object", contract_hints.DATASET),
        ("property", contract_hints.COLUMN),
        ("model", extension.MODEL),
        ("dataset", extension.DATASET),
        ("field", extension.FIELD),
        ("metric", extension.METRIC),
    ],
)
def test_every_hint_and_extension_has_its_place(owner: str, hints: tuple[str, ...]) -> None:
    rows = "\n".join(re.findall(rf"^\| {owner} \|.*$", PRODUCT_FILES, re.MULTILINE))
    assert [hint for hint in hints if not re.search(rf"`{hint}\b", rows)] == []


def test_every_action_that_a_tool_asks_for_is_explained() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mcp_server").rglob("*.py"))
    asked = {Action[name] for name in re.findall(r"\bAction\.([A-Z]+)\b", sources)}
    assert asked
    assert [action for action in asked if f"| `{action}` |" not in PRODUCT_FILES] == []


def test_the_settings_shown_are_valid() -> None:
    shown = next(block for block in blocks(DOCS / "product-files.md", "yaml") if "embedding:" in block)
    problems: list[Problem] = []
    read_settings(parse_yaml(shown), problems)
    assert problems == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_yaml_and_json_examples_can_be_read(page: Path) -> None:
    for block in blocks(page, "yaml"):
        try:
            parse_yaml(block)
        except InvalidWorkspace as invalid:
            raise AssertionError(f"{page.name}: {invalid}") from invalid
        assert yaml.safe_load(block)
    for block in blocks(page, "json"):
        decoder, rest = json.JSONDecoder(), block.strip()
        while rest:
            _, end = decoder.raw_decode(rest)
            rest = rest[end:].strip()


def test_the_filters_shown_are_filters() -> None:
    (block,) = [one for one in blocks(DOCS / "product-files.md", "json") if '"field"' in one]
    decoder, rest = json.JSONDecoder(), block.strip()
    while rest:
        shown, end = decoder.raw_decode(rest)
        parse_filter(shown)
        rest = rest[end:].strip()


def heading_anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.casefold()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        place, _, anchor = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        assert found.exists(), (page.name, target)
        assert not anchor or anchor in heading_anchors(found), (page.name, target)


def commands_shown() -> Iterator[tuple[str, list[str]]]:
    """Every `wellhead …` line of a shell block, as words."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                # A container is named like the command that runs in it: the last of both is the command.
                for found in re.finditer(r"(?:^|[\s$(/])(?:\./)?wellhead (?:wellhead )?(.+)", line):
                    said = found[1].split(" #")[0].split(" | ")[0].rstrip(")")
                    yield page.name, shlex.split(said)


def test_every_command_line_shown_exists_with_its_options() -> None:
    shown = list(commands_shown())
    assert len(shown) > 30
    for page, words in shown:
        if words[0] == "--workspace":
            words = words[2:]
        if words[0] == "test":
            continue
        command = cli.get_command(CONTEXT, words[0])
        assert command is not None, (page, words)
        command.make_context(words[0], words[1:], parent=CONTEXT, resilient_parsing=False).close()


def test_the_readme_begins_with_the_two_commands() -> None:
    first = blocks(ROOT / "README.md", "sh")[0]
    assert [line.split()[:2] for line in first.splitlines()] == [["./wellhead", "demo"], ["./wellhead", "test"]]


def test_the_tour_of_the_readme_runs_on_the_example(tmp_path: Path, model_home: Path) -> None:
    (tour,) = [block for block in blocks(ROOT / "README.md", "sh") if "wellhead ingest" in block]
    assert CliRunner().invoke(cli, ["init", str(tmp_path)]).exit_code == 0
    (tmp_path / ".wellhead").mkdir()
    (tmp_path / ".wellhead" / "models").symlink_to(model_home / "models")
    for line in tour.splitlines():
        words = shlex.split(line)[1:]
        if words[0] != "serve":
            done = CliRunner().invoke(cli, ["--workspace", str(tmp_path), *words])
            assert (done.exit_code, done.exception) == (0, None), (line, done.output)
            assert words[0] == "ingest" or "receipt a-" in done.output, line


def test_the_registry_entry_matches_the_package_and_the_readme() -> None:
    entry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    (package,) = entry["packages"]
    assert entry["version"] == package["version"] == project["version"]
    assert package["identifier"] == project["name"]
    assert len(entry["description"]) <= 100
    assert f"mcp-name: {entry['name']}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert entry["$schema"].endswith("/2025-12-11/server.schema.json")


def test_the_changelog_speaks_of_the_current_version() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert f"## {version}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_page_speaks_of_what_is_not_there_yet() -> None:
    planned = re.compile(
        r"\b(coming soon|roadmap|will be supported|not yet implemented|TODO|TBD)\b", re.IGNORECASE
    )
    assert [page.name for page in PAGES if planned.search(page.read_text(encoding="utf-8"))] == []
