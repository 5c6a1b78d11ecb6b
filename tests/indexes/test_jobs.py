"""Jobs: submitted once, run by one worker, claimed again after a worker died."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from indexes import jobs
from indexes.jobs import JobStore
from semantic_layer.errors import InvalidArgument, UnknownName


def test_a_job_survives_and_runs_once(tmp_path: Path) -> None:
    job = JobStore(tmp_path).submit("ingest", {"products": ["orders"]}, "alice")
    assert job.state == "queued"
    store = JobStore(tmp_path)
    claim = store.claim("worker-1")
    assert claim is not None
    assert claim.job.id == job.id
    assert store.claim("worker-2") is None
    store.heartbeat(claim, {"done": 3})
    assert store.get(job.id).state == "running"
    assert store.get(job.id).progress == {"done": 3}
    assert store.finish(claim, "succeeded", {"generation": "g"}).state == "succeeded"
    assert store.claim("worker-2") is None
    assert store.get(job.id).result == {"generation": "g"}


def test_many_workers_never_claim_one_job_twice(tmp_path: Path) -> None:
    submitted = {JobStore(tmp_path).submit("evaluate", {}, "alice").id for _ in range(8)}
    claimed: list[str] = []

    def work(name: str) -> None:
        store = JobStore(tmp_path)
        while (claim := store.claim(name)) is not None:
            claimed.append(claim.job.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(submitted)


def test_a_dead_workers_job_is_claimed_again_and_the_dead_cannot_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(tmp_path)
    store.submit("ingest", {}, "alice")
    first = store.claim("worker-1")
    assert first is not None
    monkeypatch.setattr(jobs, "LEASE_SECONDS", -1.0)
    second = store.claim("worker-2")
    assert second is not None
    assert second.number == 2
    with pytest.raises(InvalidArgument, match="another worker"):
        store.heartbeat(first, {})


def test_a_cancelled_queued_job_never_starts(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = store.submit("ingest", {}, "alice")
    assert store.cancel(job.id).state == "cancelled"
    assert store.claim("worker") is None


def test_a_running_job_hears_that_it_is_cancelled(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.submit("ingest", {}, "alice")
    claim = store.claim("worker")
    assert claim is not None
    assert not store.cancelled(claim)
    store.cancel(claim.job.id)
    assert store.cancelled(claim)
    assert store.finish(claim, "cancelled", {}).state == "cancelled"


@pytest.mark.parametrize("asked", ["nope", "../../etc", ".hidden"])
def test_an_unknown_job_is_an_unknown_name(tmp_path: Path, asked: str) -> None:
    with pytest.raises(UnknownName):
        JobStore(tmp_path).get(asked)


def test_the_newest_jobs_come_first(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    first, second = store.submit("ingest", {}, "a"), store.submit("evaluate", {}, "a")
    assert [job.id for job in store.jobs()] == [second.id, first.id]
