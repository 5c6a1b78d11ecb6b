"""The commands that ask and serve: each read goes through the same tools, grants and audit as an agent's."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from indexes.file_format import FORMATS, FileFormat
from mcp_server import answer as answers
from mcp_server import client_config as clients
from mcp_server import identity, keys, opening, pool, query_output, serving, session, stdio, table
from mcp_server import member as members
from mcp_server import service as services
from mcp_server import tool as tools
from mcp_server.settings import serving_settings
from mcp_server.tools import query_metrics
from semantic_layer import principal_form
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.identity_settings import SCOPES, TOKEN_HOURS
from semantic_layer.settings import MOST_PROCESSES

as_json = click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
as_principal = click.option(
    "--as",
    "as_form",
    metavar="JSON",
    help="""Ask as {"roles": [...], "attributes": {...}} instead of cli.principal.""",
)
where = click.option("--where", metavar="JSON", help='A filter: {"field": "region", "op": "eq", "value": "EU"}.')
limit = click.option("--limit", type=click.IntRange(min=1), help="At most so many.")


def ask(
    door: Door,
    tool: str,
    arguments: Mapping[str, Any],
    as_form: str | None,
    as_json: bool,
    moment: services.Moment | None = None,
) -> None:
    """Call one tool, print its answer, and end with the exit code of a refusal or failure."""
    answer = called(door, tool, arguments, as_form, moment)
    if as_json:
        click.echo(json.dumps(answer.to_json(), ensure_ascii=False))
        if answer.error is not None:
            sys.exit(answer.error.exit_code)
    elif answer.error is not None:
        raise answer.error
    else:
        print_answer(answer)


def called(
    door: Door,
    tool: str | tools.Tool,
    arguments: Mapping[str, Any],
    as_form: str | None,
    moment: services.Moment | None = None,
) -> answers.Answer:
    """A tool's answer to the command line's principal: one of the server's by its name, or one that no list shows."""
    principal = principal_form.principal_of_form(as_form) if as_form else door.settings.cli
    given = {name: value for name, value in arguments.items() if value not in (None, (), [])}
    caller = session.Caller(principal, "cli", "wellhead")
    with opening.open_service(door) as service:
        if isinstance(tool, tools.Tool):
            return service.answer(caller, tool, given, moment=moment)
        if "response_format" in service.tools[tool].arguments.model_fields:
            given["response_format"] = "detailed"  # a person scrolls; only models pay by the token
        return service.call(caller, tool, given, moment=moment)


def answered(
    door: Door,
    tool: str | tools.Tool,
    arguments: Mapping[str, Any],
    as_form: str | None,
    moment: services.Moment | None = None,
) -> answers.Answer:
    """As `called`; a refusal or failure is raised."""
    answer = called(door, tool, arguments, as_form, moment)
    if answer.error is not None:
        raise answer.error
    return answer


def print_answer(answer: answers.Answer) -> None:
    """The answer's text without the fence that is meant for models."""
    rows = answer.data.get("rows")
    if rows and isinstance(rows[0], dict):
        click.echo(table.aligned_table(list(rows[0]), rows))
        click.echo(answer.receipt.line())
    else:
        lines = [line for line in answer.to_text().splitlines() if f"data-{answer.fence.marker}>" not in line]
        click.echo("\n".join(lines))
    if answer.page is not None and answer.page.next_cursor:
        click.echo("more follow: raise --limit")


def json_option(text: str | None, name: str) -> Any:
    """The JSON of an option. Raises InvalidArgument naming the option."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{name} is not JSON: {error}.", hint="Quote it for the shell.") from None


@click.command()
@click.argument("question")
@click.option("--product", "products", multiple=True, help="Only these products.")
@where
@limit
@click.option("--mode", type=click.Choice(["hybrid", "vector", "text"]), help="Default: hybrid.")
@click.option("--rerank", is_flag=True, help="Order the best again by token vectors.")
@as_principal
@as_json
@click.pass_obj
def search(
    door: Door,
    question: str,
    products: tuple[str, ...],
    where: str | None,
    limit: int | None,
    mode: str | None,
    rerank: bool,
    as_form: str | None,
    as_json: bool,
) -> None:
    """Find passages that answer a question.

    \b
    Examples:
      wellhead search "how long may shoes be returned" --limit 3
      wellhead search "late parcels" --product tickets --as '{"roles": ["public"]}' --json
    """
    filters = json_option(where, "--where")
    asked = {
        "question": question,
        "products": list(products),
        "filters": filters,
        "limit": limit,
        "mode": mode,
        "rerank": rerank or None,
    }
    ask(door, "search", asked, as_form, as_json)


@click.command()
@click.argument("metrics", nargs=-1)
@click.option(
    "--by", "dimensions", multiple=True, help="Group by a dimension, such as region or metric_time__month."
)
@where
@click.option("--grain", help="Group by time: day, week, month, quarter, year, fiscal_year …")
@click.option("--start", help="First moment, inclusive (ISO 8601).")
@click.option("--end", help="Last moment, exclusive.")
@click.option("--zone", help="Time zone of days and months.")
@click.option("--order", multiple=True, help="Sort by a column; -name descends.")
@limit
@click.option("--saved-query", help="A saved query's name.")
@click.option("--chart", is_flag=True, help="Draw a bar for each row.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Write all rows in this format.")
@click.option("--into", metavar="FILE", help="Where --format writes; by default standard output.")
@click.option("--as-of", type=click.DateTime(), help="The clock of the question, in UTC; by default now.")
@as_principal
@as_json
@click.pass_obj
def query(
    door: Door,
    metrics: tuple[str, ...],
    dimensions: tuple[str, ...],
    where: str | None,
    grain: str | None,
    start: str | None,
    end: str | None,
    zone: str | None,
    order: tuple[str, ...],
    limit: int | None,
    saved_query: str | None,
    chart: bool,
    form: FileFormat | None,
    into: str | None,
    as_of: datetime | None,
    as_form: str | None,
    as_json: bool,
) -> None:
    """Ask for metrics, grouped and filtered.

    Shown is a table, with the totals over all rows below a page and a sparkline for each series over time. Ends with
    exit code 2 for a name or value that does not fit, 4 where the query is refused.

    --as-of is the moment that freshness is told at; the audit log keeps it for `wellhead replay`. The rows are those
    of the edition in force.

    \b
    Examples:
      wellhead query net_revenue --by region --grain year
      wellhead query net_revenue --grain month --chart
      wellhead query orders returns --start 2025-01-01 --end 2026-01-01 --json
      wellhead query net_revenue --by region --grain day --format parquet --into revenue.parquet
      wellhead query net_revenue --as-of 2025-06-30T12:00:00 --json
    """
    time = {"grain": grain, "start": start, "end": end, "zone": zone}
    asked = {
        "metrics": list(metrics),
        "dimensions": list(dimensions),
        "filters": json_option(where, "--where"),
        "time": {name: value for name, value in time.items() if value} or None,
        "order": list(order),
        "limit": limit,
        "saved_query": saved_query,
    }
    if into and not form:
        raise InvalidArgument("--into needs a format.", hint="Pass --format csv, arrow or parquet.")
    moment = services.Moment(None, as_of.replace(tzinfo=UTC)) if as_of else None
    if form:
        tool = query_metrics.whole_query_tool(door.settings.reporting.time_zone)
        query_output.write_numbers(answered(door, tool, asked, as_form, moment), form, into)
    elif as_json:
        ask(door, "query_metrics", asked, as_form, as_json, moment)
    else:
        found = answered(door, "query_metrics", asked, as_form, moment)
        query_output.print_numbers(found, chart=chart, width=shutil.get_terminal_size().columns)


@click.command()
@click.argument("product")
@click.argument("dataset")
@click.argument("key", required=False)
@where
@click.option("--column", "columns", multiple=True, help="Only these columns.")
@click.option("--order", multiple=True, help="Sort by a column; -name descends.")
@limit
@as_principal
@as_json
@click.pass_obj
def lookup(
    door: Door,
    product: str,
    dataset: str,
    key: str | None,
    where: str | None,
    columns: tuple[str, ...],
    order: tuple[str, ...],
    limit: int | None,
    as_form: str | None,
    as_json: bool,
) -> None:
    """Look up records by key or filter.

    \b
    Examples:
      wellhead lookup orders orders 1001
      wellhead lookup orders orders --where '{"field": "status", "op": "eq", "value": "open"}' --limit 5
    """
    asked = {
        "product": product,
        "dataset": dataset,
        "key": key,
        "filters": json_option(where, "--where"),
        "columns": list(columns),
        "order": list(order),
        "limit": limit,
    }
    ask(door, "lookup", asked, as_form, as_json)


@click.command()
@click.argument("statement")
@limit
@as_principal
@as_json
@click.pass_obj
def sql(door: Door, statement: str, limit: int | None, as_form: str | None, as_json: bool) -> None:
    """Run one SELECT over datasets, as far as your policy shows them (action and scope `sql`).

    \b
    Examples:
      wellhead sql "select region, count(*) from orders.orders group by region"
      wellhead sql "select * from orders.orders" --limit 5 --as '{"roles": ["analyst"], "scopes": ["read", "sql"]}'
    """
    principal = principal_form.principal_of_form(as_form) if as_form else door.settings.cli
    if identity.SQL not in principal.scopes:
        raise Refused(
            "SQL needs the scope `sql`.",
            rule="scope",
            hint="Give the principal scopes: [read, sql], here or with --as.",
        )
    ask(door, "query_sql", {"sql": statement, "limit": limit}, as_form, as_json)


@click.command()
@click.argument("words", required=False)
@limit
@as_principal
@as_json
@click.pass_obj
def discover(door: Door, words: str | None, limit: int | None, as_form: str | None, as_json: bool) -> None:
    """Find products, datasets and metrics.

    \b
    Examples:
      wellhead discover
      wellhead discover "returned goods"
    """
    ask(door, "discover", {"query": words, "limit": limit}, as_form, as_json)


@click.command()
@click.argument("ref")
@as_principal
@as_json
@click.pass_obj
def describe(door: Door, ref: str, as_form: str | None, as_json: bool) -> None:
    """Describe a product, dataset or metric.

    \b
    Examples:
      wellhead describe orders
      wellhead describe metric://orders/net_revenue
    """
    ask(door, "describe", {"ref": ref}, as_form, as_json)


@click.command()
@click.argument("audit_id")
@as_principal
@as_json
@click.pass_obj
def trace(door: Door, audit_id: str, as_form: str | None, as_json: bool) -> None:
    """Explain an earlier answer by the audit id of its receipt.

    \b
    Example:
      wellhead trace a-20261122T101500-9f2c41d07b3e
    """
    ask(door, "trace", {"audit_id": audit_id}, as_form, as_json)


@click.command()
@click.option("--subject", default="developer", show_default=True)
@click.option("--role", "roles", multiple=True, help="A role; may be repeated.")
@click.option("--attributes", metavar="JSON", help="""Such as '{"regions": ["EU"]}'.""")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("read",), show_default=True)
@click.option("--client", default="development", show_default=True, help="The client's name.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=TOKEN_HOURS,
    show_default=True,
    help="How long it holds.",
)
@click.option("--audience", help="The server's MCP URL; by default the one of wellhead.yaml.")
@as_json
@click.pass_obj
def token(
    door: Door,
    subject: str,
    roles: tuple[str, ...],
    attributes: str | None,
    scopes: tuple[str, ...],
    client: str,
    hours: float,
    audience: str | None,
    as_json: bool,
) -> None:
    """Issue a signed development token for the HTTP server.

    \b
    Example:
      wellhead token --subject alice --role analyst --attributes '{"regions": ["EU"]}'
    """
    form = {
        "roles": list(roles),
        "attributes": json_option(attributes, "--attributes") or {},
        "scopes": list(scopes),
    }
    principal = replace(principal_form.principal_of_form(json.dumps(form), subject), client=client)
    url = audience or serving_settings(door).resource_url
    authority = identity.TokenAuthority(keys.token_keys(door.home, os.environ), url)
    issued = authority.issue(principal, lifetime_seconds=int(hours * 3_600))
    click.echo(
        json.dumps({"token": issued, "audience": url, "expires_in": int(hours * 3_600)}) if as_json else issued
    )


@click.command("client-config")
@click.argument("client", type=click.Choice(clients.CLIENTS))
@click.option(
    "--http", is_flag=True, help="Connect to the running HTTP server instead of starting one over stdio."
)
@as_json
@click.pass_obj
def client_config(door: Door, client: str, http: bool, as_json: bool) -> None:
    """Print how to connect a client to this workspace.

    \b
    Examples:
      wellhead client-config claude-code
      wellhead client-config vscode --http
    """
    configuration = clients.client_configuration(client, door.root, serving_settings(door), http=http)
    if as_json:
        click.echo(json.dumps({"client": client, "file": configuration.file, "text": configuration.text}))
    else:
        click.echo(f"# {configuration.file}\n{configuration.text}")


@click.command()
@click.option("--http", "address", metavar="HOST:PORT", help="Serve over HTTP; without it over stdio.")
@click.option("--public-url", help="The URL that clients use, where a proxy stands in front.")
@click.option("--no-worker", is_flag=True, help="Do not start `wellhead work` beside the server.")
@click.option(
    "--processes", type=click.IntRange(1, MOST_PROCESSES), help="How many serve the address together, on Linux."
)
@click.option("--member", hidden=True)
@click.pass_obj
def serve(
    door: Door,
    address: str | None,
    public_url: str | None,
    no_worker: bool,
    processes: int | None,
    member: str | None,
) -> None:
    """Serve what is live to agents: over stdio, or over HTTP with MCP at /mcp and REST under /api.

    \b
    Examples:
      wellhead serve
      wellhead serve --http 127.0.0.1:8420
      wellhead serve --http 127.0.0.1:8420 --processes 4
    """
    settings = serving_settings(door, worker=not no_worker)
    if address is None:
        if processes is not None:
            raise InvalidArgument("stdio is served by one process.", hint="Add --http HOST:PORT.")
        with opening.open_service(door, settings) as service:
            stdio.serve_stdio(service)
        return
    host, port = host_and_port(address, settings.host, settings.port)
    settings = replace(settings, host=host, port=port, public_url=public_url or settings.public_url)
    processes = processes or door.settings.server.processes
    if member is None and processes > 1:
        command = [sys.executable, "-m", "wellhead", "--workspace", str(door.root), "serve", "--http"]
        command += [f"{host}:{port}", "--public-url", settings.public_url]
        sys.exit(pool.serve_together(settings, command, processes))
    joined = members.Member.from_form(member) if member is not None else None
    with opening.open_service(door, joined.share(settings) if joined else settings) as service:
        serving.serve_http(service, joined)


def host_and_port(address: str, host: str, port: int) -> tuple[str, int]:
    """Both parts of `HOST:PORT`, `HOST` or `:PORT`. Raises InvalidArgument for a port that is not a number."""
    given_host, _, given_port = address.rpartition(":") if ":" in address else (address, "", "")
    if given_port and not (given_port.isdigit() and int(given_port) < 65_536):
        raise InvalidArgument(f"{address!r} is not HOST:PORT.", hint="Such as 127.0.0.1:8420.")
    return given_host.strip("[]") or host, int(given_port) if given_port else port
