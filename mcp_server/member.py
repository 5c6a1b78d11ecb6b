"""One of several serving processes: its share of the limits, its sockets, and its tie to the one that started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from dataclasses import asdict, dataclass, replace

from mcp_server.settings import ServingSettings


@dataclass(frozen=True)
class Member:
    """Which of how many processes this is, and the file descriptors of its bound sockets."""

    number: int
    of: int
    descriptors: tuple[int, ...]
    turns: str = ""
    """The file where each says how many turns it holds."""

    @staticmethod
    def from_form(form: str) -> Member:
        """The reverse of `to_form`."""
        given = json.loads(form)
        return Member(int(given["number"]), int(given["of"]), tuple(given["descriptors"]), str(given["turns"]))

    def to_form(self) -> str:
        """What the process that starts it writes on its command line."""
        return json.dumps(asdict(self))

    def share(self, settings: ServingSettings) -> ServingSettings:
        """The settings of one process: together they run and hold what the server may. One of them shows metrics."""
        return replace(
            settings,
            concurrent_calls=self.part(settings.concurrent_calls),
            processes=self.of,
            process=self.number,
            turns=self.turns,
            waiting_calls=self.part(settings.waiting_calls),
            metrics=settings.metrics if self.number == 0 else "",
            worker_command=(),
        )

    def part(self, whole: int) -> int:
        """What each process gets of something; nobody gets nothing of it."""
        return -(-whole // self.of)

    def sockets(self) -> list[socket.socket]:
        """What it listens on."""
        return [socket.socket(fileno=one) for one in self.descriptors]

    def end_with_parent(self) -> None:
        """Stop in order once the process that started this one is gone, however it went: its end of the pipe closes."""
        threading.Thread(target=_stop_at_end_of_input, name="parent", daemon=True).start()

    def say_ready(self) -> None:
        """Tell the process that started this one that it serves."""
        sys.stdout.write("ready\n")
        sys.stdout.flush()


def _stop_at_end_of_input() -> None:
    while os.read(0, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
