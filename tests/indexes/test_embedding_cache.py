"""What a user of the embedding cache sees: vectors whole or absent, the first kept, the forgotten gone."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexes.embedding_cache import EmbeddingCache
from indexes.ports import Vectors
from semantic_layer.errors import EngineUnavailable, NewerFormat

REPOSITORY = Path(__file__).resolve().parents[2]
IDENTITY = {"model": "abc", "precision": "int8"}

WRITER = """
import sys, numpy as np, hashlib
from pathlib import Path
from indexes.embedding_cache import EmbeddingCache
cache, start, rounds = EmbeddingCache(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
for n in range(start, start + rounds):
    keys = [hashlib.sha256(f"{n}-{i}".encode()).hexdigest() for i in range(20)]
    cache.put({"model": "abc", "precision": "int8"}, keys, np.full((20, 384), n, np.float32))
    print(n, flush=True)
"""


def keys_of(*names: object) -> list[str]:
    return [hashlib.sha256(str(name).encode()).hexdigest() for name in names]


def filled(count: int, value: float) -> Vectors:
    return np.full((count, 384), value, np.float32)


def writer(folder: Path, start: int, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, os.fspath(folder), str(start), str(rounds)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.sqlite3")
    return path


def test_the_first_vector_of_a_text_stays(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(IDENTITY, keys_of("a", "b"), filled(2, 1))
    cache.put(IDENTITY, keys_of("b", "c"), filled(2, 2))
    found = EmbeddingCache(tmp_path).get(IDENTITY, keys_of("a", "b", "c", "d"))
    assert [found[key][0] for key in keys_of("a", "b", "c")] == [1, 1, 2]
    assert keys_of("d")[0] not in found


def test_another_identity_shares_nothing(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(IDENTITY, keys_of("a"), filled(1, 1))
    assert cache.get(IDENTITY | {"precision": "fp32"}, keys_of("a")) == {}


def test_forgotten_texts_leave_no_bytes_behind(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(IDENTITY, keys_of("secret", "other"), np.stack([filled(1, 0.123)[0], filled(1, 0.5)[0]]))
    cache.put({"model": "xyz"}, keys_of("secret"), filled(1, 0.123))
    assert cache.forget(keys_of("secret", "absent")) == 2
    assert list(cache.get(IDENTITY, keys_of("secret", "other"))) == keys_of("other")
    traces = [bytes.fromhex(keys_of("secret")[0]), np.full(8, 0.123, np.float32).tobytes()]
    for path in tmp_path.iterdir():
        assert not any(trace in path.read_bytes() for trace in traces), path


def test_a_vector_with_a_flipped_bit_is_absent_and_kept_anew(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(IDENTITY, keys_of("a"), filled(1, 1))
    cache.close()
    with sqlite3.connect(only_file(tmp_path)) as file:
        file.execute("UPDATE vectors SET vector = CAST(x'ff' || substr(vector, 2) AS BLOB)")
    file.close()
    assert cache.get(IDENTITY, keys_of("a")) == {}
    cache.put(IDENTITY, keys_of("a"), filled(1, 2))
    assert cache.get(IDENTITY, keys_of("a"))[keys_of("a")[0]][0] == 2


def test_a_killed_writer_leaves_only_whole_vectors(tmp_path: Path) -> None:
    for kill in range(3):
        process = writer(tmp_path, kill * 1000, 1000)
        assert process.stdout is not None
        last = [process.stdout.readline() for _ in range(3 + kill * 4)][-1]
        process.kill()
        process.communicate()
        found = EmbeddingCache(tmp_path).get(IDENTITY, keys_of(*(f"{int(last)}-{i}" for i in range(20))))
        assert len(found) == 20
        assert all((vector == int(last)).all() for vector in found.values())


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    processes = [writer(tmp_path, start, 30) for start in (0, 100)]
    cache = EmbeddingCache(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: cache.put(IDENTITY, keys_of(f"thread-{n}"), filled(1, n)), range(40)))
    assert [process.wait() for process in processes if process.communicate()] == [0, 0]
    written = [f"{n}-{i}" for start in (0, 100) for n in range(start, start + 30) for i in range(20)]
    assert len(cache.get(IDENTITY, keys_of(*written, *(f"thread-{n}" for n in range(40))))) == 1240


def test_a_damaged_or_newer_file_is_named(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(IDENTITY, keys_of("a"), filled(1, 1))
    cache.close()
    path = only_file(tmp_path)
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(NewerFormat, match="format 99"):
        cache.get(IDENTITY, keys_of("a"))
    path.write_bytes(b"not a database, however long it may be" * 100)
    with pytest.raises(EngineUnavailable, match=path.name):
        EmbeddingCache(tmp_path).get(IDENTITY, keys_of("a"))
