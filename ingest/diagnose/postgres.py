"""PostgreSQL as ledger, vector engine and source: whether it answers, is new enough, has room, and lets us work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from indexes.postgres.connection import schema_of, server_dsn
from indexes.postgres.health import AUDIT, LEDGER, LIMITS, OLDEST, TRIED_BYTES, Examined, ServerFacts, Trial
from indexes.postgres.relation import Relation, relation_of
from ingest.diagnose.clock import clock_of
from ingest.diagnose.finding import Finding, attempt, failed
from semantic_layer.environment import filled
from semantic_layer.errors import WellheadError
from semantic_layer.product import DataProduct, Server
from semantic_layer.settings import WorkspaceSettings

CHECK = "engine postgres"
_LITTLE, _TOO_LITTLE = 2 * 2**30, 256 * 2**20


def look_at_postgres(settings: WorkspaceSettings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Reachable, version, clock, disk and rights of the PostgreSQL that keeps the ledger, audit heads or vectors."""
    uses = {
        "ledger": settings.ledger == "postgres",
        "vectors": settings.engines.vectors == "pgvector",
        "audit": settings.audit.anchor == "postgres",
    }
    if not any(uses.values()):
        return
    try:
        dsn = filled(settings.postgres.dsn, environment, where="`postgres.dsn`")
        examined = contextlib.closing(Examined(dsn))
    except WellheadError as error:
        yield failed(CHECK, error)
        return
    with examined as server:
        yield from _looked_at(server, settings, uses)


def look_at_postgres_source(
    check: str, product: DataProduct, server: Server, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Reachable, version and clock of a contract's server, and whether each dataset may be read there."""
    try:
        examined = contextlib.closing(Examined(server_dsn(server, environment)))
    except WellheadError as error:
        yield failed(check, error)
        return
    with examined as source:
        try:
            facts = source.facts()
        except WellheadError as error:
            yield failed(check, error)
            return
        yield _version(check, facts)
        yield clock_of(f"clock {product.name}.{server.name}", f"PostgreSQL ({facts.where})", facts.clock)
        for dataset in product.datasets:
            if product.server(dataset.server) == server:
                relation = relation_of(schema_of(server), dataset)
                yield attempt(f"{check}.{dataset.name}", lambda one=relation: _readable(source, one))


def _looked_at(server: Examined, settings: WorkspaceSettings, uses: Mapping[str, bool]) -> Iterator[Finding]:
    try:
        facts = server.facts()
    except WellheadError as error:
        yield failed(CHECK, error)
        return
    yield _version(CHECK, facts)
    yield clock_of(f"{CHECK}: clock", f"PostgreSQL ({facts.where})", facts.clock)
    if facts.standby:
        said = f"PostgreSQL ({facts.where}) is a standby, which takes no writes."
        yield Finding(f"{CHECK}: rights", "fail", said, "Let `postgres.dsn` name the primary.", exit_code=5)
        return
    yield _disk(server)
    schema = settings.postgres.schema
    tables = [*((LEDGER, LIMITS) if uses["ledger"] else ()), *((AUDIT,) if uses["audit"] else ())]
    for trial in tables:
        yield attempt(f"{CHECK}: {trial.table}", lambda one=trial: _kept(server, schema, one))
    if uses["vectors"]:
        yield attempt(
            f"{CHECK}: pgvector", lambda: f"version {server.keep_vectors(schema)} may be built in {schema}"
        )


def _version(check: str, facts: ServerFacts) -> Finding:
    said = f"PostgreSQL ({facts.where}) answers {facts.user!r}: version {facts.version}"
    if facts.major < OLDEST:
        return Finding(check, "warn", said, f"Upgrade it: {OLDEST} and newer are looked after; tested is 18.")
    return Finding(check, "ok", said)


def _disk(server: Examined) -> Finding:
    """Its free space where that can be known, and whether something can be written, which tells the rest."""
    check = f"{CHECK}: disk"
    try:
        server.write()
    except WellheadError as error:
        return failed(check, error)
    free = server.free_bytes()
    if free is None:
        return Finding(check, "ok", f"takes {TRIED_BYTES // 2**20} MiB; how much is free there is not told")
    said = f"{free / 2**30:,.1f} GiB free for its data"
    if free < _TOO_LITTLE:
        return Finding(check, "fail", said, "Free some space: it will soon take no publication.")
    return Finding(
        check, "warn" if free < _LITTLE else "ok", said, "Free some space soon." if free < _LITTLE else ""
    )


def _kept(server: Examined, schema: str, trial: Trial) -> str:
    if server.keep(schema, trial):
        return f"{trial.rights} on {schema}.{trial.table} are there"
    return f"may make {schema}.{trial.table}, with its first use"


def _readable(server: Examined, relation: Relation) -> str:
    server.read(relation)
    return f"{relation.shown} may be read"
