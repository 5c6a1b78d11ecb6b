"""What the server is told: addresses, limits and times; read at the door and handed in."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from indexes.cores import usable_cores
from semantic_layer.audit_settings import AuditSettings
from semantic_layer.door import Door
from semantic_layer.engine_settings import EngineSettings
from semantic_layer.identity_settings import IdentitySettings
from semantic_layer.limit_settings import LimitSettings
from semantic_layer.principal import Principal
from semantic_layer.settings import LedgerEngine, LogForm, PostgresSettings

_ENGINES = EngineSettings()
_IDENTITY = IdentitySettings()
_LIMITS = LimitSettings()
_AUDIT = AuditSettings()


@dataclass(frozen=True)
class ServingSettings:
    """Settings of one serving process. Times in seconds, sizes in bytes.

    `public_url` is what clients type (and what a token's audience names) where it differs from host and port.
    Of several `processes` this one is number `process`; the calls that may run and wait are its part of the server's,
    and in the file `turns` each says how many run.
    """

    home: Path
    name: str = "wellhead"
    host: str = "127.0.0.1"
    port: int = 8420
    public_url: str = ""
    anonymous: bool = False
    stdio: Principal | None = None
    time_zone: str = "UTC"
    ledger: LedgerEngine = "files"
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    engines: EngineSettings = _ENGINES
    deadline_seconds: float = 30.0
    concurrent_calls: int = 8
    concurrent_calls_each: int = 0
    waiting_calls: int = 64
    processes: int = 1
    process: int = 0
    turns: str = ""
    max_request_bytes: int = 1_000_000
    refresh_seconds: float = 0.4
    cursor_seconds: int = 3_600
    worker_command: tuple[str, ...] = ()
    metrics: str = ""
    log: LogForm = "text"
    identity: IdentitySettings = _IDENTITY
    limits: LimitSettings = _LIMITS
    audit: AuditSettings = _AUDIT

    @property
    def resource_url(self) -> str:
        """The MCP endpoint's own name: what a token must be issued for."""
        return f"{self.origin}/mcp"

    @property
    def origin(self) -> str:
        """Scheme, host and port that clients use."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def calls_each(self) -> int:
        """How many calls of one caller run while others ask too: as set, or on half of the cores."""
        return self.concurrent_calls_each or max(1, usable_cores() // 2)


def serving_settings(door: Door, *, worker: bool = False) -> ServingSettings:
    """The server's settings as the workspace sets them; `worker` says to run `wellhead work` beside it."""
    settings = door.settings
    command = (sys.executable, "-m", "wellhead", "--workspace", str(door.root), "work") if worker else ()
    return ServingSettings(
        home=door.home,
        name=settings.name,
        host=settings.server.host,
        port=settings.server.port,
        anonymous=settings.server.anonymous,
        stdio=settings.stdio,
        time_zone=settings.reporting.time_zone,
        ledger=settings.ledger,
        postgres=settings.postgres,
        engines=settings.engines.below(door.root),
        worker_command=command,
        public_url=settings.server.public_url,
        deadline_seconds=settings.server.deadline_seconds,
        metrics=settings.server.metrics,
        log=settings.server.log,
        concurrent_calls=settings.server.concurrent_calls,
        concurrent_calls_each=settings.server.concurrent_calls_each,
        waiting_calls=settings.server.waiting_calls,
        identity=settings.identity,
        limits=settings.limits,
        audit=settings.audit.below(door.root),
    )
