"""Writes the reference pages that follow from the code: docs/cli.md, docs/errors.md and docs/tools.md.

python docs/generate.py            write them
python docs/generate.py --check    end with 1 where one of them is not what would be written
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mcp_server.opening import serving
from mcp_server.problem import status_of
from mcp_server.prompts import PROMPTS
from mcp_server.resources import TEMPLATES
from mcp_server.settings import ServingSettings
from mcp_server.tool import OUTPUT_SCHEMA, Tool
from semantic_layer.errors import InvalidWorkspace, Refused, UnknownName, WellheadError
from wellhead import COMMANDS, cli

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GENERATED = "<!-- Written by docs/generate.py from the code: change that, then run it again. -->"
PACKAGES = ("semantic_layer", "indexes", "evals", "ingest", "mcp_server", "examples")

ADVICE: Mapping[str, str] = {
    "failed": "The sentence names what failed, and the hint the next step.",
    "invalid_argument": "Change the argument that the sentence names to what the hint shows.",
    "invalid_filter": "Use an operator and a value that fit the field: see [Filters](product-files.md#filters).",
    "unknown_name": (
        "Take one of the suggested names, or call `discover`. A name that you may not see reads the same as"
        " one that does not exist."
    ),
    "refused": (
        "The rule that refused is named. Ask for columns or rows that you may see, or ask the owner for rights."
    ),
    "unauthenticated": "Get a token (`wellhead token` in development) and send it as `Authorization: Bearer …`.",
    "engine_unavailable": (
        "Start the engine that is named, or mend its address; `wellhead doctor` checks all of them."
    ),
    "deadline_exceeded": "Ask for less: a shorter time range, fewer dimensions, a filter. Then try again.",
    "busy": "Wait for what is running, then try again. Over HTTP, `Retry-After` says how long.",
    "limit_exceeded": (
        "One of your own limits is used up; the hint and `Retry-After` say when to call again. Ask for less, or ask "
        "whoever runs the server for wider `limits`."
    ),
    "edition_conflict": "Somebody published meanwhile. Nothing was changed: run the same command again.",
    "corrupt_generation": (
        "Sealed matter does not match its checksums and is not served. Run `wellhead ingest` for that "
        "product, or `wellhead rollback`."
    ),
    "audit_broken": (
        "Keep the log and its anchors as they are, and find out who wrote to them. Records before the one that is "
        "named are whole."
    ),
    "newer_format": "Upgrade wellhead: a newer version wrote the file.",
    "source_failed": (
        "Mend the file, line or table that is named. Where the contract says `on_error: set_aside`, the "
        "rest is published without it."
    ),
    "gate_failed": "What was live stays live. Mend the data, or the contract or evaluation case that is named.",
    "out_of_space": "Free some space and run the same command again: it goes on from what was finished.",
    "invalid_workspace": "Every mistake is listed with file and line. Mend them and run `wellhead validate`.",
    "cancelled": "Ask again if the answer is still wanted.",
    "internal": "A mistake of ours. Report it with the audit id; the server's log has the rest under that id.",
    "demo_failed": "Run `wellhead doctor`, mend what it names, then run the demo again.",
}
"""What to do about each error, by its code."""

EXIT_CODES = (
    (0, "Done."),
    (1, "Failed: see the error's code."),
    (2, "A wrong argument, option or name."),
    (3, "Mistakes in the workspace's files."),
    (4, "Refused, or no usable credential."),
    (5, "An engine that was asked for is down."),
    (6, "A gate failed; what was live stays live."),
    (7, "Damaged files, or files of a newer version."),
    (130, "Stopped by Ctrl-C."),
)


def pages() -> Mapping[str, str]:
    """Each generated page by its file name."""
    return {"cli.md": cli_page(), "errors.md": errors_page(), "tools.md": tools_page()}


# -- the command line ---------------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments, options, examples and exit codes."""
    lines = [
        "# The command line",
        GENERATED,
        "",
        "`wellhead` works on the workspace that you are in: the nearest folder upward with a `wellhead.yaml`."
        " `--workspace FOLDER` before the command, or `WELLHEAD_WORKSPACE`, names another. Reads go through "
        "the same grants, receipts and audit as an agent's, as the principal `cli.principal` of "
        "`wellhead.yaml` or as `--as`: there is no superuser.",
        "",
        "With `--json` a command prints JSON and nothing else; an error is then "
        '`{"error": {"code", "message", "hint", "retryable"}}`.',
        "",
        *_table(
            ("Command", ""), [(f"[`{name}`](#wellhead-{name})", said) for name, (_, said) in COMMANDS.items()]
        ),
        "",
        "## Exit codes",
        "",
        *_table(("Code", "Meaning"), [(str(code), said) for code, said in EXIT_CODES]),
    ]
    for name, (place, _) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        for whole, command in leaves(name, getattr(import_module(module), attribute)):
            lines += ["", *_command(whole, command)]
    return "\n".join(lines) + "\n"


def leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The command, and where it is a group those inside it, with their whole names."""
    yield name, command
    for inner, one in sorted(command.commands.items()) if isinstance(command, click.Group) else ():
        yield from leaves(f"{name} {inner}", one)


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=click.Context(cli, info_name="wellhead"))
    usage = " ".join(command.collect_usage_pieces(context))
    said, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    yield f"## `wellhead {name}`"
    yield ""
    yield from ("```", f"wellhead {name} {usage}", "```", "")
    yield said.strip()
    options = [
        parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    if options:
        yield ""
        yield from _table(("Option", ""), [_option(option, context) for option in options])
    if examples:
        yield ""
        lines = [line.strip() for line in examples.strip().splitlines()[1:]]
        yield from ("```sh", *[line for line in lines if line], "```")


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    if record is None:
        return ", ".join(option.opts), ""
    names, said = record
    return f"`{names}`", said


# -- errors -------------------------------------------------------------------------------------------------


def error_classes() -> list[type[WellheadError]]:
    """Every class of error with a code of its own, the general one first, then by code."""
    for path in _python_files():
        if re.search(r"^    code = \"", path.read_text(encoding="utf-8"), re.MULTILINE):
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found: dict[str, type[WellheadError]] = {}
    waiting: list[type[WellheadError]] = [WellheadError]
    while waiting:
        kind = waiting.pop()
        if "code" in kind.__dict__ and kind.__module__.partition(".")[0] in PACKAGES:
            found.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return sorted(found.values(), key=lambda kind: (kind is not WellheadError, kind.code))


def _example(kind: type[WellheadError]) -> WellheadError:
    if issubclass(kind, UnknownName):
        return kind("product", "orders")
    if issubclass(kind, Refused):
        return kind("", rule="")
    return InvalidWorkspace(()) if issubclass(kind, InvalidWorkspace) else kind("")


def _python_files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def errors_page() -> str:
    """Every error with its meaning, exit code, HTTP status and what to do."""
    kinds = error_classes()
    lines = [
        "# Errors",
        GENERATED,
        "",
        "Every failure has a stable code, one sentence that names the file, line, field or engine, and a next"
        " step. It reads the same on the command line, in a tool's answer and over HTTP, where it is a "
        "problem detail (RFC 9457). *Retry* says whether the same call may succeed later.",
        "",
        *_table(
            ("Code", "Exit code", "HTTP", "Retry"),
            [
                (
                    f"[`{kind.code}`](#{kind.code})",
                    str(kind.exit_code),
                    str(status_of(_example(kind))),
                    "yes" if kind.retryable else "no",
                )
                for kind in kinds
            ],
        ),
    ]
    for kind in kinds:
        said = inspect.cleandoc(kind.__doc__ or "")
        said = said.partition("\n\n")[0] if kind is WellheadError else said
        lines += ["", f"## {kind.code}", "", said, "", f"**What to do.** {ADVICE[kind.code]}"]
    return "\n".join(lines) + "\n"


# -- tools --------------------------------------------------------------------------------------------------


def tools_page() -> str:
    """Every tool with its scope, size, arguments and annotations, as the server lists it."""
    with tempfile.TemporaryDirectory() as home, serving(ServingSettings(Path(home)), {}) as service:
        tools = list(service.tools.values())
    lines = [
        "# The tools",
        GENERATED,
        "",
        "What an agent gets from `tools/list`, and people over HTTP as `POST /api/tools/NAME`. Arguments are "
        "closed: a misspelt one is an error that names the right one. A caller sees the tools of the scopes "
        "that its token holds. The size is what the tool costs in every conversation: name, description and "
        "input schema in bytes of JSON, about four to a token.",
        "",
        *_table(
            ("Tool", "Scope", "Bytes", "Changes something"),
            [(f"[`{tool.name}`](#{tool.name})", tool.scope, str(_size(tool)), _changes(tool)) for tool in tools],
        ),
        "",
        "Every tool answers `{status, data, page, receipt}`; the resource `wellhead://answer-schema` is the full "
        "schema. Each declares this one:",
        "",
        *("```json", json.dumps(OUTPUT_SCHEMA), "```"),
    ]
    for tool in tools:
        lines += ["", *_tool(tool)]
    lines += ["", "## Resources", "", "Whatever an answer refers to can be read as a resource, decided anew:", ""]
    lines += _table(("Template", ""), [(f"`{one.uri_template}`", one.description or "") for one in TEMPLATES])
    prompts = [one.described() for one in PROMPTS.values()]
    rows = [
        (f"`{one.name}`", one.description or "", ", ".join(f"`{a.name}`" for a in one.arguments or ()))
        for one in prompts
    ]
    lines += ["", "## Prompts", "", *_table(("Prompt", "", "Arguments"), rows)]
    return "\n".join(lines) + "\n"


def _tool(tool: Tool) -> Iterator[str]:
    schema: Mapping[str, Any] = tool.described().input_schema
    required = schema.get("required", [])
    yield f"## {tool.name}"
    yield ""
    yield tool.description
    rows = [
        (f"`{name}`{' (required)' if name in required else ''}", *_argument(argument, schema))
        for name, argument in schema.get("properties", {}).items()
    ]
    if rows:
        yield ""
        yield from _table(("Argument", "Form", ""), rows)


def _argument(argument: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[str, str]:
    default = argument.get("default")
    said = argument.get("description", "")
    shown = f"default `{json.dumps(default)}`" if default is not None else ""
    return _form(argument, schema), "; ".join(part for part in (said, shown) if part)


def _form(argument: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The argument's type in words."""
    if "$ref" in argument:
        return _form(schema["$defs"][argument["$ref"].rpartition("/")[2]], schema)
    if "enum" in argument or "const" in argument:
        return ", ".join(f"`{value}`" for value in argument.get("enum", [argument.get("const")]))
    if "anyOf" in argument:
        return " or ".join(_form(one, schema) for one in argument["anyOf"])
    kind = argument.get("type", "any JSON")
    if kind == "array":
        return f"list of {_form(argument.get('items', {}), schema)}"
    if kind == "object" and argument.get("properties"):
        return "object of " + ", ".join(f"`{name}`" for name in argument["properties"])
    low, high = argument.get("minimum"), argument.get("maximum")
    return f"{kind}, {low} to {high}" if low is not None and high is not None else str(kind)


def _size(tool: Tool) -> int:
    form = tool.described().model_dump(by_alias=True, exclude_none=True, mode="json")
    form.pop("outputSchema", None)
    return len(json.dumps(form, separators=(",", ":"), ensure_ascii=False).encode())


def _changes(tool: Tool) -> str:
    if tool.read_only:
        return "no"
    return "yes, and may replace what is live" if tool.destructive else "yes, adds only"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def main() -> int:
    """Write the pages, or with --check compare them."""
    stale = [name for name, text in pages().items() if _read(DOCS / name) != text]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"docs/{name} is stale: run python docs/generate.py" for name in stale))
        return 1 if stale else 0
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
