"""Who asks in these tests, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcp_server.answer import Answer
from mcp_server.service import Service
from mcp_server.session import Caller
from semantic_layer.principal import ANONYMOUS, Principal

READ = frozenset({"read"})
EU = Principal("eva", frozenset({"analyst"}), {"regions": ("EU",)}, scopes=READ)
US = Principal("uma", frozenset({"analyst"}), {"regions": ("US",)}, scopes=READ)
NOWHERE = Principal("nora", frozenset({"analyst"}), scopes=READ)
OPERATOR = Principal("olga", frozenset({"operator"}), scopes=frozenset({"read", "operate"}))
PUBLIC = ANONYMOUS


@dataclass(frozen=True)
class Asker:
    """Asks a service's tools in process."""

    service: Service

    def __call__(self, principal: Principal, tool: str, /, **arguments: Any) -> Answer:
        return self.service.call(Caller(principal, "cli", "test"), tool, arguments)

    def ok(self, principal: Principal, tool: str, /, **arguments: Any) -> Answer:
        """The answer, which must not be a refusal or failure."""
        answer = self(principal, tool, **arguments)
        assert answer.error is None, answer.error
        return answer
