"""What is measured, traced and logged: names that exist, labels that stay few, and never an argument."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from indexes.jobs import JobStore
from mcp_server.app import build_app
from mcp_server.home_metrics import HomeCollector
from mcp_server.logs import JsonLines, log_call
from mcp_server.metrics import Metrics, exposing
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.tracing import export_traces, trace_id
from semantic_layer.errors import EngineUnavailable
from tests.mcp_server.callers import EU, Asker
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.wire import Wire
from tests.workspace_factory import BuiltWorkspace

DEPLOY = Path(__file__).parents[2] / "docs/deploy"
PROMETHEUS_OWN = {"up", "time", "le"}
SECRET = "zanzibar-argument"


@pytest.fixture(scope="module")
def measured(tiny: BuiltWorkspace) -> Iterator[tuple[Running, Metrics]]:
    """A server with its metrics."""
    kept: list[Metrics] = []

    def made(service: Service) -> Any:
        app = build_app(service)
        kept.append(app.state.metrics)
        return app

    with running_server(tiny, made) as server:
        yield server, kept[0]


@pytest.fixture
def wire(measured: tuple[Running, Metrics]) -> Iterator[Wire]:
    with httpx2.Client(base_url=measured[0].origin, timeout=30) as http:
        yield Wire(http, measured[0].token(EU))


def scraped(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every sample of `/metrics`, read over its own port."""
    with exposing(metrics, "127.0.0.1", 0) as port:
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        found.setdefault(family.name, {})
    return found


def test_an_operation_is_timed_by_method_tool_and_outcome(measured: tuple[Running, Metrics], wire: Wire) -> None:
    wire.call("query_metrics", metrics=["revenue"])
    wire.call("query_metrics", metrics=["nothing"])
    wire.call(SECRET)
    wire.ask("tools/list")
    counts = scraped(measured[1])["mcp_server_operation_duration_seconds_count"]
    found = {
        (dict(labels)["mcp_method_name"], dict(labels)["gen_ai_tool_name"], dict(labels)["error_type"])
        for labels in counts
    }
    assert {
        ("tools/call", "query_metrics", ""),
        ("tools/call", "query_metrics", "tool_error"),
        ("tools/call", "other", "-32602"),
        ("tools/list", "", ""),
    } <= found


def test_methods_that_callers_make_up_are_one_label(measured: tuple[Running, Metrics], wire: Wire) -> None:
    for number in range(3):
        assert wire.ask(f"made/up-{number}").status_code == 404
    counts = scraped(measured[1])["mcp_server_operation_duration_seconds_count"]
    methods = {dict(labels)["mcp_method_name"] for labels in counts}
    assert "other" in methods
    assert not any(method.startswith("made") for method in methods)


def test_calls_are_counted_through_every_door_and_names_that_callers_type_are_no_label(
    measured: tuple[Running, Metrics], wire: Wire
) -> None:
    wire.call("search", question=SECRET)
    wire.http.post("/api/tools/status", json={}, headers={"Authorization": f"Bearer {wire.token}"})
    samples = scraped(measured[1])
    doors = {dict(labels)["transport"] for labels in samples["wellhead_calls_total"]}
    assert {"http", "rest"} <= doors
    assert SECRET not in json.dumps([list(map(list, one)) for one in samples.values()])
    assert samples["wellhead_ready"][()] == 1
    assert samples["wellhead_edition"][()] >= 1


def test_the_home_tells_of_runs_and_jobs(service: Service, tiny: BuiltWorkspace) -> None:
    job = JobStore(tiny.home).submit("evaluate", {}, "olga")
    try:
        families = {family.name: family for family in HomeCollector(service).collect()}
        runs = {tuple(one.labels.values()): one.value for one in families["wellhead_ingest_runs"].samples}
        assert runs["sales", "published"] >= 1
        stages = {one.labels["stage"] for one in families["wellhead_ingest_stage_seconds"].samples}
        assert {"embed", "seal", "open the model"} <= stages
        assert families["wellhead_job_queue_age_seconds"].samples[0].value >= 0
        assert families["wellhead_job_retries"].samples[0].value == 0
        assert families["wellhead_ingest_last_peak_bytes"].samples
    finally:
        JobStore(tiny.home).cancel(job.id)


def test_a_counter_of_runs_does_not_fall_when_reports_are_pruned(service: Service, tiny: BuiltWorkspace) -> None:
    collector = HomeCollector(service)
    extra = tiny.home / "runs" / "20200101T000000000000-gone.json"
    report = {"product": "gone", "state": "failed", "steps": {"read": 1.5}, "seconds": 2, "peak_bytes": 0}
    extra.write_text(json.dumps({**report, "failure": {"code": "source_failed", "retryable": True}}))
    first = {f.name: f for f in collector.collect()}["wellhead_ingest_failures"].samples
    extra.unlink()
    second = {f.name: f for f in collector.collect()}["wellhead_ingest_failures"].samples
    assert [one.labels for one in first] == [one.labels for one in second]
    assert first[0].labels == {"product": "gone", "code": "source_failed", "retryable": "true"}


def names_in(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\[[^\]]*\]|by \([^)]*\)", " ", expression)
    words = set(re.findall(r"[a-z_][a-z0-9_]*", bare))
    return words - PROMETHEUS_OWN - {"sum", "rate", "increase", "histogram_quantile", "by"}


def expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


def test_dashboard_and_alerts_name_only_metrics_that_exist(measured: tuple[Running, Metrics], wire: Wire) -> None:
    wire.call("status")
    known = set(scraped(measured[1]))
    for family in measured[1].registry.collect():
        known |= {family.name, f"{family.name}_total"}
    for expression in expressions():
        assert names_in(expression) <= known, expression


def test_every_metric_of_ours_stands_in_the_docs(measured: tuple[Running, Metrics]) -> None:
    page = (DEPLOY.parent / "telemetry.md").read_text()
    for family in measured[1].registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        assert f"`{family.name}{suffix}`" in page, family.name


def test_every_alert_says_the_next_step() -> None:
    for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "next_step"}
            assert rule["labels"]["severity"] in ("page", "ticket")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Finished spans, of a provider that stands in for the process's own while the test runs."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace.get_tracer_provider
    trace.get_tracer_provider = lambda: provider
    try:
        yield exporter
    finally:
        trace.get_tracer_provider = before
        provider.shutdown()


def test_a_call_is_traced_with_what_it_read_and_without_its_arguments(
    ask: Asker, spans: InMemorySpanExporter
) -> None:
    answer = ask.ok(EU, "search", question=SECRET, products=["handbook"])
    found = {span.name: span for span in spans.get_finished_spans()}
    call, engine = found["wellhead search"], found["engine retrieve"]
    assert engine.parent is not None
    assert call.context is not None
    assert engine.parent.span_id == call.context.span_id
    attributes = dict(call.attributes or {})
    assert attributes["wellhead.audit_id"] == answer.receipt.audit_id
    assert attributes["wellhead.products"] == ("handbook",)
    assert attributes["wellhead.rows"] == answer.receipt.cost.rows
    assert SECRET not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_a_refused_call_is_traced_by_its_code(ask: Asker, spans: InMemorySpanExporter) -> None:
    ask(EU, "query_metrics", metrics=["nothing"])
    (call,) = [span for span in spans.get_finished_spans() if span.name == "wellhead query_metrics"]
    assert dict(call.attributes or {})["error.type"] == "unknown_name"


def test_without_an_endpoint_nothing_is_exported_and_no_trace_is_claimed() -> None:
    assert export_traces({}, "tiny") is None
    assert trace_id() == ""


def test_an_endpoint_without_its_exporter_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(EngineUnavailable, match="exporter is not installed"):
        export_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "tiny")


def test_a_call_is_one_line_of_json_without_argument_or_data(ask: Asker, service: Service) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    log = logging.getLogger("wellhead.server.calls")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        Asker(replace(service, observers=(log_call,)))(EU, "search", question=SECRET + "\n{}")
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    (line,) = stream.getvalue().splitlines()
    facts = json.loads(line)
    assert (facts["tool"], facts["status"], facts["subject"]) == ("search", "ok", "eva")
    assert facts["audit_id"].startswith("a-")
    assert SECRET not in line


def test_measuring_costs_next_to_nothing(service: Service) -> None:
    metrics = Metrics(service)
    answer = Asker(service).ok(EU, "status")
    started = time.perf_counter()
    for _ in range(1_000):
        metrics.observe(Caller(EU, "http"), "status", answer)
    assert time.perf_counter() - started < 1.0
