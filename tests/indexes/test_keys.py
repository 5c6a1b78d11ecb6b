"""Keys have ids, rotate with overlap, and come from files or the environment; their secrets show nowhere."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from indexes import key_commands
from indexes.keys import VARIABLES, Purpose, keyring
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, UnknownName

SECRET, OTHER = base64.b64encode(b"s" * 32).decode(), base64.b64encode(b"o" * 32).decode()


@pytest.mark.parametrize("purpose", list(VARIABLES))
def test_a_new_key_signs_and_the_old_one_still_verifies_until_it_is_retired(
    tmp_path: Path, purpose: Purpose
) -> None:
    keys = keyring(tmp_path, purpose)
    first = keys.newest()
    second = keys.rotate()
    assert keys.newest() == second
    assert keys.find(first.id) == first
    assert keys.ids() == (second.id, first.id)
    keys.retire(first.id)
    assert keys.find(first.id) is None


def test_a_retired_key_is_of_no_use_at_once_in_every_process_that_runs(tmp_path: Path) -> None:
    server, operator = keyring(tmp_path, "tokens"), keyring(tmp_path, "tokens")
    first = server.newest()
    assert server.find(first.id) == first
    operator.rotate()
    operator.retire(first.id)
    assert server.find(first.id) is None


def test_the_key_that_signs_cannot_be_retired_nor_one_that_is_not_there(tmp_path: Path) -> None:
    keys = keyring(tmp_path, "cursors")
    with pytest.raises(InvalidArgument, match="signs"):
        keys.retire(keys.newest().id)
    for name in ("nobody", "../../etc/passwd"):
        with pytest.raises(UnknownName):
            keys.retire(name)


def test_processes_that_start_together_make_one_key(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from indexes.keys import keyring\n" + (
        "print(keyring(Path(sys.argv[1]), 'masks').newest().id)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


def test_keys_of_the_environment_stand_instead_of_files(tmp_path: Path) -> None:
    keys = keyring(tmp_path, "cursors", {"WELLHEAD_KEYS_CURSORS": f"k2:{SECRET}, k1:{OTHER}"})
    assert keys.newest().id == "k2"
    assert keys.newest().material == b"s" * 32
    assert keys.ids() == ("k2", "k1")
    assert keys.find("k1") is not None
    assert keys.find("k0") is None
    assert not (tmp_path / "keys").exists()
    for change in (keys.rotate, lambda: keys.retire("k1")):
        with pytest.raises(InvalidArgument, match="environment"):
            change()


@pytest.mark.parametrize(
    "text", ["k1", "k1:", f":{SECRET}", "k1:c2hvcnQ=", "k1:***", f"k1:{SECRET} k1:{OTHER}", f"../x:{SECRET}"]
)
def test_a_variable_that_holds_no_keys_is_named_and_never_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidArgument, match="WELLHEAD_KEYS_MASKS: key") as refusal:
        keyring(tmp_path, "masks", {"WELLHEAD_KEYS_MASKS": text})
    assert SECRET not in str(refusal.value)


def test_only_the_owner_reads_keys_and_no_text_shows_them(tmp_path: Path) -> None:
    key = keyring(tmp_path, "masks").newest()
    (path,) = (tmp_path / "keys" / "masks").glob("*.key")
    assert path.stat().st_mode & 0o077 == 0
    assert repr(key) == f"Key(id={key.id!r})"


def test_the_commands_list_rotate_and_retire(tmp_path: Path) -> None:
    (tmp_path / "wellhead.yaml").write_text("version: 1\nname: small\n")

    def run(command: Any, *arguments: str) -> str:
        done = CliRunner().invoke(command, list(arguments), obj=Door(tmp_path, {}))
        assert done.exit_code == 0, done.exception
        return done.output.strip()

    assert "tokens: none yet" in run(key_commands.keys, "list")
    first, second = (run(key_commands.keys, "rotate", "tokens") for _ in range(2))
    assert f"tokens: {second}, {first}" in run(key_commands.keys, "list")
    run(key_commands.keys, "retire", "tokens", first)
    assert first not in run(key_commands.keys, "list", "--json")
