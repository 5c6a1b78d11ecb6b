"""What `wellhead.yaml` sets for a workspace, frozen; an unknown key is a mistake, never ignored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from semantic_layer.audit_settings import AUDIT_KEYS, AuditSettings, read_audit
from semantic_layer.engine_settings import EngineSettings, read_engine_settings
from semantic_layer.environment import holds_password
from semantic_layer.errors import Problem
from semantic_layer.identity_settings import IDENTITY_KEYS, IdentitySettings, read_identity
from semantic_layer.limit_settings import LIMITS_KEYS, LimitSettings, read_limits
from semantic_layer.principal import PUBLIC, RESERVED_ATTRIBUTES, AttributeValue, Principal
from semantic_layer.retention_settings import RETENTION_KEYS, RetentionSettings, read_retention
from semantic_layer.section import Section
from semantic_layer.yaml_file import Node

FILE = "wellhead.yaml"
FORMAT = 1
Precision = Literal["auto", "int8", "fp32"]
LedgerEngine = Literal["files", "postgres"]
LogForm = Literal["text", "json"]
READ = "read"
MOST_PROCESSES = 64
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_IDENTITY = IdentitySettings()
_ENGINES = EngineSettings()
_LIMITS = LimitSettings()
_AUDIT = AuditSettings()
_RETENTION = RetentionSettings()
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
class PostgresSettings:
    """The PostgreSQL of `ledger: postgres`: its DSN, with `${NAME}` not yet filled in, and the schema of its tables."""

    dsn: str = "${WELLHEAD_POSTGRES_DSN}"
    schema: str = "wellhead"


@dataclass(frozen=True)
class ServerSettings:
    """Where `wellhead serve --http` listens, under which name, and how much it does at once.

    `anonymous` says whether callers without a token are served as `public`. `public_url` is what clients type where
    it differs. Past `concurrent_calls` calls wait, past `waiting_calls` they are turned away; one caller runs at most
    `concurrent_calls_each` while others ask too, 0 for half as many as there are cores. `metrics` is HOST:PORT for
    Prometheus, empty for none; `log` is the form of the log on standard error. `processes` share all of it.
    """

    host: str = "127.0.0.1"
    port: int = 8420
    anonymous: bool = True
    public_url: str = ""
    concurrent_calls: int = 8
    concurrent_calls_each: int = 0
    waiting_calls: int = 64
    deadline_seconds: int = 30
    metrics: str = ""
    log: LogForm = "text"
    processes: int = 1


@dataclass(frozen=True)
class WorkspaceSettings:
    """Everything in `wellhead.yaml`. `products` and `home` are relative to the workspace or absolute.

    `cli` and `stdio` are who the command line and a stdio session ask as; without a setting, role `public`.
    """

    name: str
    products: str = "products"
    home: str = ".wellhead"
    ledger: LedgerEngine = "files"
    postgres: PostgresSettings = PostgresSettings()
    engines: EngineSettings = _ENGINES
    embedding: EmbeddingSettings = EmbeddingSettings()
    reporting: ReportingSettings = ReportingSettings()
    server: ServerSettings = ServerSettings()
    identity: IdentitySettings = _IDENTITY
    limits: LimitSettings = _LIMITS
    audit: AuditSettings = _AUDIT
    retention: RetentionSettings = _RETENTION
    cli: Principal = _CLI
    stdio: Principal = _STDIO


_KEYS = (
    "version",
    "name",
    "products",
    "home",
    "ledger",
    "postgres",
    "engines",
    "faiss",
    "elasticsearch",
    "embedding",
    "reporting",
    "cli",
    "stdio",
    "server",
    "identity",
    "limits",
    "audit",
    "retention",
)
_SERVER = (
    "host",
    "port",
    "anonymous",
    "public_url",
    "concurrent_calls",
    "concurrent_calls_each",
    "waiting_calls",
    "deadline_seconds",
    "metrics",
    "log",
    "processes",
)
_PRINCIPAL_KEYS = ("subject", "roles", "attributes", "scopes", "tenant", "purposes", "client")


def read_settings(node: Node, problems: list[Problem]) -> WorkspaceSettings:
    """The settings in a parsed file; mistakes are added to `problems`."""
    top = Section(node, _KEYS, FILE, problems)
    top.required("version", "name")
    if top.integer("version", FORMAT) != FORMAT:
        top.wrong(
            f"version {top.integer('version')} is not read here.", f"Write version: {FORMAT}.", key="version"
        )
    embedding = top.section("embedding", ("model", "precision"))
    server = top.section("server", _SERVER)
    default = ServerSettings()
    return WorkspaceSettings(
        name=top.text("name", "workspace"),
        products=top.text("products", "products"),
        home=top.text("home", ".wellhead"),
        ledger=top.choice("ledger", get_args(LedgerEngine), "files"),
        postgres=_postgres(top.section("postgres", ("dsn", "schema"))),
        engines=read_engine_settings(top),
        embedding=EmbeddingSettings(
            model=embedding.text("model", EmbeddingSettings.model),
            precision=embedding.choice("precision", get_args(Precision), EmbeddingSettings.precision),
        ),
        reporting=ReportingSettings(_time_zone(top.section("reporting", ("time_zone",)))),
        server=ServerSettings(
            host=server.text("host", default.host),
            port=server.integer("port", default.port, low=0, high=65535),
            anonymous=server.flag("anonymous", default.anonymous),
            public_url=server.text("public_url"),
            concurrent_calls=server.integer("concurrent_calls", default.concurrent_calls, low=1, high=1_000),
            concurrent_calls_each=server.integer(
                "concurrent_calls_each", default.concurrent_calls_each, low=0, high=1_000
            ),
            waiting_calls=server.integer("waiting_calls", default.waiting_calls, low=0, high=10_000),
            deadline_seconds=server.integer("deadline_seconds", default.deadline_seconds, low=1, high=3_600),
            metrics=_address(server, "metrics"),
            log=server.choice("log", get_args(LogForm), default.log),
            processes=server.integer("processes", default.processes, low=1, high=MOST_PROCESSES),
        ),
        identity=read_identity(top.section("identity", IDENTITY_KEYS)),
        limits=read_limits(top.section("limits", LIMITS_KEYS)),
        audit=read_audit(top.section("audit", AUDIT_KEYS)),
        retention=read_retention(top.section("retention", RETENTION_KEYS)),
        cli=_door(top, "cli"),
        stdio=_door(top, "stdio"),
    )


def _address(section: Section, key: str) -> str:
    """HOST:PORT or :PORT, empty where nothing is set."""
    text = section.text(key)
    _, colon, port = text.rpartition(":")
    if text and not (colon and port.isdigit() and int(port) < 65_536):
        section.wrong(f"{key} must be HOST:PORT, not {text!r}.", "Such as 127.0.0.1:9464.", key=key)
    return text


def _postgres(section: Section) -> PostgresSettings:
    default = PostgresSettings()
    dsn, schema = section.text("dsn", default.dsn), section.text("schema", default.schema)
    if holds_password(dsn):
        section.wrong("`dsn` holds a password.", f'Keep it outside: dsn: "{default.dsn}".', key="dsn")
    if not _SCHEMA.fullmatch(schema):
        section.wrong(f"{schema!r} cannot name a schema.", "Use small letters, digits and _.", key="schema")
    return PostgresSettings(dsn, schema)


def _door(top: Section, door: str) -> Principal:
    section = top.section(door, ("principal",))
    held = section.node_of("principal")
    return read_principal(held, problems=top.problems, subject=door)


def read_principal(node: Node | None, *, problems: list[Problem], subject: str) -> Principal:
    """Who asks, as `{subject, roles, attributes, scopes, tenant, purposes, client}`; `subject` stands in for none.

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
        if name in RESERVED_ATTRIBUTES:
            problems.append(child.problem(f"no attribute may be called {name!r}.", f"Write {name}: beside roles."))
        elif value is None:
            problems.append(child.problem(f"attribute {name!r} must be text, numbers, or a list of them."))
        else:
            attributes[name] = value
    return Principal(
        subject=section.text("subject", subject),
        roles=frozenset(section.texts("roles")) or frozenset({PUBLIC}),
        attributes=attributes,
        client=section.text("client"),
        scopes=frozenset(section.texts("scopes")) or frozenset({READ}),
        tenant=section.text("tenant"),
        purposes=frozenset(section.texts("purposes")),
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
