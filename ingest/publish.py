"""Judges a candidate edition and makes it live: gates first, then the policy, then the pointer, last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.gates import GateResult
from indexes.generation import FUSION, Manifest
from indexes.ledger import Edition, retry_on_conflict
from indexes.library import Library
from ingest.gates import Gate, Weigh, judged
from semantic_layer.policy import Policy
from semantic_layer.policy_file import policy_to_json


class Publisher:
    """Publishes one product's generation and policy. `edition` and `policy` say afterwards what was appended."""

    def __init__(
        self,
        product: str,
        policy: Policy | None,
        library: Library,
        gates: Sequence[Gate],
        *,
        weigh: Weigh,
        by: str,
    ) -> None:
        self._product = product
        self._library = library
        self._ledger = library.ledger
        self._gates = gates
        self._weigh = weigh
        self._by = by
        self._policy = self._new_policy(policy)
        self._judged: tuple[int, int] | None = None
        self.edition_changed = False
        self.policy_changed = False

    def weighed(self, base: Edition, folder: Path, manifest: Manifest) -> Manifest:
        """The staged manifest with the weight of its vectors, and the reason among its gates."""
        policies = {self._product: self._policy} if self._policy else {}
        with self._library.candidate(base, folder, manifest, policies) as candidate:
            weighing = self._weigh(candidate, self._product)
        if weighing is None:
            return manifest
        reason = {"gate": FUSION, "name": "dense weight", "passed": True, "detail": weighing.sentence}
        engines = {**manifest.engines, FUSION: weighing.to_json()}
        return replace(manifest, engines=engines, gates=(*manifest.gates, reason))

    def judge(self, base: Edition, folder: Path, manifest: Manifest) -> list[GateResult]:
        """The gates' results on the edition that would follow `base`. Raises GateFailed."""
        revision = self._ledger.policies().number
        policies = {self._product: self._policy} if self._policy else {}
        with self._library.candidate(base, folder, manifest, policies) as candidate:
            results = judged(self._gates, candidate, self._product)
        self._judged = (base.number, revision)
        return results

    def publish(self, folder: Path, manifest: Manifest) -> Edition:
        """Make the sealed generation live, and the policy with it; returns the edition that has both.

        The policy is published first: a column that is new to the data is then never shown under the old
        rules. Where another product moved the ledger meanwhile, the candidate is judged again on the new one.
        """

        def step() -> Edition:
            base = self._ledger.edition()
            live = base.products.get(self._product) == manifest.generation
            form = self._changed_policy()
            if live and form is None:
                return base
            if self._judged != (base.number, self._ledger.policies().number):
                self.judge(base, folder, manifest)
            if form is not None:
                self._ledger.publish_policies({self._product: form}, by=self._by)
                self.policy_changed = True
            if live:
                return base
            edition = self._ledger.publish(
                base, {self._product: manifest.generation}, action="ingest", by=self._by
            )
            self.edition_changed = True
            return edition

        return retry_on_conflict(step)

    def _new_policy(self, policy: Policy | None) -> Policy | None:
        """The policy to publish. One whose file went away is replaced by one that allows nothing."""
        if policy is None and self._product in self._ledger.policies().documents:
            return Policy(self._product)
        return policy

    def _changed_policy(self) -> Mapping[str, Any] | None:
        if self._policy is None:
            return None
        form = policy_to_json(self._policy)
        return form if self._ledger.policies().documents.get(self._product) != form else None
