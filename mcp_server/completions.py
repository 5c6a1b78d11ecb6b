"""Completions of names as a person types, from what the caller may discover and nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.service import Service
from mcp_server.session import Caller, Session
from mcp_server.tool import Tool

MAX_VALUES = 50
_KINDS = ("product", "dataset", "metric")


class CompleteArguments(Arguments):
    kind: Literal["product", "dataset", "metric"]
    typed: Annotated[str, Field(max_length=200)] = ""


def _run(session: Session, asked: CompleteArguments) -> Answer:
    typed = asked.typed.casefold()
    names = session.snapshot.catalog.names(asked.kind, session.visibility)
    found = [name for name in names if name.casefold().startswith(typed)][:MAX_VALUES]
    return Answer({"values": found}, session.receipt({}))


COMPLETE = Tool("complete", "Complete a name.", CompleteArguments, _run)
"""Not in any list of tools: the protocol has a request of its own for it."""


def complete(service: Service, caller: Caller, argument: str, typed: str) -> list[str]:
    """The names of the argument's kind that begin as typed (case ignored), sorted; at most MAX_VALUES."""
    if argument not in _KINDS:
        return []
    answer = service.answer(caller, COMPLETE, {"kind": argument, "typed": typed})
    if answer.error is not None:
        raise answer.error
    return list(answer.data["values"])
