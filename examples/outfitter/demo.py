"""The outfitter from files to governed answers, asked by three callers over MCP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from rich.console import Console
from rich.panel import Panel

from examples.outfitter.generate import POSTGRES_SCHEMA, generate, postgres_tables
from indexes.postgres.embedded import DSN_VARIABLE, embedded_postgres
from indexes.postgres.load import load_tables
from semantic_layer.errors import EngineUnavailable, WellheadError

SOURCE = Path(__file__).parent
READY_SECONDS = 60.0
WORKSPACE_FILES = ("wellhead.yaml",)
LINE = 150


class DemoFailed(WellheadError):
    """The demo did not show what it is there to show."""

    code = "demo_failed"


@dataclass(frozen=True)
class Asker:
    """Who asks in the demo; no roles means no token at all."""

    name: str
    roles: tuple[str, ...]
    attributes: Mapping[str, Sequence[str]]


ASKERS = (
    Asker("EU analyst", ("analyst",), {"regions": ["EU"]}),
    Asker("US analyst", ("analyst",), {"regions": ["US"]}),
    Asker("anonymous agent", (), {}),
)

QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("What do you hold on revenue?", "discover", {"query": "revenue", "limit": 4}),
    (
        "What was net revenue per region in fiscal year 2025?",
        "query_metrics",
        {
            "metrics": ["net_revenue"],
            "dimensions": ["orders.region"],
            "time": {"start": "2025-02-01", "end": "2026-02-01"},
        },
    ),
    (
        "How long may a customer return shoes?",
        "search",
        {"question": "How long may a customer return shoes?", "limit": 2},
    ),
    (
        "The newest orders, live from Postgres",
        "lookup",
        {
            "product": "orders",
            "dataset": "orders",
            "columns": ["order_id", "region", "status", "ordered_at"],
            "order": ["-ordered_at"],
            "limit": 3,
        },
    ),
)


@dataclass(frozen=True)
class Reply:
    """What a tool said: the text an agent reads, and the structured answer beside it."""

    text: str
    structured: Mapping[str, Any]


def run_demo(into: Path, *, serve: bool, port: int, as_json: bool) -> None:
    """Copy the workspace into a folder, ingest it, serve it at a port (0: a free one), ask, and show the answers.

    Raises DemoFailed where the three callers do not get what each may see.
    """
    console = Console(stderr=as_json)
    started = time.monotonic()
    workspace = _workspace(into.resolve(), console)
    with _postgres(workspace, console):
        console.rule("1. Ingest: files, Postgres rows and JSON documents become sealed generations")
        _wellhead(workspace, "ingest", quiet=as_json)
        console.rule("2. Serve: MCP over HTTP")
        with _server(workspace, port or _free_port()) as url:
            console.rule("3. Ask: one question, three callers")
            replies = asyncio.run(_ask_all(url, workspace))
            _show(replies, console, as_json=as_json)
            _check(replies)
            console.print(
                f"[bold]Done in {time.monotonic() - started:.0f} s.[/bold] The workspace is {workspace}."
            )
            if serve:
                _serve_on(workspace, url, console)


def _workspace(folder: Path, console: Console) -> Path:
    """A copy of the example with its data generated from the seed; what an earlier run built is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in WORKSPACE_FILES:
        shutil.copyfile(SOURCE / name, folder / name)
    shutil.copytree(
        SOURCE / "products", folder / "products", dirs_exist_ok=True, ignore=shutil.ignore_patterns("data")
    )
    with console.status("Making three years of the outfitter's data from its seed …"):
        generate(folder)
    return folder


@contextlib.contextmanager
def _postgres(workspace: Path, console: Console) -> Generator[None]:
    """The order database: the server that WELLHEAD_POSTGRES_DSN names, else an embedded one."""
    with contextlib.ExitStack() as stack:
        dsn = os.environ.get(DSN_VARIABLE)
        if not dsn:
            dsn = stack.enter_context(embedded_postgres(workspace / ".wellhead" / "postgres"))
        counts = load_tables(dsn, POSTGRES_SCHEMA, postgres_tables())
        console.print("Postgres holds " + ", ".join(f"{rows:,} {name}" for name, rows in counts.items()))
        yield


def _wellhead(workspace: Path, *arguments: str, quiet: bool = False) -> str:
    """Run one wellhead command on the workspace; its output is shown unless it is asked for."""
    command = [sys.executable, "-m", "wellhead", "--workspace", str(workspace), *arguments]
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if quiet else None)
    if done.returncode:
        raise DemoFailed(f"`wellhead {' '.join(arguments)}` ended with {done.returncode}; see its message above.")
    return done.stdout or ""


@contextlib.contextmanager
def _server(workspace: Path, port: int) -> Generator[str]:
    """A server process on this port, stopped at the end; gives the MCP endpoint's URL once it is ready."""
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "wellhead", "--workspace", str(workspace), "serve", "--http", address]
    server = subprocess.Popen(command)
    try:
        _wait_until_ready(server, f"http://{address}/readyz")
        yield f"http://{address}/mcp"
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    give_up = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up:
        if server.poll() is not None:
            raise EngineUnavailable(f"the server ended with {server.returncode}.", hint="See its message above.")
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise EngineUnavailable(f"the server was not ready within {READY_SECONDS:.0f} s.", hint=f"Ask {url} why.")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def _ask_all(url: str, workspace: Path) -> dict[str, list[Reply]]:
    """Every question by every asker: caller → replies in the order of QUESTIONS."""
    replies: dict[str, list[Reply]] = {}
    for asker in ASKERS:
        headers = {"Authorization": f"Bearer {_token(workspace, url, asker)}"} if asker.roles else {}
        http = create_mcp_http_client(headers=headers)
        async with Client(streamable_http_client(url, http_client=http)) as client:
            replies[asker.name] = [_reply(await client.call_tool(tool, asked)) for _, tool, asked in QUESTIONS]
    return replies


def _reply(result: Any) -> Reply:
    text = "\n".join(block.text for block in result.content if block.type == "text")
    return Reply(text, result.structured_content or {})


def _token(workspace: Path, url: str, asker: Asker) -> str:
    arguments = ["token", "--subject", asker.name.replace(" ", "-").lower(), "--audience", url, "--json"]
    for role in asker.roles:
        arguments += ["--role", role]
    arguments += ["--attributes", json.dumps(asker.attributes)]
    return str(json.loads(_wellhead(workspace, *arguments, quiet=True))["token"])


def _show(replies: Mapping[str, Sequence[Reply]], console: Console, *, as_json: bool) -> None:
    if as_json:
        asked = {asker: [reply.structured for reply in given] for asker, given in replies.items()}
        click.echo(json.dumps(asked, default=str))
        return
    for number, (question, tool, _) in enumerate(QUESTIONS):
        console.print(Panel(f"[bold]{question}[/bold]  [dim]{tool}[/dim]", expand=False))
        for asker, given in replies.items():
            console.print(f"[bold cyan]{asker}[/bold cyan]")
            for line in given[number].text.splitlines():
                shown = line if line.startswith("receipt ") else shorten(line, LINE)
                console.print(f"  {shown}", markup=False, highlight=False, soft_wrap=True)


def _check(replies: Mapping[str, Sequence[Reply]]) -> None:
    """The point of it all: the same question, three callers, different rows."""
    for number, (question, tool, _) in enumerate(QUESTIONS):
        if tool in ("query_metrics", "lookup"):
            seen = {json.dumps(given[number].structured.get("data"), sort_keys=True) for given in replies.values()}
            if len(seen) != len(ASKERS):
                raise DemoFailed(f"two callers got the same answer to {question!r}.", hint="Check the policies.")
    for asker in ASKERS[:2]:
        refused = [reply.text for reply in replies[asker.name] if reply.structured.get("status") != "ok"]
        if refused:
            raise DemoFailed(f"{asker.name} was not answered: {refused[0]}")


def shorten(line: str, width: int) -> str:
    """The line, cut at `width` characters with an ellipsis."""
    return line if len(line) <= width else line[: width - 1] + "…"


def _serve_on(workspace: Path, url: str, console: Console) -> None:
    token = _token(workspace, url, ASKERS[0])
    console.print(
        Panel(
            f'claude mcp add --transport http wellhead {url} --header "Authorization: Bearer {token}"',
            title="Serving until Ctrl-C; as the EU analyst",
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
