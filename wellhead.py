"""The front door: finds the workspace, mounts commands lazily, and turns failures into exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, WellheadError, close_names
from semantic_layer.first_use import import_lightly

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("examples.outfitter.commands:demo", "Ingest a retailer's data, serve it, ask as three callers."),
    "init": ("ingest.starter:init", "Make a workspace of your own files."),
    "validate": ("semantic_layer.commands:validate", "Every mistake in a workspace's files, with file and line."),
    "ingest": ("ingest.commands:ingest", "Build, check and publish generations of data products."),
    "status": ("indexes.commands:status", "What is live: edition, generations, newest jobs."),
    "history": ("indexes.commands:history", "The editions: what changed, when and by whom."),
    "promote": ("ingest.promotion:promote", "Make a sealed generation live."),
    "rollback": ("indexes.commands:rollback", "Make an earlier edition's generations live again."),
    "prune": ("ingest.prune:prune", "Remove generations that retention no longer keeps."),
    "import": ("semantic_layer.exchange_commands:import_semantics", "Write another tool's semantics in our form."),
    "export": ("semantic_layer.exchange_commands:export_semantics", "Write semantics in another tool's form."),
    "certify": ("indexes.certification_commands:certify", "Stand behind a live metric at the content it has."),
    "discover": ("mcp_server.commands:discover", "What there is: products, metrics, dimensions."),
    "describe": ("mcp_server.commands:describe", "What a product, dataset, column or metric means."),
    "search": ("mcp_server.commands:search", "Find passages."),
    "query": ("mcp_server.commands:query", "Query metrics."),
    "lookup": ("mcp_server.commands:lookup", "Fetch records by key or filter."),
    "sql": ("mcp_server.commands:sql", "Run one guarded SELECT."),
    "trace": ("mcp_server.commands:trace", "What an earlier answer rested on."),
    "replay": ("mcp_server.audit_commands:replay", "Ask a recorded call again and compare the answers."),
    "audit": ("mcp_server.audit_commands:audit", "Verify the audit log."),
    "serve": ("mcp_server.commands:serve", "Serve agents over stdio or HTTP."),
    "work": ("ingest.commands:work", "Run the jobs that operator tools submit."),
    "token": ("mcp_server.commands:token", "Issue a signed development token."),
    "client-config": ("mcp_server.commands:client_config", "Print the configuration for an MCP client."),
    "policy": ("indexes.policy_commands:policy", "Explain and test who may see what."),
    "access": ("mcp_server.access_commands:access", "Requests for access: list, approve, refuse."),
    "keys": ("indexes.key_commands:keys", "List, rotate and retire signing keys."),
    "eval": ("evals.commands:evaluate", "Ask the evaluation cases of the live edition."),
    "leak-test": ("evals.leak_commands:leak_test_command", "Try to make a server tell what it must not."),
    "doctor": ("ingest.doctor:doctor", "Check this machine, the engines and the live generations."),
}
"""Command → where it is defined (imported only when it is asked for) and what help says."""

PACKAGES = ("semantic_layer", "indexes", "evals", "ingest", "mcp_server", "examples")


EXIT_CODES = """\b
Exit codes:
  0  done                      4  refused, or no usable credential
  1  failed                    5  an engine that was asked for is down
  2  wrong argument or name    6  a gate failed; what was live stays live
  3  mistakes in the workspace 7  damaged or newer files
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        return _with_exit_codes(getattr(import_lightly(module, PACKAGES), name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = close_names(args[0], COMMANDS)
            hint = f"Did you mean {near[0]!r}?" if near else "`wellhead --help` lists the commands."
            raise click.UsageError(f"no command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _with_exit_codes(command: click.Command) -> click.Command:
    """The command, whose help ends with the exit codes, as does that of the commands below it."""
    command.epilog = EXIT_CODES
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _with_exit_codes(below)
    return command


@click.group(cls=LazyGroup, epilog=EXIT_CODES)
@click.option("--workspace", type=click.Path(path_type=Path, file_okay=False), help="The workspace's folder.")
@click.version_option(package_name="wellhead")
@click.pass_context
def cli(ctx: click.Context, workspace: Path | None) -> None:
    """Governed data products in, permission-aware answers with receipts out."""
    ctx.obj = Door(workspace, os.environ)


def main() -> None:
    """Run a command; a failure prints its code, sentence and next step, and sets the exit code."""
    try:
        code = cli.main(prog_name="wellhead", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        if _as_json():
            context = error.ctx if isinstance(error, click.UsageError) else None
            hint = f"`{context.command_path} --help` shows what there is." if context else ""
            _show(InvalidArgument(error.format_message(), hint=hint))
        else:
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except WellheadError as error:
        _show(error)
        sys.exit(error.exit_code)


def _as_json() -> bool:
    return "--json" in sys.argv


def _show(error: WellheadError) -> None:
    if _as_json():
        problem = {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}
        click.echo(json.dumps({"error": problem}))
    else:
        click.echo(str(error), err=True)


if __name__ == "__main__":
    main()
