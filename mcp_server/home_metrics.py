"""What a home tells at the moment of a scrape: edition, freshness, jobs that wait, and how ingestion runs."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from indexes.gpu_use import gpu_use
from indexes.jobs import Job, JobStore
from indexes.library import Snapshot
from mcp_server.health import readiness
from mcp_server.service import Service
from semantic_layer.errors import WellheadError

MAX_JOBS = 200


class HomeCollector(Collector):
    """Reads the home when it is scraped; run reports are read once each and counted from then on."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._jobs = JobStore(service.settings.home)
        self._runs = _Runs(service.settings.home / "runs")

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead: names are fixed in `collect`, and a scrape must not happen at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families of one scrape."""
        reasons = readiness(self._service)
        yield GaugeMetricFamily(
            "wellhead_ready", "1 where the newest edition is served and recorded.", float(not reasons)
        )
        with contextlib.suppress(WellheadError), self._service.library.pin() as snapshot:
            yield from _edition(snapshot)
        yield from _jobs(self._jobs.jobs(MAX_JOBS))
        yield from self._runs.families()
        yield from _gpus()


def _edition(snapshot: Snapshot) -> Iterator[Metric]:
    yield GaugeMetricFamily("wellhead_edition", "Number of the edition that is served.", snapshot.edition.number)
    yield GaugeMetricFamily("wellhead_policy_revision", "The policy revision in force.", snapshot.policy_revision)
    age = GaugeMetricFamily(
        "wellhead_generation_age_seconds",
        "Seconds since a product's live generation was sealed.",
        labels=["product"],
    )
    now = datetime.now(UTC)
    for name, generation in sorted(snapshot.generations.items()):
        sealed = datetime.fromisoformat(generation.manifest.created_at)
        age.add_metric([name], (now - sealed.replace(tzinfo=sealed.tzinfo or UTC)).total_seconds())
    yield age


def _gpus() -> Iterator[Metric]:
    """The machine's GPUs, whoever uses them; without one the families have no sample."""
    busy = GaugeMetricFamily("wellhead_gpu_busy_ratio", "Share of time a GPU computed lately.", labels=["gpu"])
    used = GaugeMetricFamily("wellhead_gpu_memory_used_bytes", "GPU memory that is taken.", labels=["gpu"])
    total = GaugeMetricFamily("wellhead_gpu_memory_bytes", "GPU memory in all.", labels=["gpu"])
    for one in gpu_use():
        label = [str(one.number)]
        busy.add_metric(label, one.busy)
        used.add_metric(label, one.used_bytes)
        total.add_metric(label, one.total_bytes)
    yield from (busy, used, total)


def _jobs(jobs: list[Job]) -> Iterator[Metric]:
    states = GaugeMetricFamily("wellhead_jobs", "Jobs by kind and state.", labels=["kind", "state"])
    for (kind, state), count in sorted(Counter((job.kind, job.state) for job in jobs).items()):
        states.add_metric([kind, state], count)
    yield states
    waiting = [datetime.fromisoformat(job.submitted_at) for job in jobs if job.state == "queued"]
    age = (datetime.now(UTC) - min(waiting)).total_seconds() if waiting else 0.0
    yield GaugeMetricFamily("wellhead_job_queue_age_seconds", "Seconds the oldest queued job has waited.", age)


class _Runs:
    """Counts over the run reports of a home, each file once: reports are pruned, counters never fall."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._runs: Counter[tuple[str, str]] = Counter()
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._stages: Counter[tuple[str, str]] = Counter()
        self._last: dict[str, tuple[float, float, float]] = {}
        self._retries: dict[str, int] = {}

    def families(self) -> Iterator[Metric]:
        """Runs, failures, stage seconds, and each product's last good run."""
        with self._lock:
            self._read()
            yield _family("wellhead_ingest_runs", "Ingest runs by outcome.", ("product", "state"), self._runs)
            labels = ("product", "code", "retryable")
            yield _family("wellhead_ingest_failures", "Failed ingest runs by error code.", labels, self._failures)
            words = "Seconds spent in each step of ingest; `open the model` is the model's cold start."
            yield _family("wellhead_ingest_stage_seconds", words, ("product", "stage"), self._stages)
            yield from self._last_runs()
        yield from self._retried()

    def _last_runs(self) -> Iterator[Metric]:
        names = (
            ("wellhead_ingest_last_success_timestamp_seconds", "When a product was last brought up to date."),
            ("wellhead_ingest_last_duration_seconds", "Seconds of that run."),
            ("wellhead_ingest_last_peak_bytes", "Peak memory of that run."),
        )
        for place, (name, words) in enumerate(names):
            family = GaugeMetricFamily(name, words, labels=["product"])
            for product, values in sorted(self._last.items()):
                family.add_metric([product], values[place])
            yield family

    def _retried(self) -> Iterator[Metric]:
        claims = Counter(path.parent.name for path in self._folder.parent.glob("jobs/*/claim-*.json"))
        family = CounterMetricFamily(
            "wellhead_job_retries", "Times a job was claimed again after its worker died."
        )
        self._retries |= {job: count - 1 for job, count in claims.items()}
        family.add_metric([], sum(self._retries.values()))
        yield family

    def _read(self) -> None:
        for path in sorted(self._folder.glob("[0-9]*.json")):
            if path.name not in self._seen:
                with contextlib.suppress(FileNotFoundError):
                    self._count(json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime)
                    self._seen.add(path.name)

    def _count(self, report: dict[str, Any], ended: float) -> None:
        product, state = str(report["product"]), str(report["state"])
        self._runs[product, state] += 1
        for stage, seconds in report["steps"].items():
            self._stages[product, str(stage)] += seconds
        failure = report["failure"]
        if failure:
            again = str(bool(failure.get("retryable"))).lower()
            self._failures[product, str(failure["code"]), again] += 1
        elif state != "failed":
            self._last[product] = (min(ended, time.time()), float(report["seconds"]), float(report["peak_bytes"]))


def _family(name: str, words: str, labels: tuple[str, ...], counted: Counter[Any]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, count in sorted(counted.items()):
        family.add_metric(list(values), count)
    return family
