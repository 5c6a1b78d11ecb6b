"""Who is let in: signed tokens of this workspace for this server, and nobody else."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from mcp_server.identity import Bearer, TokenAuthority, caller_of
from mcp_server.keys import token_keys
from semantic_layer.errors import InvalidArgument, Unauthenticated
from semantic_layer.principal import ANONYMOUS, Principal

URL = "http://127.0.0.1:8420/mcp"
ANALYST = Principal(
    "alice",
    frozenset({"analyst"}),
    {"regions": ("EU", "US"), "level": 3},
    client="agent",
    scopes=frozenset({"read"}),
    tenant="acme",
    purposes=frozenset({"fraud"}),
)


@pytest.fixture
def authority(tmp_path: Path) -> TokenAuthority:
    return TokenAuthority(token_keys(tmp_path), URL)


def altered(token: str, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
    """The token with parts of its header or claims replaced and its signature kept."""
    parts = token.split(".")
    for place, changes in ((0, header), (1, claims)):
        if changes:
            old = json.loads(base64.urlsafe_b64decode(parts[place] + "=="))
            parts[place] = base64.urlsafe_b64encode(json.dumps({**old, **changes}).encode()).decode().rstrip("=")
    return ".".join(parts)


def test_a_token_brings_back_the_principal_it_was_issued_for(authority: TokenAuthority) -> None:
    assert authority.verify(authority.issue(ANALYST)).principal == ANALYST


def test_the_sdk_sees_the_same_principal_and_never_the_token(authority: TokenAuthority) -> None:
    bearer = Bearer(authority.verify(authority.issue(ANALYST)), URL)
    access = bearer.access_token
    assert caller_of({"user": bearer}) == ANALYST
    assert (access.subject, access.client_id, access.scopes) == (ANALYST.subject, ANALYST.client, ["read"])
    assert access.resource == URL
    assert access.token == ""


def test_without_a_token_the_caller_is_anonymous_with_the_role_public_only() -> None:
    assert caller_of({}) is ANONYMOUS
    assert ANONYMOUS.roles == {"public"}


def test_a_token_for_another_server_is_refused(tmp_path: Path, authority: TokenAuthority) -> None:
    elsewhere = TokenAuthority(token_keys(tmp_path), "https://other.example/mcp")
    with pytest.raises(Unauthenticated, match="not issued for"):
        authority.verify(elsewhere.issue(ANALYST))


def test_a_token_of_another_workspace_is_refused(tmp_path: Path, authority: TokenAuthority) -> None:
    stranger = TokenAuthority(token_keys(tmp_path / "other"), URL)
    with pytest.raises(Unauthenticated, match="not signed by a key of this workspace"):
        authority.verify(stranger.issue(ANALYST))


def test_an_expired_token_is_refused(authority: TokenAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = time.time() - 7_200
    with monkeypatch.context() as patched:
        patched.setattr("mcp_server.identity.time.time", lambda: long_ago)
        token = authority.issue(ANALYST, lifetime_seconds=60)
    with pytest.raises(Unauthenticated, match="expired"):
        authority.verify(token)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"kid": "../../../etc/passwd"},
        {"kid": "20200101T000000-nobody"},
        {"kid": ""},
    ],
)
def test_a_changed_header_is_refused(authority: TokenAuthority, header: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        authority.verify(altered(authority.issue(ANALYST), header=header))


def test_changed_claims_are_refused(authority: TokenAuthority) -> None:
    with pytest.raises(Unauthenticated):
        authority.verify(altered(authority.issue(ANALYST), claims={"roles": ["admin"]}))


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    tmp_path: Path, authority: TokenAuthority
) -> None:
    authority.issue(ANALYST)
    key = token_keys(tmp_path).newest()
    claims = {"sub": "mallory", "aud": URL, "iss": "wellhead-development", "iat": 1, "exp": 2**31}
    forged = jwt.encode(claims, b"k" * 32, algorithm="HS256", headers={"kid": key.id})
    with pytest.raises(Unauthenticated):
        authority.verify(forged)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é" * 10, "x" * 100_000, "..", "\x00.\x00.\x00"])
def test_what_is_no_token_is_refused_without_being_repeated(authority: TokenAuthority, text: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        authority.verify(text)
    assert len(str(refusal.value)) < 200


def test_keys_rotate_with_overlap_and_a_removed_key_no_longer_verifies(tmp_path: Path) -> None:
    keys = token_keys(tmp_path)
    authority = TokenAuthority(keys, URL)
    old = authority.issue(ANALYST)
    first = keys.newest()
    keys.rotate()
    new = authority.issue(ANALYST)
    assert authority.verify(old).principal == authority.verify(new).principal == ANALYST
    (keys.folder / f"{first.id}.key").unlink()
    reopened = TokenAuthority(token_keys(tmp_path), URL)
    assert reopened.verify(new).principal == ANALYST
    with pytest.raises(Unauthenticated):
        reopened.verify(old)


def test_a_server_that_runs_already_accepts_tokens_of_a_key_made_after_its_start(tmp_path: Path) -> None:
    running = TokenAuthority(token_keys(tmp_path), URL)
    token = TokenAuthority(token_keys(tmp_path), URL).issue(ANALYST)
    assert running.verify(token).principal == ANALYST


def test_only_the_owner_can_read_the_keys(tmp_path: Path) -> None:
    key = token_keys(tmp_path).newest()
    path = tmp_path / "keys" / "tokens" / f"{key.id}.key"
    assert path.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in repr(key).encode()


@pytest.mark.parametrize(
    "principal",
    [Principal(""), Principal("anonymous"), Principal("a", scopes=frozenset({"everything"}))],
)
def test_no_token_is_issued_for_a_subject_or_scope_that_cannot_be(
    authority: TokenAuthority, principal: Principal
) -> None:
    with pytest.raises(InvalidArgument):
        authority.issue(principal)
