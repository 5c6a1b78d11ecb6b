"""The workspace's embedder, opened at most once and only when a product needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from indexes.device import Device
from indexes.embedder import OnnxEmbedder, open_embedder, open_identified
from indexes.embedding_cache import EmbeddingCache
from indexes.ports import Embedder, Vectors
from semantic_layer.settings import EmbeddingSettings


class _CountingCache(EmbeddingCache):
    """A cache that counts the vectors it did not know."""

    computed = 0

    def put(self, identity: Mapping[str, str], keys: Sequence[str], vectors: Vectors) -> None:
        super().put(identity, keys, vectors)
        self.computed += len(keys)


class SharedEmbedder:
    """One embedder for all products of a run, with the home's cache of vectors. Close it at the end."""

    def __init__(self, home: Path, settings: EmbeddingSettings, device: Device) -> None:
        self._home = home
        self._settings = settings
        self._device: Device = device
        self._cache = _CountingCache(home / "cache" / "embeddings")
        self._embedder: OnnxEmbedder | None = None

    @property
    def computed(self) -> int:
        """How many vectors were computed so far because the cache did not know them."""
        return self._cache.computed

    def get(self) -> OnnxEmbedder:
        """The embedder that the workspace's settings name; exported on first use, which takes a while."""
        if self._embedder is None:
            self._embedder = open_embedder(
                self._home,
                self._settings.model,
                self._settings.precision,
                device=self._device,
                cache=self._cache,
            )
        return self._embedder

    def open(self, identity: Mapping[str, str]) -> Embedder:
        """The embedder that a sealed generation was made with; ours where it is the same."""
        if self._embedder is not None and dict(self._embedder.identity) == dict(identity):
            return self._embedder
        return open_identified(self._home, identity)

    def close(self) -> None:
        """End its worker and close the cache."""
        if self._embedder is not None:
            self._embedder.close()
        self._cache.close()
