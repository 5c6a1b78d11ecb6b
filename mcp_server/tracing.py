"""OpenTelemetry spans of ours beside the SDK's: what a call read and which engine took how long, never arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span

from mcp_server.answer import Answer
from mcp_server.session import Caller
from semantic_layer.errors import EngineUnavailable

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SCOPE = "wellhead"


@contextlib.contextmanager
def call_span(caller: Caller, tool: str) -> Generator[Span]:
    """The span of one tool call, a child of whatever door it came through; that one itself where nobody traces."""
    if not traced():
        yield trace.get_current_span()
        return
    attributes = {"wellhead.tool": tool, "wellhead.transport": caller.transport}
    with trace.get_tracer(SCOPE).start_as_current_span(
        f"wellhead {tool}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def note_answer(span: Span, answer: Answer) -> None:
    """What an answer rested on and cost. Names of products and columns' values stay out; a digest would not help."""
    if not span.is_recording():
        return
    receipt = answer.receipt
    span.set_attributes(
        {
            "wellhead.status": answer.status,
            "wellhead.audit_id": receipt.audit_id,
            "wellhead.edition": receipt.edition,
            "wellhead.policy_revision": receipt.policy.revision,
            "wellhead.products": sorted(receipt.generations),
            "wellhead.generations": [receipt.generations[name] for name in sorted(receipt.generations)],
            "wellhead.rows": receipt.cost.rows,
            "wellhead.bytes": receipt.cost.bytes,
        }
    )
    if answer.error is not None:
        span.set_attribute("error.type", answer.error.code)


@contextlib.contextmanager
def engine_span(verb: str) -> Generator[Span]:
    """The span of one read verb (retrieve, measure, values, lookup, sql): the time that engines took."""
    if not traced():
        yield trace.get_current_span()
        return
    with trace.get_tracer(SCOPE).start_as_current_span(
        f"engine {verb}",
        attributes={"wellhead.engine.verb": verb},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def traced() -> bool:
    """Whether spans go anywhere in this process."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def trace_id() -> str:
    """The id of the trace that this call belongs to, as 32 hexadecimal digits; empty where nobody traces."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def export_traces(environment: Mapping[str, str], service_name: str) -> TracerProvider | None:
    """Send spans to the OTLP endpoint that the standard variables name; without one nothing is set up.

    Raises EngineUnavailable where an endpoint is named and the `otlp` extra is not installed.
    """
    if not any(environment.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise EngineUnavailable(
            "an OTLP endpoint is set, but the exporter is not installed.", hint="pip install 'wellhead[otlp]'"
        ) from None
    resource = Resource.create({"service.name": service_name, "service.version": version("wellhead")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider
