"""What an issuer's token says of its bearer, read as a Principal by the mapping in `wellhead.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from semantic_layer.errors import Unauthenticated
from semantic_layer.identity_settings import SCOPES, IssuerSettings, Paths
from semantic_layer.principal import ANONYMOUS, PUBLIC, AttributeValue, Principal

Claims = Mapping[str, Any]
MAX_SUBJECT_CHARS = 255


def principal_of_claims(claims: Claims, issuer: IssuerSettings) -> Principal:
    """The principal that verified claims name. A claim that is not there leaves its part empty, never wider.

    Without roles the caller has only `public`. Raises Unauthenticated where the subject is missing or reserved, or
    a claim has a form that cannot be mapped.
    """
    mapping = issuer.claims
    subject = _text(claims, mapping.subject)
    if not subject or len(subject) > MAX_SUBJECT_CHARS or subject == ANONYMOUS.subject:
        raise Unauthenticated("the token does not name a subject that can be served.")
    roles = _translated(_words(claims, mapping.roles), issuer.roles)
    scopes = _translated(_words(claims, mapping.scopes), issuer.scopes) & set(SCOPES)
    return Principal(
        subject=f"{issuer.name}:{subject}" if issuer.name else subject,
        roles=roles or frozenset({PUBLIC}),
        attributes=_attributes(claims, mapping.attributes),
        client=_text(claims, mapping.client)[:MAX_SUBJECT_CHARS],
        scopes=scopes,
        tenant=_text(claims, mapping.tenant),
        purposes=_words(claims, mapping.purposes),
    )


def claim_at(claims: Claims, paths: Paths) -> Any:
    """The first of these claims that is there: by its whole name, else as `outer.inner`. None where none is."""
    for path in paths:
        if path in claims:
            return claims[path]
        found: Any = claims
        for step in path.split("."):
            found = cast("Mapping[str, Any]", found).get(step) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


def _text(claims: Claims, paths: Paths) -> str:
    value = claim_at(claims, paths)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unmapped(paths)
    return value


def _words(claims: Claims, paths: Paths) -> frozenset[str]:
    """A claim of several words: a list of texts, or one text with spaces (RFC 6749, 3.3)."""
    value = claim_at(claims, paths)
    if value is None:
        return frozenset()
    words = cast("list[Any]", value) if isinstance(value, list) else str(value).split()
    if not isinstance(value, (str, list)) or not all(isinstance(word, str) for word in words):
        raise _unmapped(paths)
    return frozenset(word for word in words if word)


def _translated(words: frozenset[str], dictionary: Mapping[str, str]) -> frozenset[str]:
    """Their words in ours; without a dictionary they are ours already."""
    return frozenset(dictionary[word] for word in words if word in dictionary) if dictionary else words


def _attributes(claims: Claims, mapping: Mapping[str, Paths]) -> dict[str, AttributeValue]:
    held: dict[str, AttributeValue] = {}
    for name, paths in mapping.items():
        value = claim_at(claims, paths)
        if value is None:
            continue
        items = cast("list[Any]", value if isinstance(value, list) else [value])
        if not all(isinstance(item, (str, int, bool)) for item in items):
            raise _unmapped(paths)
        held[name] = tuple(items) if isinstance(value, list) else items[0]
    return held


def _unmapped(paths: Paths) -> Unauthenticated:
    return Unauthenticated(
        f"the token's claim {' or '.join(paths)} has a form that cannot be read.",
        hint="Map another claim in `identity.issuers` of wellhead.yaml.",
    )
