"""A mask as an SQL expression, showing exactly what `Mask.apply` shows."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from semantic_layer.mask import HASH_CHARACTERS, Mask
from semantic_layer.policy import Masking
from semantic_layer.predicate import FALSE
from semantic_layer.product import Column, ColumnType
from semantic_layer.sql.build import cast, is_null, named
from semantic_layer.sql.predicate import Parameters, predicate_sql

HIDDEN = "•••"
REDACTED = "[redacted]"
_BLOCK_BYTES = 64


def masked(column: Column, masking: Masking, columns: Mapping[str, Column], parameters: Parameters) -> exp.Expr:
    """The column under its mask, as text; NULL stays NULL. Where `unless` holds, the value's own text is shown."""
    text = _text(column)
    shown = _hidden(masking.mask, text, parameters)
    whens = [exp.If(this=is_null(named(column.name)), true=cast(exp.Null(), "TEXT"))]
    if masking.unless != FALSE:
        unless = predicate_sql(masking.unless, columns, parameters)
        whens.append(exp.If(this=exp.Paren(this=unless), true=text.copy()))
    return exp.Case(ifs=whens, default=shown)


def _hidden(mask: Mask, text: exp.Expr, parameters: Parameters) -> exp.Expr:
    match mask.kind:
        case "null":
            return cast(exp.Null(), "TEXT")
        case "hash":
            return _keyed_hash(mask.key, text, parameters)
        case "last4":
            tail = exp.Anonymous(this="RIGHT", expressions=[text.copy(), exp.Literal.number(4)])
            longer = exp.GT(this=_function("LENGTH", text), expression=exp.Literal.number(4))
            ends = exp.DPipe(this=exp.Literal.string(HIDDEN), expression=tail)
            return exp.Case(ifs=[exp.If(this=longer, true=ends)], default=exp.Literal.string(HIDDEN))
        case "redact":
            return exp.Literal.string(REDACTED)
        case "constant":
            value = mask.constant
            return cast(exp.Null(), "TEXT") if value is None else cast(parameters.add(str(value)), "TEXT")


def _keyed_hash(key: bytes, text: exp.Expr, parameters: Parameters) -> exp.Expr:
    """HMAC-SHA256 (RFC 2104) of the text, its first hex digits: the engine has SHA-256, and the two pads are bound."""
    if not key:
        raise ValueError("a hash mask needs the workspace's key")
    block = key.ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    digest = _function("SHA256", exp.DPipe(this=_bytes(inner, parameters), expression=_function("ENCODE", text)))
    digest = _function("SHA256", exp.DPipe(this=_bytes(outer, parameters), expression=_function("UNHEX", digest)))
    return exp.Anonymous(this="LEFT", expressions=[digest, exp.Literal.number(HASH_CHARACTERS)])


def _bytes(value: bytes, parameters: Parameters) -> exp.Expr:
    return _function("UNHEX", cast(parameters.add(value.hex()), "TEXT"))


def _function(name: str, argument: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[argument.copy()])


def _text(column: Column) -> exp.Expr:
    """The value as Python's `str` writes it, so that a hash is the same through every door."""
    value = named(column.name)
    match column.type:
        case ColumnType.BOOLEAN:
            return exp.Case(ifs=[exp.If(this=value, true=exp.Literal.string("True"))],
                            default=exp.Literal.string("False"))  # fmt: skip
        case ColumnType.TIMESTAMP:
            return exp.DPipe(this=_moment(value, "%Y-%m-%d %H:%M:%S"), expression=exp.Literal.string("+00:00"))
        case ColumnType.TIME:
            return _moment(
                exp.Add(this=exp.cast(exp.Literal.string("2000-01-01"), "DATE"), expression=value), "%H:%M:%S"
            )
        case _:
            return cast(value, "TEXT")


def _moment(value: exp.Expr, form: str) -> exp.Expr:
    """A moment's text, with six digits of a second where it has a fraction."""
    fraction = exp.Mod(this=_function("MICROSECOND", value), expression=exp.Literal.number(1_000_000))
    plain, long = (
        exp.Anonymous(this="STRFTIME", expressions=[value.copy(), exp.Literal.string(text)])
        for text in (form, f"{form}.%f")
    )
    whole = exp.EQ(this=exp.Paren(this=fraction), expression=exp.Literal.number(0))
    return exp.Case(ifs=[exp.If(this=whole, true=plain)], default=long)
