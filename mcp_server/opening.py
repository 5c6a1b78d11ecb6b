"""Opens everything a serving process needs from one workspace, and closes it again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path

from indexes.embedder import open_identified
from indexes.jobs import JobStore
from indexes.keys import keyring
from indexes.ledgers import open_ledger
from indexes.library import Library
from indexes.live import LiveRecords
from indexes.lookup import OpenLive
from indexes.postgres.cells import PostgresCells
from indexes.servers import Servers
from mcp_server.access_requests import AccessRequests
from mcp_server.audit import AuditLog
from mcp_server.audit_opening import open_audit
from mcp_server.budget import Budget
from mcp_server.budget_store import FileBudgets, SharedBudgets
from mcp_server.cursor import CursorSigner
from mcp_server.identity_verifier import TokenVerifier
from mcp_server.keys import cursor_keys
from mcp_server.service import Service
from mcp_server.settings import ServingSettings, serving_settings
from mcp_server.tool import Tool
from mcp_server.tools.describe import DESCRIBE
from mcp_server.tools.dimension_values import dimension_values_tool
from mcp_server.tools.discover import DISCOVER
from mcp_server.tools.evaluate import evaluate_tool
from mcp_server.tools.feedback import feedback_tool
from mcp_server.tools.fetch import FETCH
from mcp_server.tools.ingest import ingest_tool
from mcp_server.tools.lookup import lookup_tool
from mcp_server.tools.query_metrics import query_metrics_tool
from mcp_server.tools.query_sql import QUERY_SQL
from mcp_server.tools.release import release_tool
from mcp_server.tools.request_access import request_access_tool
from mcp_server.tools.search import SEARCH
from mcp_server.tools.status import status_tool
from mcp_server.tools.trace import trace_tool
from semantic_layer.door import Door
from semantic_layer.environment import filled


@contextlib.contextmanager
def open_service(door: Door, settings: ServingSettings | None = None) -> Generator[Service]:
    """The service over a workspace's home; engines, connections and the audit log are closed at the end.

    Nothing of `products/` is read: what is served is sealed in the home.
    """
    with serving(settings or serving_settings(door), os.environ) as service:
        yield service


@contextlib.contextmanager
def serving(settings: ServingSettings, environment: Mapping[str, str]) -> Generator[Service]:
    """The service of these settings. `environment` fills the `${NAME}` of live servers and of the ledger's."""
    ledger = open_ledger(settings.home, settings.ledger, settings.postgres, environment)
    masks = keyring(settings.home, "masks", environment)
    servers = Servers(settings.engines, environment, settings.postgres)
    library = Library(settings.home, partial(open_identified, settings.home), masks, ledger, servers)
    audit = open_audit(settings, environment)
    live = LiveRecords(environment)
    budgets = _budgets(settings, environment)
    try:
        tools = all_tools(settings, library, audit, live.open)
        cursors = CursorSigner(cursor_keys(settings.home, environment), settings.cursor_seconds)
        budgets.forget_idle()
        yield Service(
            settings,
            library,
            audit,
            cursors,
            tools,
            TokenVerifier(settings, environment),
            Budget(settings.limits, budgets),
        )
    finally:
        audit.close()
        live.close()
        library.close()
        servers.close()
        ledger.close()
        budgets.close()


def _budgets(settings: ServingSettings, environment: Mapping[str, str]) -> FileBudgets | SharedBudgets:
    """Callers' accounts, kept where the ledger is: servers that share the one share the other."""
    if settings.ledger == "files":
        return FileBudgets(settings.home)
    dsn = filled(settings.postgres.dsn, environment, where="`ledger: postgres`")
    return SharedBudgets(PostgresCells(dsn, settings.postgres.schema, "budgets"))


def all_tools(
    settings: ServingSettings, library: Library, audit: AuditLog, open_live: OpenLive
) -> Mapping[str, Tool]:
    """Every tool in the order that lists show: the ten for readers, then the operators' three."""
    home: Path = settings.home
    jobs = JobStore(home)
    tools = (
        DISCOVER,
        DESCRIBE,
        SEARCH,
        FETCH,
        query_metrics_tool(settings.time_zone),
        dimension_values_tool(settings.time_zone),
        lookup_tool(open_live),
        trace_tool(home, audit),
        status_tool(jobs),
        feedback_tool(audit),
        QUERY_SQL,
        request_access_tool(AccessRequests(home)),
        ingest_tool(jobs),
        release_tool(library.ledger, jobs),
        evaluate_tool(jobs),
    )
    return {tool.name: tool for tool in tools}
