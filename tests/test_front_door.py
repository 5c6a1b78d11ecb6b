"""The front door: help and version come at once, whatever a command needs once it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from semantic_layer.first_use import import_lightly
from wellhead import cli

ENGINES = ("duckdb", "faiss", "onnxruntime", "psycopg", "sqlglot", "torch")
HEAVY = (*ENGINES, "fastapi", "mcp", "numpy", "pyarrow", "pydantic")

ASK_EACH_FOR_HELP = f"""
import contextlib, io, json, os, sys
import wellhead
for name in ["--version", *wellhead.COMMANDS]:
    asked = [name] if name.startswith("-") else [name, "--help"]
    if os.fork() == 0:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            wellhead.cli.main(asked, prog_name="wellhead", standalone_mode=False)
        loaded = [one for one in {HEAVY!r} if one in sys.modules]
        print(json.dumps([name, loaded, len(said.getvalue())]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_no_help_waits_for_an_engine_or_a_protocol_to_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", ASK_EACH_FOR_HELP], capture_output=True, text=True, check=True)
    asked = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(asked) > 30
    assert [(name, loaded) for name, loaded, _ in asked if loaded] == []
    assert all(length for _, _, length in asked)


def test_a_module_is_loaded_when_something_of_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "larder").mkdir()
    files = {"__init__": "", "commands": "from larder import cold, warm", "cold": "fish = 1", "warm": "soup = 2"}
    for name, text in files.items():
        (tmp_path / "larder" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    commands = import_lightly("larder.commands", ("larder",))
    assert sys.meta_path == before
    cold = sys.modules["larder.cold"]
    assert "fish" not in object.__getattribute__(cold, "__dict__")
    assert commands.cold.fish == 1
    assert "fish" in object.__getattribute__(cold, "__dict__")
    assert "soup" not in object.__getattribute__(sys.modules["larder.warm"], "__dict__")


def test_a_module_that_is_there_already_is_the_same_module() -> None:
    assert import_lightly("wellhead", ("semantic_layer",)) is import_module("wellhead")


def test_a_wrong_option_is_an_error_in_json_too() -> None:
    done = subprocess.run([sys.executable, "-m", "wellhead", "search", "--json"], capture_output=True, text=True)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, done.stderr) == (2, "")
    assert (error["code"], error["message"]) == ("invalid_argument", "Missing argument 'QUESTION'.")
    assert error["hint"] == "`wellhead search --help` shows what there is."


def test_the_help_of_every_command_ends_with_the_exit_codes() -> None:
    keys = cli.get_command(click.Context(cli), "keys")
    assert isinstance(keys, click.Group)
    for command in (keys, keys.commands["list"]):
        assert "6  a gate failed" in command.get_help(click.Context(command))
