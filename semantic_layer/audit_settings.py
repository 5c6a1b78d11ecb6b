"""`audit:` of wellhead.yaml: where the heads of the audit chain are anchored, and what a failing log means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from semantic_layer.section import Section

OnFailure = Literal["refuse", "serve"]
POSTGRES = "postgres"
AUDIT_KEYS = ("anchor", "on_failure")


@dataclass(frozen=True)
class AuditSettings:
    """`anchor` is a folder for the signed heads (empty: `anchors` in the home), or `postgres`.

    `on_failure` says what happens to a call that cannot be recorded: it is refused, or served and marked so.
    """

    anchor: str = ""
    on_failure: OnFailure = "refuse"

    def below(self, root: Path) -> AuditSettings:
        """The settings with a relative folder taken from the workspace's."""
        return self if self.anchor in ("", POSTGRES) else replace(self, anchor=str(root / self.anchor))


def read_audit(section: Section) -> AuditSettings:
    """The section's settings; mistakes are noted."""
    default = AuditSettings()
    return AuditSettings(
        anchor=section.text("anchor", default.anchor),
        on_failure=section.choice("on_failure", get_args(OnFailure), default.on_failure),
    )
