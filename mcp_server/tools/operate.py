"""What operator tools share: who may operate a product, and work written down as a Job instead of done here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from indexes.jobs import JobStore
from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.session import Session
from mcp_server.tools.status import job_form
from semantic_layer.policy import Action


class ProductsArguments(Arguments):
    products: Annotated[list[str] | None, Field(max_length=100)] = None


def may_operate(session: Session, products: Sequence[str]) -> None:
    """Raises Refused unless the policy of each product that is live grants `operate`.

    The scope opened the tool; a product that is not live yet has no policy in force, and the scope suffices.
    """
    for product in products or sorted(session.snapshot.generations):
        if product in session.snapshot.generations:
            session.grant(product, Action.OPERATE)


def submitted(session: Session, jobs: JobStore, kind: str, arguments: Mapping[str, Any]) -> Answer:
    """A job written down, with its handle."""
    job = jobs.submit(kind, arguments, session.principal.subject)
    text = f"job {job.id} is {job.state}; `status` with this job shows how far it is"
    return Answer({"job": job_form(job)}, session.receipt({}), text=text)
