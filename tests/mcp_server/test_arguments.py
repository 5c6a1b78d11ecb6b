"""Closed arguments: a misspelt or impossible argument is one line that says what to change."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from mcp_server.arguments import Arguments, input_schema, parse_arguments
from semantic_layer.errors import InvalidArgument, UnknownName


class Example(Arguments):
    question: Annotated[str, Field(min_length=1, max_length=20, description="What to ask.")]
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    mode: Literal["hybrid", "text"] = "hybrid"
    products: list[str] | None = None
    cursor: str | None = None


def test_the_defaults_fill_what_is_not_given() -> None:
    assert parse_arguments(Example, {"question": "x"}) == Example(question="x", limit=10)


def test_a_misspelt_argument_is_an_error_with_the_near_name() -> None:
    with pytest.raises(UnknownName) as error:
        parse_arguments(Example, {"question": "x", "limt": 5})
    assert "'limt'" in error.value.message
    assert "'limit'" in error.value.hint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "'question' is required"),
        ({"question": ""}, "'question'"),
        ({"question": "x", "limit": 51}, "less than or equal to 50"),
        ({"question": "x", "limit": 0}, "greater than or equal to 1"),
        ({"question": "x", "mode": "magic"}, "'hybrid' or 'text'"),
        ({"question": "x", "products": "one"}, "'products'"),
        ({"question": "x" * 5_000}, "at most 20"),
        (None, "required"),
    ],
)
def test_an_impossible_value_is_one_short_line_without_links(given: dict[str, object] | None, said: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse_arguments(Example, given)
    assert said in error.value.message
    assert "\n" not in str(error.value)
    assert "http" not in str(error.value)
    assert len(str(error.value)) < 250


def test_the_schema_is_closed_and_short() -> None:
    assert input_schema(Example) == {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What to ask."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": 10},
            "mode": {"enum": ["hybrid", "text"]},
            "products": {"type": "array", "items": {"type": "string"}},
            "cursor": {"type": "string"},
        },
        "required": ["question"],
        "additionalProperties": False,
    }
