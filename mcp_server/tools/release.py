"""`release`: list and compare editions; promote and roll back, as jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from indexes.generation import sealed_generations
from indexes.jobs import JobStore
from indexes.ledger import Ledger
from indexes.release import differences
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments
from mcp_server.identity import OPERATE
from mcp_server.session import Session
from mcp_server.tool import Tool
from mcp_server.tools.operate import may_operate, submitted
from mcp_server.tools.status import job_form, own_job
from semantic_layer.errors import InvalidArgument

MAX_LISTED = 20


class ReleaseArguments(Arguments):
    action: Literal["list", "diff", "promote", "rollback", "cancel"]
    product: str | None = None
    generation: str | None = None
    edition: Annotated[int | None, Field(ge=1)] = None
    job: str | None = None
    note: Annotated[str, Field(max_length=500)] = ""


def release_tool(ledger: Ledger, jobs: JobStore) -> Tool:
    """Lists and compares editions at once; moves what is live as a job."""

    def run(session: Session, asked: ReleaseArguments) -> Answer:
        match asked.action:
            case "list":
                return _listed(session, ledger, asked)
            case "diff":
                return _compared(session, ledger, asked)
            case "cancel":
                return _cancelled(session, jobs, asked)
            case "promote":
                product, generation = (
                    _required(asked.product, "product"),
                    _required(asked.generation, "generation"),
                )
                may_operate(session, [product])
                change: Mapping[str, Any] = {"action": "promote", "product": product, "generation": generation}
            case "rollback":
                may_operate(session, [asked.product] if asked.product else [])
                products = [asked.product] if asked.product else []
                change = {"action": "rollback", "edition": asked.edition, "products": products}
        return submitted(session, jobs, "release", {**change, "note": asked.note})

    return Tool(
        "release",
        "List or compare editions; promote a generation, roll back to an edition (jobs), cancel a job.",
        ReleaseArguments,
        run,
        scope=OPERATE,
        read_only=False,
        destructive=True,
        idempotent=False,
    )


def _listed(session: Session, ledger: Ledger, asked: ReleaseArguments) -> Answer:
    visible = session.discoverable
    editions = [
        {
            "edition": edition.number,
            "at": edition.at,
            "action": edition.action,
            "by": edition.by,
            "note": edition.note,
            "products": {name: one for name, one in edition.products.items() if name in visible},
        }
        for edition in ledger.editions(MAX_LISTED)
    ]
    data: dict[str, Any] = {"editions": editions}
    if asked.product:
        session.product(asked.product)
        data["generations"] = [
            {"generation": one.generation, "sealed_at": one.created_at, "counts": dict(one.counts)}
            for one in sealed_generations(ledger.home, asked.product)
        ]
    lines = [f"edition {one['edition']} {one['action']} by {one['by']} at {one['at']}" for one in editions]
    return Answer(data, session.receipt({}), text="\n".join(lines), page=Page(len(editions)))


def _compared(session: Session, ledger: Ledger, asked: ReleaseArguments) -> Answer:
    live = session.snapshot.edition.number
    earlier = asked.edition or max(1, live - 1)
    if earlier > live:
        raise InvalidArgument(f"edition {earlier} is not before the live one ({live}).", hint="Use action list.")
    visible = session.discoverable
    rows = [row for row in differences(ledger, earlier, live) if row["product"] in visible]
    lines = [f"{row['product']}: {row['from'] or 'absent'} → {row['to'] or 'absent'}" for row in rows]
    data = {"from": earlier, "to": live, "changes": rows}
    return Answer(data, session.receipt({}), text="\n".join(lines) or "no difference", page=Page(len(rows)))


def _cancelled(session: Session, jobs: JobStore, asked: ReleaseArguments) -> Answer:
    job_id = _required(asked.job, "job")
    own_job(session, jobs, job_id)
    stopped = jobs.cancel(job_id)
    return Answer({"job": job_form(stopped)}, session.receipt({}), text=f"{stopped.id}: {stopped.state}")


def _required(value: str | None, name: str) -> str:
    if not value:
        raise InvalidArgument(f"argument {name!r} is required for this action.")
    return value
