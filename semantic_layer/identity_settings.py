"""`identity:` of wellhead.yaml: which issuers' tokens are accepted, and how their claims name a principal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from semantic_layer.environment import variables_in
from semantic_layer.principal import RESERVED_ATTRIBUTES
from semantic_layer.section import Section

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that may be allowed: asymmetric ones only, so that a public key is never taken for a secret."""
SCOPES = ("read", "sql", "operate", "request")
TOKEN_HOURS = 8
"""How long a development token holds where nothing else is said."""
"""What a token may open: the tools that read, `query_sql`, the operators' tools, `request_access`."""
IDENTITY_KEYS = ("issuers", "development")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ISSUER = (
    "issuer", "name", "audience", "jwks", "algorithms", "clock_skew_seconds", "claims", "roles", "scopes",
    "introspection",
)  # fmt: skip
_CLAIMS = ("subject", "roles", "tenant", "client", "scopes", "purposes", "attributes")

Paths = tuple[str, ...]
"""Where a value stands among a token's claims: the first of these that is there. `a.b` also means b within a."""


@dataclass(frozen=True)
class ClaimMapping:
    """Which claims name what of a principal. What is mapped to nothing stays empty."""

    subject: Paths = ("sub",)
    roles: Paths = ("roles",)
    tenant: Paths = ()
    client: Paths = ("client_id", "azp")
    scopes: Paths = ("scope", "scp")
    purposes: Paths = ()
    attributes: Mapping[str, Paths] = field(default_factory=dict[str, Paths])


@dataclass(frozen=True)
class IntrospectionSettings:
    """Where opaque tokens are asked about (RFC 7662). `client_secret` is a `${NAME}`, filled in when used."""

    url: str
    client_id: str
    client_secret: str
    cache_seconds: int = 10


@dataclass(frozen=True)
class IssuerSettings:
    """One authorization server whose tokens are accepted.

    `name`, where given, goes before its subjects (`name:sub`), so that two issuers never share one. `audiences`
    empty means this server's own MCP URL. `jwks` empty means the one that its metadata names. `roles` and
    `scopes` translate its words into ours; where given, other words count for nothing.
    """

    issuer: str
    name: str = ""
    audiences: tuple[str, ...] = ()
    jwks: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    clock_skew_seconds: int = 30
    claims: ClaimMapping = ClaimMapping()
    roles: Mapping[str, str] = field(default_factory=dict[str, str])
    scopes: Mapping[str, str] = field(default_factory=dict[str, str])
    introspection: IntrospectionSettings | None = None


@dataclass(frozen=True)
class IdentitySettings:
    """Whose tokens are accepted. `development` tokens (`wellhead token`) are, where no issuer is set."""

    issuers: tuple[IssuerSettings, ...] = ()
    development: bool = True


def read_identity(section: Section) -> IdentitySettings:
    """The settings of `identity:` (keys IDENTITY_KEYS); mistakes are noted in the section."""
    sections = section.sections("issuers", _ISSUER, "an issuer")
    issuers = tuple(_issuer(one) for one in sections)
    development = section.flag("development", not issuers)
    for one, held in zip(sections, issuers, strict=True):
        if not held.name and len(issuers) + development > 1:
            one.wrong("an issuer needs a `name` where there are others.", "It goes before its subjects.")
        if [other.issuer for other in issuers].count(held.issuer) > 1:
            one.wrong(f"the issuer {held.issuer!r} stands twice.", "Remove one.", key="issuer")
    if sum(held.introspection is not None for held in issuers) > 1:
        section.wrong(
            "two issuers have `introspection`.", "A token is never shown to an issuer it is not of: keep one."
        )
    return IdentitySettings(issuers, development)


def _issuer(section: Section) -> IssuerSettings:
    section.required("issuer")
    default = IssuerSettings("")
    algorithms = section.texts("algorithms") or default.algorithms
    for item in section.text_nodes("algorithms"):
        if item.value not in ALGORITHMS:
            section.problems.append(
                item.problem(f"the algorithm {item.value!r} is not allowed.", "Use " + ", ".join(ALGORITHMS) + ".")
            )
    scopes = _words(section, "scopes")
    for theirs, ours in scopes.items():
        if ours not in SCOPES:
            section.wrong(
                f"{theirs!r} cannot mean {ours!r}.", "Our scopes: " + ", ".join(SCOPES) + ".", key="scopes"
            )
    return IssuerSettings(
        issuer=_url(section, "issuer"),
        name=section.text("name"),
        audiences=section.texts("audience"),
        jwks=_url(section, "jwks"),
        algorithms=algorithms,
        clock_skew_seconds=section.integer("clock_skew_seconds", default.clock_skew_seconds, low=0, high=300),
        claims=_claims(section.section("claims", _CLAIMS)),
        roles=_words(section, "roles"),
        scopes=scopes,
        introspection=_introspection(section),
    )


def _introspection(section: Section) -> IntrospectionSettings | None:
    if section.node_of("introspection") is None:
        return None
    held = section.section("introspection", ("url", "client_id", "client_secret", "cache_seconds"))
    held.required("url", "client_id", "client_secret")
    secret = held.text("client_secret")
    if secret and not variables_in(secret):
        held.wrong(
            "`client_secret` holds the secret itself.", 'Write client_secret: "${NAME}".', key="client_secret"
        )
    cache = held.integer("cache_seconds", IntrospectionSettings.cache_seconds, low=0, high=300)
    return IntrospectionSettings(_url(held, "url"), held.text("client_id"), secret, cache)


def _claims(section: Section) -> ClaimMapping:
    default = ClaimMapping()

    def paths(key: str, without: Paths) -> Paths:
        return section.texts(key) or without

    attributes: dict[str, Paths] = {}
    held = section.node_of("attributes")
    if held is not None and held.mapping is None:
        section.wrong("`attributes` must be a mapping.", "Write attributes: {regions: regions}.", key="attributes")
    named = Section(held, held.mapping or (), "`attributes`", section.problems) if held else None
    for name in (held.mapping or {}) if held else ():
        if name in RESERVED_ATTRIBUTES:
            section.wrong(f"no attribute may be called {name!r}.", f"Map `{name}` itself.", key="attributes")
        elif named is not None:
            attributes[name] = named.texts(name)
    return ClaimMapping(
        subject=paths("subject", default.subject),
        roles=paths("roles", default.roles),
        tenant=paths("tenant", default.tenant),
        client=paths("client", default.client),
        scopes=paths("scopes", default.scopes),
        purposes=paths("purposes", default.purposes),
        attributes=attributes,
    )


def _words(section: Section, key: str) -> dict[str, str]:
    """A mapping from their words to ours."""
    node = section.node_of(key)
    if node is None:
        return {}
    found = {name: child.value for name, child in (node.mapping or {}).items() if isinstance(child.value, str)}
    if node.mapping is None or len(found) != len(node.mapping):
        suggestion = f"Write {key}: {{theirs: ours}}."
        section.wrong(f"`{key}` must be a mapping from their words to ours.", suggestion, key=key)
    return found


def _url(section: Section, key: str) -> str:
    """An https URL; plain http only of this machine."""
    text = section.text(key)
    parts = urlsplit(text)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)
    if text and (not safe or not parts.hostname or parts.username or parts.fragment):
        section.wrong(f"`{key}` must be an https URL.", "Plain http is accepted for localhost only.", key=key)
    return text
