"""The full JSON Schema of an answer, which `tools/list` is too small for; agents read it as a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}

_SOURCE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "product": _TEXT,
        "generation": {"type": "string", "description": "The sealed build that was read."},
        "freshness": {"enum": ["fresh", "stale", "unknown", "live"]},
        "watermark": {"type": "string", "description": "The newest moment the source speaks of."},
        "sla": {"type": "string", "description": "The latency that the owner promises."},
        "owner": _TEXT,
        "status": _TEXT,
    },
    "required": ["product", "generation", "freshness"],
    "additionalProperties": False,
}

_RECEIPT: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "audit_id": {"type": "string", "description": "Give it to `trace` or `feedback`."},
        "edition": {"type": "integer", "description": "The consistent cut over all products that was read."},
        "cut": {"enum": ["edition", "live"]},
        "as_of": {"type": "string", "format": "date-time"},
        "sources": {"type": "array", "items": _SOURCE},
        "policy": {
            "type": "object",
            "properties": {
                "revision": {"type": "integer"},
                "rows_limited": {"type": "boolean"},
                "columns_limited": {"type": "boolean"},
                "masked": _TEXTS,
            },
            "required": ["revision"],
            "additionalProperties": False,
        },
        "certification": {"type": "object", "additionalProperties": _TEXT},
        "lineage": _TEXTS,
        "sql": _TEXT,
        "cost": {
            "type": "object",
            "properties": {
                "rows": {"type": "integer"},
                "bytes": {"type": "integer"},
                "ms": {"type": "number"},
            },
            "additionalProperties": False,
        },
        "not_checked": {"type": "array", "items": _TEXT, "description": "What nothing vouches for."},
        "notes": _TEXTS,
    },
    "required": ["edition", "policy", "cost"],
    "additionalProperties": False,
}

ANSWER_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Answer",
    "type": "object",
    "properties": {
        "status": {"enum": ["ok", "refused", "failed"]},
        "data": {
            "type": "object",
            "properties": {
                "untrusted": {"type": "string", "description": "How retrieved text is marked."},
                "error": {
                    "type": "object",
                    "properties": {
                        "code": _TEXT,
                        "message": _TEXT,
                        "hint": _TEXT,
                        "rule": _TEXT,
                        "retryable": {"type": "boolean"},
                    },
                    "required": ["code", "message", "retryable"],
                    "additionalProperties": False,
                },
            },
        },
        "page": {
            "type": "object",
            "properties": {"returned": {"type": "integer"}, "next_cursor": _TEXT},
            "required": ["returned"],
            "additionalProperties": False,
        },
        "receipt": _RECEIPT,
    },
    "required": ["status", "data", "receipt"],
    "additionalProperties": False,
}
