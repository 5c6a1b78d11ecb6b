"""What `wellhead.yaml` sets for a workspace, frozen; an unknown key is a mistake, never ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from semantic_layer.errors import Problem
from semantic_layer.principal import PUBLIC, AttributeValue, Principal
from semantic_layer.section import Section
from semantic_layer.yaml_file import Node

FILE = "wellhead.yaml"
FORMAT = 1
Precision = Literal["auto", "int8", "fp32"]
READ = "read"
_CLI = Principal("cli", frozenset({PUBLIC}), scopes=frozenset({READ}))
_STDIO = Principal("stdio", frozenset({PUBLIC}), scopes=frozenset({READ}))


@dataclass(frozen=True)
class EmbeddingSettings:
    """Which model embeds, and how precisely: `auto` is int8 where the CPU has VNNI, else fp32."""

    model: str = "all-MiniLM-L6-v2"
    precision: Precision = "auto"


@dataclass(frozen=True)
class ReportingSettings:
    """The time zone in which days, months and years of metrics begin (an IANA name)."""

    time_zone: str = "UTC"


@dataclass(frozen=True)
class ServerSettings:
    """Where `wellhead serve --http` listens, and whether callers without a token are served as `public`."""

    host: str = "127.0.0.1"
    port: int = 8420
    anonymous: bool = True


@dataclass(frozen=True)
class WorkspaceSettings:
    """Everything in `wellhead.yaml`. `products` and `home` are relative to the workspace or absolute.

    `cli` and `stdio` are who the command line and a stdio session ask as; without a setting, role `public`.
    """

    name: str
    products: str = "products"
    home: str = ".wellhead"
    embedding: EmbeddingSettings = EmbeddingSettings()
    reporting: ReportingSettings = ReportingSettings()
    server: ServerSettings = ServerSettings()
    cli: Principal = _CLI
    stdio: Principal = _STDIO


_KEYS = ("version", "name", "products", "home", "embedding", "reporting", "cli", "stdio", "server")
_PRINCIPAL_KEYS = ("subject", "roles", "attributes", "scopes")


def read_settings(node: Node, problems: list[Problem]) -> WorkspaceSettings:
    """The settings in a parsed file; mistakes are added to `problems`."""
    top = Section(node, _KEYS, FILE, problems)
    top.required("version", "name")
    if top.integer("version", FORMAT) != FORMAT:
        top.wrong(
            f"version {top.integer('version')} is not read here.", f"Write version: {FORMAT}.", key="version"
        )
    embedding = top.section("embedding", ("model", "precision"))
    server = top.section("server", ("host", "port", "anonymous"))
    default = ServerSettings()
    return WorkspaceSettings(
        name=top.text("name", "workspace"),
        products=top.text("products", "products"),
        home=top.text("home", ".wellhead"),
        embedding=EmbeddingSettings(
            model=embedding.text("model", EmbeddingSettings.model),
            precision=embedding.choice("precision", get_args(Precision), EmbeddingSettings.precision),
        ),
        reporting=ReportingSettings(_time_zone(top.section("reporting", ("time_zone",)))),
        server=ServerSettings(
            host=server.text("host", default.host),
            port=server.integer("port", default.port, low=0, high=65535),
            anonymous=server.flag("anonymous", default.anonymous),
        ),
        cli=_door(top, "cli"),
        stdio=_door(top, "stdio"),
    )


def _door(top: Section, door: str) -> Principal:
    section = top.section(door, ("principal",))
    held = section.node_of("principal")
    return read_principal(held, problems=top.problems, subject=door)


def read_principal(node: Node | None, *, problems: list[Problem], subject: str) -> Principal:
    """Who asks, as `{subject, roles, attributes, scopes}`; `subject` stands in where none is given.

    Without roles the caller has only `public`; without scopes only `read`.
    """
    if node is None:
        return Principal(subject, frozenset({PUBLIC}), scopes=frozenset({READ}))
    section = Section(node, _PRINCIPAL_KEYS, "a principal", problems)
    attributes: dict[str, AttributeValue] = {}
    held = section.node_of("attributes")
    if held is not None and held.mapping is None:
        section.wrong("`attributes` must be a mapping.", "Write attributes: {regions: [EU]}.", key="attributes")
    for name, child in (held.mapping or {}).items() if held else ():
        value = _attribute(child)
        if value is None:
            problems.append(child.problem(f"attribute {name!r} must be text, numbers, or a list of them."))
        else:
            attributes[name] = value
    return Principal(
        subject=section.text("subject", subject),
        roles=frozenset(section.texts("roles")) or frozenset({PUBLIC}),
        attributes=attributes,
        scopes=frozenset(section.texts("scopes")) or frozenset({READ}),
    )


def _attribute(node: Node) -> AttributeValue | None:
    if isinstance(node.value, (str, bool, int)):
        return node.value
    values = [item.value for item in node.items or () if isinstance(item.value, (str, bool, int))]
    return tuple(values) if node.items is not None and len(values) == len(node.items) else None


def _time_zone(section: Section) -> str:
    name = section.text("time_zone", "UTC")
    if not known_time_zone(name):
        section.wrong(f"no time zone {name!r}.", "Use an IANA name such as Europe/Berlin.", key="time_zone")
        return "UTC"
    return name


def known_time_zone(name: str) -> bool:
    """Whether this is an IANA time zone of this machine."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
