"""Whether the process lives and whether it serves the newest edition; open to all, without secrets."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from indexes.library import Library
from mcp_server.service import Service
from mcp_server.stopping import Stopping
from semantic_layer.errors import EngineUnavailable, WellheadError


def health_routes(service: Service, stopping: Stopping) -> APIRouter:
    """`/healthz` (the process answers) and `/readyz` (the newest edition is served and calls can be recorded)."""
    routes = APIRouter(tags=["health"])

    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    def readyz() -> JSONResponse:
        """200 where the newest edition is the one served, 503 with the reason's code where it is not."""
        reasons = [*readiness(service), *(["stopping"] if stopping.begun else [])]
        served = edition_served(service.library)
        body = {"status": "not ready" if reasons else "ready", "edition": served, "reasons": reasons}
        return JSONResponse(body, status_code=503 if reasons else 200)

    routes.add_api_route("/healthz", healthz, methods=["GET"])
    routes.add_api_route("/readyz", readyz, methods=["GET"])
    return routes


def readiness(service: Service) -> list[str]:
    """Why the server is not ready; empty when it is. Codes only: messages may name what not everyone may see."""
    failure = service.library.failure
    reasons = [failure.code] if failure is not None else []
    if not reasons and edition_served(service.library) == 0:
        reasons.append("nothing_published")
    if not reasons and service.library.servers.failing:
        reasons.append(EngineUnavailable.code)
    if service.audit.failing:
        reasons.append("audit_unavailable")
    return reasons


def edition_served(library: Library) -> int:
    """The number of the edition that calls read; 0 where none could be opened."""
    try:
        with library.pin() as snapshot:
            return snapshot.edition.number
    except WellheadError:
        return 0
