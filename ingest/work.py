"""Runs jobs that were submitted through tools: one at a time, by lease, in a process of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from evals.commands import evaluate_live, failures
from evals.live import opened
from indexes.jobs import LEASE_SECONDS, Claim, JobStore
from indexes.ledger import Edition
from indexes.release import rollback
from ingest.products import ingest_all
from ingest.progress import Advance
from ingest.promotion import promote_judged
from ingest.report import RunReport, failure_of
from ingest.settings import IngestSettings
from ingest.turns import claimed
from semantic_layer.door import Door
from semantic_layer.errors import GateFailed, WellheadError
from semantic_layer.workspace import load_workspace


class Cancelled(Exception):
    """Somebody asked the running job to stop, or another worker took it over."""


class Worker:
    """Claims and runs the jobs of one workspace, whose files are read anew for every job."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self._root = root
        self._environment = environment
        self._store = JobStore(self._door().home)

    def run_next(self) -> bool:
        """Run the oldest job that waits; False where there is none."""
        claim = claimed(self._store)
        if claim is not None:
            self.run_claimed(claim)
        return claim is not None

    def run_claimed(self, claim: Claim) -> None:
        """Run a job that this worker holds, and record its outcome, whatever it is."""
        with _Heart(self._store, claim) as heart:
            state, result = self._outcome(claim, heart)
        self._store.finish(claim, state, result)

    def _outcome(
        self, claim: Claim, heart: _Heart
    ) -> tuple[Literal["succeeded", "failed", "cancelled"], dict[str, Any]]:
        try:
            heart.beat()
            return "succeeded", self._run(claim, heart)
        except Cancelled:
            return "cancelled", {}
        except WellheadError as error:
            return "failed", failure_of(error)
        except Exception as error:
            # The door of the worker: a job that breaks must not take the ones behind it along.
            return "failed", {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": ""}

    def _run(self, claim: Claim, heart: _Heart) -> dict[str, Any]:
        arguments, by = claim.job.arguments, claim.job.principal
        match claim.job.kind:
            case "ingest":
                return self._ingest(arguments.get("products") or (), by, heart)
            case "release":
                return self._release(arguments, by)
            case _:
                results = evaluate_live(self._door(), arguments.get("products") or (), datetime.now(UTC))
                return {"results": [asdict(result) for result in results], "failed": failures(results)}

    def _ingest(self, products: list[str] | tuple[str, ...], by: str, heart: _Heart) -> dict[str, Any]:
        door = self._door()
        workspace = load_workspace(door.root, settings=door.settings)
        settings = IngestSettings(self._environment, device=door.device)
        reports: list[dict[str, Any]] = []
        failed: list[str] = []
        for name, outcome in ingest_all(workspace, products, settings, by=by, progress=heart):
            if isinstance(outcome, RunReport):
                kept = ("product", "state", "generation", "edition", "seconds", "counts", "set_aside")
                reports.append({key: outcome.entry()[key] for key in kept})
            else:
                failed.append(f"{name}: {outcome}")
        if failed:
            raise GateFailed("\n".join(failed), hint="The products that did not fail are live.")
        return {"products": reports}

    def _release(self, arguments: Mapping[str, Any], by: str) -> dict[str, Any]:
        edition = self._promoted(arguments, by) if arguments["action"] == "promote" else self._back(arguments, by)
        return {"edition": edition.number, "action": edition.action, "products": dict(edition.products)}

    def _promoted(self, arguments: Mapping[str, Any], by: str) -> Edition:
        product, generation, note = arguments["product"], arguments["generation"], str(arguments.get("note", ""))
        with opened(self._door(), self._environment) as (library, live):
            return promote_judged(library, product, generation, open_live=live.open, by=by, note=note)

    def _back(self, arguments: Mapping[str, Any], by: str) -> Edition:
        note, products = str(arguments.get("note", "")), arguments.get("products") or ()
        with opened(self._door(), self._environment) as (library, _):
            to, servers = arguments.get("edition"), library.servers
            return rollback(library.ledger, to, products=products, by=by, note=note, servers=servers)

    def _door(self) -> Door:
        return Door(self._root, self._environment)


class _Heart:
    """Keeps a job's lease while it runs and shows its progress; stops the job when that is asked for."""

    def __init__(self, store: JobStore, claim: Claim) -> None:
        self._store = store
        self._claim = claim
        self._shown: dict[str, Any] = {}
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beats, name="heartbeat", daemon=True)
        self.product = ""

    def __enter__(self) -> _Heart:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self._thread.join()

    def beat(self) -> None:
        """Raise Cancelled where the job must not go on."""
        if self._lost.is_set() or self._store.cancelled(self._claim):
            raise Cancelled

    @contextlib.contextmanager
    def step(self, name: str, unit: str, total: int | None = None) -> Generator[Advance]:
        """A step of an ingest, shown with the job."""
        shown: dict[str, Any] = {"product": self.product, "step": name, "unit": unit, "done": 0, "total": total}
        self._shown = shown

        def advance(count: int) -> None:
            shown["done"] += count
            self.beat()

        self.beat()
        yield advance

    def _beats(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 10):
            try:
                self._store.heartbeat(self._claim, self._shown)
            except WellheadError:
                self._lost.set()
                return
