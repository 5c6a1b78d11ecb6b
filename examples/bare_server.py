"""The SDK's own smallest server, one tool and nothing else: what a governed answer's cost is measured against."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from mcp.server import MCPServer


def main() -> None:
    """Serve on the port that the command line names: `python -m examples.bare_server 8421`."""
    server: Any = MCPServer("bare", version="1")

    def status() -> dict[str, Any]:
        """Say that the server is up."""
        return {"status": "ok", "data": {"edition": 1}}

    server.tool()(status)
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
