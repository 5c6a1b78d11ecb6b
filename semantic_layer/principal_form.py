"""A principal in JSON, as `--as` takes it on the command line."""

from __future__ import annotations

from semantic_layer.errors import InvalidArgument, InvalidWorkspace, Problem
from semantic_layer.principal import Principal
from semantic_layer.settings import read_principal
from semantic_layer.yaml_file import parse_yaml


def principal_of_form(text: str, subject: str = "cli") -> Principal:
    """The principal that `--as` names. Raises InvalidArgument with every mistake in it."""
    problems: list[Problem] = []
    try:
        found = read_principal(parse_yaml(text, shown_as="--as"), problems=problems, subject=subject)
    except InvalidWorkspace as invalid:
        problems.extend(invalid.problems)
        found = Principal(subject)
    if problems:
        said = " ".join(f"{problem.message} {problem.suggestion}".strip() for problem in problems)
        raise InvalidArgument(
            f"--as: {said}", hint="""Write '{"roles": ["analyst"], "attributes": {"regions": ["EU"]}}'."""
        )
    return found
