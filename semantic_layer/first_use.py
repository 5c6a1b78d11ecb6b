"""Modules that are loaded when something of them is first used, so that a command's help costs only what it shows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


def import_lightly(name: str, packages: Collection[str]) -> ModuleType:
    """The module `name`, with whatever modules of `packages` it imports loaded at their first use.

    `from package import module` costs nothing until `module.something` is read; `from package.module import
    something` reads it at once. Use it before threads begin: two of them must not load one module together.
    """
    finder = _Finder(name, packages)
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(name)
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds modules as the import system does, and hands all but packages and `name` itself to a lazy loader."""

    def __init__(self, name: str, packages: Collection[str]) -> None:
        self._name = name
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self._name or fullname.partition(".")[0] not in self._packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None or spec.submodule_search_locations is not None:
            return None
        spec.loader = LazyLoader(spec.loader)
        return spec
