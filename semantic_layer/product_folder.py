"""One product's folder with everything its files say: contract, envelope, semantics, policy."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semantic_layer.contract import read_contract
from semantic_layer.errors import InvalidWorkspace
from semantic_layer.findings import Findings
from semantic_layer.lint import approved_texts, lint, text_fingerprint
from semantic_layer.metric import SemanticModel
from semantic_layer.policy import Policy
from semantic_layer.policy_case import PolicyCase, read_policy_cases
from semantic_layer.policy_file import read_policy
from semantic_layer.product import DataProduct
from semantic_layer.product_file import read_envelope
from semantic_layer.semantics import read_semantics
from semantic_layer.yaml_file import Node, read_yaml

CONTRACT = "contract.yaml"
ENVELOPE = "product.yaml"
POLICY = "policy.yaml"
EVALS = "evals.yaml"
SEMANTICS = ("semantics.yaml", "semantics.yml", "semantics.json")
MANIFEST = "target/semantic_manifest.json"
MODELS = ("models", "semantic_models")
_KNOWN = (CONTRACT, ENVELOPE, POLICY, EVALS, *SEMANTICS)

_DESCRIPTIVE = frozenset(
    re.findall(
        r"\w+",
        """title description purpose usage limitations domain owner tags synonyms examples service_levels status
        version contract_version contract_id unit granularity deprecated dimension line folder""",
    )
)
"""Fields of a product that say something to readers and change nothing that is built."""


@dataclass(frozen=True)
class ProductFolder:
    """What was read from one product's folder.

    `files` are the descriptor files that a generation seals, by their name relative to the folder: all but the
    policy, which never travels with data. `texts` is the fingerprint of what agents will be told.
    """

    product: DataProduct
    semantics: SemanticModel | None
    policy: Policy | None
    evals_path: Path | None
    files: Mapping[str, Path]
    texts: str
    policy_cases: tuple[PolicyCase, ...] = ()


def read_product_folder(
    folder: Path, *, name: str, shown_as: str, findings: Findings, with_policy: bool = True
) -> ProductFolder | None:
    """Everything one product's folder says; mistakes are added to `findings`. None without a readable contract, and
    nothing but the contract where that declares no dataset.

    `shown_as` is how problems name the folder.
    """
    reader = _Reader(folder, shown_as, findings)
    reader.note_strays()
    contract = reader.node(CONTRACT)
    if contract is None:
        return None
    product = read_contract(contract, name=name, folder=folder, findings=findings)
    if not product.datasets:  # a mistake that was noted: all else would only be said to name what is not there
        return ProductFolder(product, None, None, None, {CONTRACT: folder / CONTRACT}, "")
    envelope = reader.node(ENVELOPE) if (folder / ENVELOPE).is_file() else None
    if envelope is not None:
        product = read_envelope(envelope, product=product, findings=findings)
    described = [contract, *([envelope] if envelope is not None else [])]
    names = semantic_files(folder)
    nodes = [node for file in names if (node := reader.node(file)) is not None]
    semantics = read_semantics(nodes, product=product, findings=findings) if len(nodes) == len(names) else None
    for node in (*described, *nodes):
        lint(node, findings, approved_texts(contract))
    unread = semantics is None and bool(names)
    policy, cases = reader.policy(product, semantics, unread=unread) if with_policy else (None, ())
    evals = folder / EVALS if (folder / EVALS).is_file() else None
    files = [CONTRACT, *([ENVELOPE] if envelope is not None else []), *names, *([EVALS] if evals else [])]
    return ProductFolder(
        product=product,
        semantics=semantics,
        policy=policy,
        policy_cases=cases,
        evals_path=evals,
        files={file: folder / file for file in files},
        texts=text_fingerprint((*described, *nodes)),
    )


def semantic_files(folder: Path) -> list[str]:
    """The files that say what a product's numbers mean: ours first, else dbt's manifest, else dbt's models."""
    own = [name for name in SEMANTICS if (folder / name).is_file()]
    if own:
        return own
    if (folder / MANIFEST).is_file():
        return [MANIFEST]
    return sorted(
        path.relative_to(folder).as_posix()
        for models in MODELS
        for suffix in ("yml", "yaml")
        for path in (folder / models).rglob(f"*.{suffix}")
    )


@dataclass
class _Reader:
    folder: Path
    shown_as: str
    findings: Findings

    def node(self, name: str) -> Node | None:
        try:
            return read_yaml(self.folder / name, shown_as=f"{self.shown_as}/{name}")
        except InvalidWorkspace as invalid:
            self.findings.problems.extend(invalid.problems)
            return None

    def policy(
        self, product: DataProduct, semantics: SemanticModel | None, *, unread: bool
    ) -> tuple[Policy | None, tuple[PolicyCase, ...]]:
        if not (self.folder / POLICY).is_file():
            place = Node(f"{self.shown_as}/{POLICY}", 1, None)
            self.findings.warnings.append(place.problem("there is no policy: nobody may see this product."))
            return None, ()
        node = self.node(POLICY)
        if node is None:
            return None, ()
        metrics = [metric.name for metric in semantics.metrics] if semantics else None if unread else []
        policy = read_policy(node, product=product, metrics=metrics, findings=self.findings)
        return policy, read_policy_cases(node, product=product, metrics=metrics, findings=self.findings)

    def note_strays(self) -> None:
        """Note YAML files that nothing reads and whose name is nearly one that is (`polcy.yaml`)."""
        for path in sorted(self.folder.glob("*.y*ml")):
            near = difflib.get_close_matches(path.name, _KNOWN, n=1, cutoff=0.85)
            if path.name not in _KNOWN and near:
                place = Node(f"{self.shown_as}/{path.name}", 1, None)
                suggestion = f"Did you mean {near[0]}?"
                self.findings.problems.append(place.problem("nothing reads this file.", suggestion))


def contract_fingerprint(folder: ProductFolder) -> str:
    """SHA-256 of what the contract says about the data that is built; descriptions and owners do not change it."""
    form = _meaning(dataclasses.asdict(folder.product))
    return hashlib.sha256(json.dumps(form, sort_keys=True, default=str).encode()).hexdigest()


def _meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _meaning(one) for key, one in value.items() if key not in _DESCRIPTIVE}
    if isinstance(value, (list, tuple)):
        return [_meaning(one) for one in value]
    return sorted(map(str, value)) if isinstance(value, frozenset) else value
