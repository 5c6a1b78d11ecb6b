"""Costly fixtures that every test folder shares: made once a machine, kept between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexes.embedder import OnnxEmbedder, open_embedder
from indexes.embedder_model import DEFAULT_MODEL


@pytest.fixture(scope="session")
def model_home(request: pytest.FixtureRequest) -> Path:
    """A home whose models/ holds the default model, exported once a machine (link its models/ into others)."""
    assert request.config.cache is not None
    home: Path = request.config.cache.mkdir("home")
    open_embedder(home, DEFAULT_MODEL)
    return home


@pytest.fixture(scope="session")
def embedder(model_home: Path) -> OnnxEmbedder:
    """The default model at this machine's best precision, without a cache."""
    return open_embedder(model_home, DEFAULT_MODEL)
