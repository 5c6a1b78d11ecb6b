"""`kill -9` at any moment of an ingest, and a disk that fills up: the old edition or the new one, never a mix."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from indexes.generation import generation_folder, verify
from indexes.ledger import Ledger

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KILLS = 40
WORKSPACES = 2
SEED = 20_251_122
PAGE = "---\naudience: public\nregion: all\n---\n# Opening hours\n\nThe shop in {town} opens at nine.\n"


class Server:
    """Asks the process of ingest_server.py to run ingests of one workspace."""

    def __init__(self, root: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
        command = [sys.executable, str(HERE / "ingest_server.py")]
        self.root = root
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def ingest(self, kill_after: float | None = None, file_limit: int | None = None) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"root": str(self.root), "kill_after": kill_after, "file_limit": file_limit}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def live(self) -> dict[str, str]:
        """The live generations, each found whole."""
        edition = Ledger(self.home).edition()
        for product, generation in edition.products.items():
            assert verify(generation_folder(self.home, product, generation)).generation == generation
        return dict(edition.products)

    @property
    def home(self) -> Path:
        return self.root / ".wellhead"

    def set_town(self, town: str) -> None:
        """Change one page; the sales stay as they are, and live."""
        (self.root / "products/handbook/data/hours.md").write_text(PAGE.format(town=town))

    def forget(self) -> None:
        """Remove what the caches keep. Retention keeps one edition here, so the next ingest builds all again."""
        shutil.rmtree(self.home / "cache", ignore_errors=True)

    def lying_about(self) -> set[str]:
        """The generations and stages in the home."""
        return {path.name for path in (*self.home.glob("generations/*/*"), *self.home.glob("stages/*"))}


@contextlib.contextmanager
def served(root: Path, model_home: Path) -> Generator[Server]:
    """A workspace of its own, and the process that ingests it."""
    shutil.copytree(ROOT / "tests/workspaces/tiny", root)
    (root / ".wellhead").mkdir()
    (root / ".wellhead/models").symlink_to(model_home / "models")
    (root / "products/sales/evals.yaml").unlink()  # asking its metrics costs more than all the rest
    with (root / "wellhead.yaml").open("a") as settings:
        settings.write("retention: {editions: 1, days: 0}\n")
    server = Server(root)
    yield server
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.wait(timeout=30)
    assert server.process.stdout is not None
    server.process.stdout.close()


@pytest.fixture
def server(tmp_path: Path, model_home: Path) -> Iterator[Server]:
    with served(tmp_path / "tiny", model_home) as started:
        yield started


def killed(server: Server, moments: Random, kills: int) -> int:
    """Kill that many ingests, each at a moment of its own; how many were cut short before they published."""
    whole: dict[str, dict[str, str]] = {}
    seconds = 0.0
    for town in ("Delft", "Ghent"):
        server.set_town(town)
        first = server.ingest()
        assert first["failures"] == []
        whole[town], seconds = server.live(), first["seconds"]
        server.forget()
    killed = cut_short = number = 0
    while killed < kills:
        number += 1
        assert number < 3 * kills
        before, town = ("Ghent", "Delft") if number % 2 else ("Delft", "Ghent")
        server.set_town(town)
        killed += server.ingest(kill_after=moments.uniform(0, seconds))["signal"] == 9
        after = server.live()
        assert after in (whole[before], whole[town])
        cut_short += after != whole[town]
        assert server.ingest()["failures"] == []
        assert server.live() == whole[town]
        assert server.lying_about() == set(whole[town].values())
        server.forget()
    return cut_short


def test_a_kill_at_any_moment_leaves_a_whole_edition_and_the_next_run_finishes(
    tmp_path: Path, model_home: Path
) -> None:
    """Two workspaces at once, for there are two cores; the moments are the same in every run."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(WORKSPACES) as pool:
        servers = [stack.enter_context(served(tmp_path / f"tiny{n}", model_home)) for n in range(WORKSPACES)]
        running = [
            pool.submit(killed, server, Random(SEED + number), KILLS // WORKSPACES)
            for number, server in enumerate(servers)
        ]
        assert sum(one.result() for one in running) >= KILLS // 4


@pytest.mark.parametrize("limit", [0, 2_000, 100_000, 1_500_000])
def test_a_disk_that_fills_up_is_named_and_the_live_edition_stays(server: Server, limit: int) -> None:
    server.set_town("Delft")
    assert server.ingest()["failures"] == []
    live = server.live()
    server.forget()
    server.set_town("Ghent")
    failed = server.ingest(file_limit=limit)["failures"]
    assert {code for _, code, _ in failed} == {"out_of_space"}
    assert server.live() == live
    assert server.ingest()["failures"] == []
    assert server.live() != live
