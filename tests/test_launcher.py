"""`./wellhead`, the launcher, on machines of all kinds: each machine is a PATH with a Python that a test wrote."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[1] / "wellhead"
UTILITIES = ("sh", "cat", "cksum", "dirname", "basename", "rm", "mkdir", "cp", "chmod")

MODERN = """#!/bin/sh
case "$*" in
    *sys.version_info*) exit 0 ;;
    *ensurepip*) exit 0 ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        printf '#!/bin/sh\\nexit 0\\n' >"$3/bin/pip"
        printf '#!/bin/sh\\necho "wellhead $*"\\n' >"$3/bin/wellhead"
        chmod +x "$3/bin/pip" "$3/bin/wellhead" ;;
    "-m pip "*) echo "installs $*" ;;
    "-m pytest"*) echo "pytest $*" ;;
esac
"""
OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\n'
LOCKS = ("requirements.lock", "requirements-dev.lock", "pyproject.toml")


@dataclass(frozen=True)
class Machine:
    """A checkout with the real launcher, and all that is on its PATH."""

    root: Path

    def install(self, name: str, script: str) -> None:
        program = self.root / "bin" / name
        program.write_text(script)
        program.chmod(0o755)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.root / "checkout" / "wellhead"), *arguments]
        path = str(self.root / "bin")
        return subprocess.run(
            command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False, cwd=self.root
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    checkout.mkdir()
    programs.mkdir()
    shutil.copy(LAUNCHER, checkout / "wellhead")
    for name in LOCKS:
        (checkout / name).write_text(f"{name}\n")
    for name in UTILITIES:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    return Machine(tmp_path)


def test_without_any_python_one_sentence_says_what_to_install(machine: Machine) -> None:
    done = machine.run("demo")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "apt install python3" in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_a_python_that_is_too_old_is_refused_with_the_same_sentence(machine: Machine) -> None:
    machine.install("python3", OLD)
    done = machine.run("demo")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Python 3.11 or newer is needed" in done.stderr


def test_an_old_python3_is_passed_over_for_a_newer_one_beside_it(machine: Machine) -> None:
    machine.install("python3", OLD)
    machine.install("python3.12", MODERN)
    assert machine.run("status").stdout == "wellhead status\n"


def test_the_python_that_was_asked_for_is_never_silently_replaced(machine: Machine) -> None:
    machine.install("python3", MODERN)
    machine.install("mine", OLD)
    done = machine.run("status", WELLHEAD_PYTHON="mine")
    assert done.returncode == 1
    assert "WELLHEAD_PYTHON" in done.stderr
    assert "mine" in done.stderr


def test_a_python_without_venv_gets_one_sentence_with_the_package(machine: Machine) -> None:
    machine.install("python3", WITHOUT_VENV)
    done = machine.run("demo")
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", [OLD, ""])
def test_uv_is_not_started_without_a_python_for_it(machine: Machine, script: str) -> None:
    machine.install("uv", '#!/bin/sh\necho "uv $*"\n')
    if script:
        machine.install("python3", script)
    done = machine.run("demo")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "uv venv" not in done.stdout + done.stderr


def test_arguments_reach_the_installed_command_as_they_are(machine: Machine) -> None:
    machine.install("python3", MODERN)
    done = machine.run("search", "two words", "--json")
    assert done.returncode == 0
    assert done.stdout == "wellhead search two words --json\n"
    assert "installs" in done.stderr


def test_test_runs_the_suite_with_the_development_lock(machine: Machine) -> None:
    machine.install("python3", MODERN)
    done = machine.run("test", "-k", "doctor")
    assert "pytest -m pytest -k doctor" in done.stdout
    assert "requirements-dev.lock" in done.stderr


def test_a_second_run_installs_nothing_until_the_lock_changes(machine: Machine) -> None:
    machine.install("python3", MODERN)
    assert "installs" in machine.run("status").stderr
    assert machine.run("status").stderr == ""
    (machine.root / "checkout" / "requirements.lock").write_text("another\n")
    assert "installs" in machine.run("status").stderr


def test_a_checkout_that_was_moved_is_installed_again_for_its_scripts_name_the_old_place(machine: Machine) -> None:
    machine.install("python3", MODERN)
    machine.run("status")
    (machine.root / "checkout").rename(machine.root / "moved")
    command, environment = (
        [str(machine.root / "moved" / "wellhead"), "status"],
        {"PATH": str(machine.root / "bin")},
    )
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "installs" in again.stderr
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stderr == b""


def test_a_link_to_the_launcher_finds_its_checkout(machine: Machine) -> None:
    machine.install("python3", MODERN)
    (machine.root / "bin" / "readlink").symlink_to(shutil.which("readlink") or "")
    (machine.root / "bin" / "wellhead").symlink_to(machine.root / "checkout" / "wellhead")
    command, environment = [str(machine.root / "bin" / "wellhead"), "status"], {"PATH": str(machine.root / "bin")}
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == "wellhead status\n"


def test_uv_makes_the_environment_where_there_is_one(machine: Machine) -> None:
    machine.install("python3", MODERN)
    uv = """#!/bin/sh
echo "uv $*"
case "$1" in venv) mkdir -p "$5/bin" && cp "$4" "$5/bin/python" && cp "$4" "$5/bin/wellhead" ;; esac
"""
    machine.install("uv", uv)
    done = machine.run("test", "-q")
    assert f"uv pip install --python {machine.root}/checkout/.venv/bin/python --require-hashes" in done.stderr
    assert "pytest -m pytest -q" in done.stdout
    assert machine.run("test", "-q").stderr == ""


def test_a_checkout_that_ran_its_tests_installs_nothing_again_for_a_command(machine: Machine) -> None:
    machine.install("python3", MODERN)
    machine.run("test")
    assert machine.run("status").stderr == ""


def test_it_works_from_another_folder_and_through_a_path_with_spaces(machine: Machine) -> None:
    machine.install("python3", MODERN)
    spaced = machine.root / "a b"
    (machine.root / "checkout").rename(spaced)
    environment = {"PATH": str(machine.root / "bin")}
    done = subprocess.run(
        [str(spaced / "wellhead"), "status"], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    assert (done.returncode, done.stdout) == (0, "wellhead status\n")
