"""A client's connection where only what uvicorn itself needs is installed: HTTP/1.1 in Python."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mcp_server.connection import Patience


class PatientH11(H11Protocol):
    """uvicorn's protocol with the timers of Patience."""

    patience: Patience

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.patience = Patience(self.loop, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.patience.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.patience.await_request()
        else:
            self.patience.request_arrived()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience.await_reader()

    def resume_writing(self) -> None:
        self.patience.reader_is_back()
        super().resume_writing()
