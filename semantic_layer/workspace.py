"""Loads a workspace: `wellhead.yaml` and every product's folder, all mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semantic_layer.certification import lapsed
from semantic_layer.errors import InvalidWorkspace, Problem
from semantic_layer.findings import Findings
from semantic_layer.policy_case import failures
from semantic_layer.product_folder import EVALS, POLICY, ProductFolder, read_product_folder
from semantic_layer.references import check_references
from semantic_layer.semantics.checks import check_across
from semantic_layer.settings import FILE, WorkspaceSettings, read_settings
from semantic_layer.suite import suite_problems
from semantic_layer.yaml_file import read_yaml

_PRODUCT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Workspace:
    """A team's folder as it was read: settings, products by name, and `home`, where what is built lies.

    `warnings` are findings that do not stop anything; `wellhead validate` shows them.
    """

    root: Path
    settings: WorkspaceSettings
    products: Mapping[str, ProductFolder]
    home: Path
    warnings: tuple[Problem, ...] = ()


def load_workspace(
    root: Path, *, settings: WorkspaceSettings | None = None, policy_cases_hold: bool = True
) -> Workspace:
    """The workspace in this folder. `settings` replace those of the file, where a door has laid others over them.

    Raises InvalidWorkspace with every mistake of every file. A policy whose own cases fail is a mistake too, unless
    `policy_cases_hold` is not asked for.
    """
    findings = Findings()
    settings = settings or _settings(root, findings)
    products = _products(root, settings, findings)
    if policy_cases_hold:
        _check_policy_cases(products, settings, findings)
    if findings.problems:
        raise InvalidWorkspace(findings.problems, root=root)
    warnings = tuple(sorted(set(findings.warnings)))
    return Workspace(root, settings, products, (root / settings.home).resolve(), warnings)


def _settings(root: Path, findings: Findings) -> WorkspaceSettings:
    if not (root / FILE).is_file():
        problem = Problem(FILE, 1, f"no {FILE} in {root}.", "Run `wellhead init`, or name the workspace's folder.")
        raise InvalidWorkspace([problem], root=root)
    try:
        return read_settings(read_yaml(root / FILE, shown_as=FILE), findings.problems)
    except InvalidWorkspace as invalid:
        findings.problems.extend(invalid.problems)
        return WorkspaceSettings(name=root.name)


def _products(root: Path, settings: WorkspaceSettings, findings: Findings) -> dict[str, ProductFolder]:
    base = root / settings.products
    if not base.is_dir():
        message = f"the folder of products, {settings.products}, is not there."
        findings.problems.append(Problem(FILE, 1, message, "Make it, or set `products:`."))
        return {}
    found: dict[str, ProductFolder] = {}
    for folder in sorted(
        path for path in base.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))
    ):
        shown = f"{settings.products}/{folder.name}"
        if not _PRODUCT_NAME.fullmatch(folder.name):
            message = f"{folder.name!r} cannot name a product."
            findings.problems.append(Problem(shown, 1, message, "Use letters, digits, - and _."))
            continue
        product = read_product_folder(folder, name=folder.name, shown_as=shown, findings=findings)
        if product is not None:
            found[folder.name] = product
    _check_evals(found, settings, findings)
    _check_together(found, settings, findings)
    return found


def _check_policy_cases(
    products: Mapping[str, ProductFolder], settings: WorkspaceSettings, findings: Findings
) -> None:
    for name, folder in products.items():
        shown = f"{settings.products}/{name}/{POLICY}"
        for case in folder.policy_cases:
            for failure in failures(case, folder.product, folder.policy):
                said = f"the policy case {case.name!r} does not hold: {failure}"
                findings.problems.append(Problem(shown, case.line, said, "Mend the rules or the case."))


def _check_evals(found: Mapping[str, ProductFolder], settings: WorkspaceSettings, findings: Findings) -> None:
    """Each suite's form, and its metrics' names: those of all products, unless some could not be read."""
    models = {name: folder.semantics for name, folder in found.items() if folder.semantics is not None}
    named = [(product, metric.name) for product, model in models.items() for metric in model.metrics]
    metrics = None if findings.problems else {*(name for _, name in named), *map(".".join, named)}
    for name, folder in found.items():
        if folder.evals_path is not None:
            shown = f"{settings.products}/{name}/{EVALS}"
            findings.problems.extend(suite_problems(folder.evals_path, name, metrics=metrics, shown_as=shown))


def _check_together(found: Mapping[str, ProductFolder], settings: WorkspaceSettings, findings: Findings) -> None:
    """What must hold between products: contract ids differ, references and semantics lead somewhere."""
    products = {name: folder.product for name, folder in found.items()}
    files = {name: f"{settings.products}/{name}/contract.yaml" for name in found}
    owners: dict[str, str] = {}
    for name, product in products.items():
        first = owners.setdefault(product.contract_id, name)
        if product.contract_id and first != name:
            message = f"the contract id {product.contract_id!r} is also that of {first!r}."
            findings.problems.append(Problem(files[name], 1, message, "An id names one contract."))
    findings.problems.extend(check_references(products, files))
    models = {name: folder.semantics for name, folder in found.items() if folder.semantics is not None}
    findings.problems.extend(check_across(models, products))
    for model in models.values():
        for metric, sha256 in lapsed(model, models):
            message = f"the metric {metric.name!r} is not certified at the content it has, and counts as proposed."
            suggestion = f'Certify it once it is live, or write "sha256": "{sha256}" where its owner has read it.'
            findings.warnings.append(Problem(model.file, metric.line, message, suggestion))
