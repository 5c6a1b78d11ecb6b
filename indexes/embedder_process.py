"""Talks to the torch side (indexes.embedder_export) in a process of its own; this one never imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from indexes.ports import Vectors
from semantic_layer import errors
from semantic_layer.errors import EngineUnavailable, WellheadError

_ROOT = Path(__file__).resolve().parents[1]
_NO_ANSWER = "nothing was written to its standard error"


def export(model: str, home: Path) -> Path:
    """Export `model` into `home`/models in a process of its own and return its folder (seconds, once).

    Raises InvalidArgument for a model that is unknown or cannot be exported, OutOfSpace, EngineUnavailable.
    """
    command = _command("export", "--model", model, "--home", os.fspath(home))
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    try:
        reply: dict[str, Any] = json.loads(done.stdout)
    except ValueError as cause:
        raise _ended("the embedding model's exporter", done.returncode, done.stderr) from cause
    _raise_error(reply)
    return Path(reply["folder"])


class TorchWorker:
    """sentence-transformers in a process of its own, started at the first call and ended by `close`.

    `device` is torch's name (`cuda`, `cpu`), `precision` is `bf16` or `fp32`.
    """

    def __init__(self, source: Path, *, device: str, precision: str, batch_size: int) -> None:
        options = {"--device": device, "--precision": precision, "--batch-size": str(batch_size)}
        arguments = [part for option in options.items() for part in option]
        self._command = _command("serve", "--source", os.fspath(source), *arguments)
        self.precision = precision
        self._name = f"the embedding worker on {device}"
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, in order. Raises EngineUnavailable naming why the worker does not answer."""
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(list(texts)).encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError as cause:
                raise self._lost(process) from cause
            rows, dimension = self._reply(process)["shape"]
            raw = process.stdout.read(rows * dimension * 4)
            if len(raw) < rows * dimension * 4:
                raise self._lost(process)
        return np.frombuffer(raw, "<f4").reshape(rows, dimension)

    def close(self) -> None:
        """End the worker; it is started again when it is next asked."""
        if self._process is not None and self._complaints is not None:
            self._process.communicate()
            self._process = None
            self._complaints.close()

    def _start(self) -> subprocess.Popen[bytes]:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            self._command,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        self._reply(self._process)
        return self._process

    def _reply(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise self._lost(process)
        reply: dict[str, Any] = json.loads(line)
        _raise_error(reply)
        return reply

    def _lost(self, process: subprocess.Popen[bytes]) -> EngineUnavailable:
        assert self._complaints is not None
        code = process.wait()
        self._complaints.seek(0)
        complaints = self._complaints.read().decode(errors="replace")
        self.close()
        return _ended(self._name, code, complaints)


def _command(*arguments: str) -> list[str]:
    # -P: a file named torch.py in the folder where the user stands is not ours to import.
    return [sys.executable, "-P", "-m", "indexes.embedder_export", *arguments]


def _environment() -> Mapping[str, str]:
    paths = [os.fspath(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "true"}


def _raise_error(reply: Mapping[str, Any]) -> None:
    """Raise again here what the other process raised: {"error": {"class", "message", "hint"}}."""
    if problem := reply.get("error"):
        kind: type[WellheadError] = getattr(errors, problem["class"])
        raise kind(problem["message"], hint=problem["hint"])


def _ended(name: str, code: int | None, complaints: str) -> EngineUnavailable:
    lines = [line for line in complaints.splitlines() if line.strip()]
    return EngineUnavailable(
        f"{name} ended with exit code {code}: {lines[-1] if lines else _NO_ANSWER}.",
        hint="Run `wellhead doctor`; torch and sentence-transformers must be importable.",
    )
