"""A whole new workspace: what is to be written where, and the writing, which never overwrites a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexes.durable import disk_full_named
from ingest.infer.contract import contract_text
from ingest.infer.names import Names
from ingest.infer.policy import ROLE, evals_text, policy_text
from ingest.infer.product import InferredProduct, infer_product
from ingest.infer.semantics import semantics_text
from ingest.infer.yaml_text import comment, one_line
from semantic_layer.errors import InvalidArgument
from semantic_layer.settings import FILE

_IGNORED = ".gitignore"


@dataclass(frozen=True)
class NewWorkspace:
    """What was written: the folder, its files in order, and the products."""

    root: Path
    files: tuple[Path, ...]
    products: tuple[InferredProduct, ...]


def make_workspace(
    root: Path, data: Sequence[Path], *, name: str, example: Mapping[str, str] | None = None
) -> NewWorkspace:
    """Write a workspace over these paths into `root`; `example` are data files to write first, by path.

    Raises InvalidArgument naming a file that stands already (then nothing is written), SourceFailed for data that
    cannot be read, OutOfSpace. What was written before a failure is removed.
    """
    _require_absent(root, [FILE, *(example or {})])
    written: list[Path] = []
    try:
        for place, text in (example or {}).items():
            _write(root / place, text, written)
        names = Names()
        products = tuple(infer_product(path, names) for path in data)
        texts = {FILE: settings_text(name), **_ignoring(root)}
        for product in products:
            texts |= _product_files(product, root, name)
        _require_absent(root, texts)
        for place, text in texts.items():
            _write(root / place, text, written)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return NewWorkspace(root, tuple(written), products)


def settings_text(name: str) -> str:
    """The text of wellhead.yaml."""
    lines = [
        "version: 1",
        f"name: {one_line(name)}",
        comment("Days and months of metrics begin in this time zone, such as Europe/Berlin."),
        "reporting: {time_zone: UTC}",
        comment("Who the command line and a local client (stdio) ask as. Roles are what policy.yaml speaks of."),
        f"cli: {{principal: {{subject: cli, roles: [{ROLE}]}}}}",
        f"stdio: {{principal: {{subject: desktop, roles: [{ROLE}]}}}}",
        comment("Over HTTP every caller needs a token (`wellhead token`)."),
        "server: {host: 127.0.0.1, port: 8420, anonymous: false}",
    ]
    return "\n".join(lines) + "\n"


def _ignoring(root: Path) -> dict[str, str]:
    """Git keeps what people edit, not what is built; a .gitignore that stands is left as it is."""
    return {} if (root / _IGNORED).exists() else {_IGNORED: ".wellhead/\n"}


def _product_files(product: InferredProduct, root: Path, name: str) -> dict[str, str]:
    place = f"products/{product.name}"
    texts = {
        "contract.yaml": contract_text(product, workspace=root, folder=root / place, name=name),
        "policy.yaml": policy_text(product),
        "semantics.yaml": semantics_text(product),
        "evals.yaml": evals_text(product),
    }
    return {f"{place}/{file}": text for file, text in texts.items() if text}


def _require_absent(root: Path, places: Sequence[str] | Mapping[str, str]) -> None:
    for place in places:
        if (root / place).exists():
            raise InvalidArgument(
                f"{root / place} is there already, and init overwrites nothing.",
                hint="Name another folder: wellhead init NEW-FOLDER --data PATH.",
            )


def _write(path: Path, text: str, written: list[Path]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_named(path.parent), path.open("x", encoding="utf-8") as file:
            written.append(path)
            file.write(text)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InvalidArgument(
            f"{path} cannot be written: {error.strerror}.", hint="Name another folder, or mend its permissions."
        ) from error
