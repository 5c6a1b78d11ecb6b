"""`status`: what is live and how fresh, and where a job stands."""

from __future__ import annotations

import json
from typing import Any

from indexes.jobs import Job, JobStore
from indexes.library import LiveGeneration
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments
from mcp_server.fence import one_line
from mcp_server.identity import OPERATE
from mcp_server.session import Session
from mcp_server.tool import Tool
from semantic_layer.errors import UnknownName

MAX_TOLD_CHARS = 2_000


class StatusArguments(Arguments):
    product: str | None = None
    job: str | None = None


def status_tool(jobs: JobStore) -> Tool:
    """The tool over this store of jobs."""

    def run(session: Session, asked: StatusArguments) -> Answer:
        if asked.job:
            return _job_status(session, jobs, asked.job)
        grants = session.discoverable
        if asked.product:
            session.product(asked.product)
            grants = {asked.product: grants[asked.product]}
        products = [_product_status(session, session.snapshot.generations[name]) for name in grants]
        data = {"edition": session.snapshot.edition.number, "products": products}
        lines = [f"{one['product']}: {one['freshness']}, sealed {one['sealed_at']}" for one in products]
        return Answer(data, session.receipt(grants), text="\n".join(lines), page=Page(len(products)))

    return Tool(
        "status",
        "Show what is live and how fresh, or where a `job` stands.",
        StatusArguments,
        run,
        at_once=True,
    )


def _product_status(session: Session, generation: LiveGeneration) -> dict[str, Any]:
    source, manifest = session.source(generation.product.name), generation.manifest
    passed = manifest.gates_passed
    form: dict[str, Any] = {
        "product": source.product,
        "generation": source.generation,
        "freshness": source.freshness,
        "watermark": source.watermark,
        "sla": source.sla,
        "owner": source.owner,
        "sealed_at": manifest.created_at,
        "gates_passed": passed,
        "gates_warned": len(manifest.gates) - passed,
    }
    return {name: value for name, value in form.items() if value not in ("", None)}


def _job_status(session: Session, jobs: JobStore, job_id: str) -> Answer:
    job = own_job(session, jobs, job_id)
    told = one_line(json.dumps(job.result or job.progress, ensure_ascii=False, default=str), MAX_TOLD_CHARS)
    text = f"{job.id}: {job.state}" + (f" {told}" if job.result or job.progress else "")
    return Answer({"job": job_form(job)}, session.receipt({}), text=text)


def own_job(session: Session, jobs: JobStore, job_id: str) -> Job:
    """A job that the caller submitted as an operator. Raises UnknownName, the same for all others as for none."""
    unknown = UnknownName("job", job_id, hint="Give the job of an `ingest`, `release` or `evaluate` answer.")
    try:
        job = jobs.get(job_id)
    except UnknownName:
        raise unknown from None
    if job.principal != session.principal.subject or OPERATE not in session.principal.scopes:
        raise unknown
    return job


def job_form(job: Job) -> dict[str, Any]:
    """A job as answers show it."""
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "submitted_at": job.submitted_at,
        "progress": dict(job.progress),
        "result": dict(job.result),
    }
