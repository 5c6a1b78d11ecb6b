"""Durable work beside the ledger: submitted by a tool, claimed by lease, run by a process of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from indexes.durable import create_exclusively, json_bytes, read_json, replace_atomically
from semantic_layer.errors import InvalidArgument, UnknownName

FORMAT = 1
LEASE_SECONDS = 30.0

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
KINDS = ("ingest", "release", "evaluate")


@dataclass(frozen=True)
class Job:
    """One piece of work: what, for whom, and where it stands. `progress` and `result` are plain JSON."""

    id: str
    kind: str
    arguments: Mapping[str, Any]
    principal: str
    submitted_at: str
    state: JobState
    progress: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """The right to run a job, until its heartbeat is older than LEASE_SECONDS."""

    job: Job
    number: int
    worker: str


class JobStore:
    """Jobs as a folder each; every transition is one exclusive creation, so two workers never run one job.

    jobs/<id>/job.json · claim-<n>.json (who may run it) · progress.json (also the heartbeat) · result.json ·
    cancel.json (asked for). Safe over kills: a job whose worker died is claimed again after its lease.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "jobs"

    def submit(self, kind: str, arguments: Mapping[str, Any], principal: str) -> Job:
        """Write a job down; it survives a crash from here on."""
        if kind not in KINDS:
            raise UnknownName("job kind", kind, KINDS)
        moment = datetime.now(UTC)
        job_id = f"{kind}-{moment:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}"
        folder = self.folder / job_id
        folder.mkdir(parents=True)
        entry = {
            "format": FORMAT,
            "id": job_id,
            "kind": kind,
            "arguments": dict(arguments),
            "principal": principal,
            "submitted_at": moment.isoformat(timespec="milliseconds"),
        }
        create_exclusively(folder / "job.json", json_bytes(entry))
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """Where a job stands. Raises UnknownName for an id that was never submitted."""
        folder = self._folder(job_id)
        entry = read_json(folder / "job.json", FORMAT)
        result = self._read(folder / "result.json")
        return Job(
            id=job_id,
            kind=entry["kind"],
            arguments=entry["arguments"],
            principal=entry["principal"],
            submitted_at=entry["submitted_at"],
            state=self._state(folder, result),
            progress=self._read(folder / "progress.json").get("progress", {}),
            result=result.get("result", {}),
        )

    def jobs(self, limit: int = 50) -> list[Job]:
        """The newest jobs, newest first."""
        if not self.folder.is_dir():
            return []
        whole = [path.parent.name for path in self.folder.glob("*/job.json")]
        whole.sort(key=lambda job_id: job_id.split("-")[1], reverse=True)
        return [self.get(job_id) for job_id in whole[:limit]]

    def cancel(self, job_id: str) -> Job:
        """Ask for a stop: a queued job never starts, a running one stops at its next step."""
        folder = self._folder(job_id)
        create_exclusively(folder / "cancel.json", json_bytes({"format": FORMAT}))
        if self._state(folder, {}) == "queued":
            self._finish(folder, "cancelled", {})
        return self.get(job_id)

    def cancelled(self, claim: Claim) -> bool:
        """Whether a stop was asked for."""
        return (self._folder(claim.job.id) / "cancel.json").exists()

    def claim(self, worker: str) -> Claim | None:
        """The oldest job that nobody runs, now this worker's; None when there is none."""
        if not self.folder.is_dir():
            return None
        for path in sorted(self.folder.glob("*/job.json"), key=lambda one: one.parent.name.split("-")[1]):
            folder = path.parent
            # Counted once: a claim made by another worker after this line makes the creation below fail.
            last = self._claims(folder)
            if (folder / "result.json").exists() or self._fresh(folder, last):
                continue
            number = last + 1
            entry = json_bytes({"format": FORMAT, "worker": worker, "at": time.time()})
            if create_exclusively(folder / f"claim-{number:04d}.json", entry):
                claim = Claim(self.get(folder.name), number, worker)
                self.heartbeat(claim, {})
                return claim
        return None

    def heartbeat(self, claim: Claim, progress: Mapping[str, Any]) -> None:
        """Renew the lease and show how far the job is. Raises InvalidArgument where the lease was lost."""
        folder = self._folder(claim.job.id)
        if self._claims(folder) != claim.number:
            raise InvalidArgument(f"job {claim.job.id} was claimed by another worker meanwhile.")
        entry = {"format": FORMAT, "at": time.time(), "progress": dict(progress)}
        replace_atomically(folder / "progress.json", json_bytes(entry))

    def finish(
        self, claim: Claim, state: Literal["succeeded", "failed", "cancelled"], result: Mapping[str, Any]
    ) -> Job:
        """Record the outcome once; a second outcome is ignored."""
        folder = self._folder(claim.job.id)
        self._finish(folder, state, result)
        return self.get(claim.job.id)

    def _finish(self, folder: Path, state: str, result: Mapping[str, Any]) -> None:
        entry = {"format": FORMAT, "state": state, "result": dict(result), "at": time.time()}
        create_exclusively(folder / "result.json", json_bytes(entry))

    def _folder(self, job_id: str) -> Path:
        folder = self.folder / job_id
        if "/" in job_id or job_id.startswith(".") or not (folder / "job.json").exists():
            raise UnknownName("job", job_id, hint="`status` lists the newest jobs.")
        return folder

    def _state(self, folder: Path, result: Mapping[str, Any]) -> JobState:
        if result:
            return cast("JobState", result["state"])
        return "running" if self._fresh(folder, self._claims(folder)) else "queued"

    def _fresh(self, folder: Path, number: int) -> bool:
        if not number:
            return False
        beats = [self._read(folder / name) for name in ("progress.json", f"claim-{number:04d}.json")]
        newest = max((float(beat["at"]) for beat in beats if beat), default=0.0)
        return time.time() - newest < LEASE_SECONDS

    @staticmethod
    def _claims(folder: Path) -> int:
        return max((int(path.stem.split("-")[1]) for path in folder.glob("claim-*.json")), default=0)

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        return read_json(path, FORMAT) if path.exists() else {}
